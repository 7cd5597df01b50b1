/* frame.c: frames and segment headers.  docs/formats/segment.md has a worked example.
 *
 * segment := header:4096 frame*             all integers little-endian, CRCs masked CRC32C
 * header  := copy:2048 copy:2048
 * copy    := magic:8 version:u32 size:u32 database_id:16 epoch:u64 number:u64 first_lsn:u64
 *            new_lsn:u64 previous_segment:u64 previous_last_lsn:u64 segment_size:u64
 *            tail_size:u64 crc:u32 zeros
 * frame   := header_crc:u32 body_crc:u32 body_size:u32 op_count:u32 first_lsn:u64
 *            durable_lsn:u64 flags:u32 marker:u32 body zeros      starts at a multiple of 8
 * body    := op*
 * op      := 1 key_size:u16 value_size:u32 key value      (put)
 *          | 2 key_size:u16 0:u32 key                     (delete)
 *
 * salt       = crc32c(database_id epoch:u64 number:u64)
 * header_crc = mask(crc32c(offset:u64 and the header behind header_crc, going on from salt))
 * body_crc   = mask(crc32c(body, going on from salt)) */
#include "frame.h"

enum {
    FRAME_HEADER_CRC = 0,
    FRAME_BODY_CRC = FRAME_HEADER_CRC + 4,
    FRAME_BODY_SIZE = FRAME_BODY_CRC + 4,
    FRAME_OP_COUNT = FRAME_BODY_SIZE + 4,
    FRAME_FIRST_LSN = FRAME_OP_COUNT + 4,
    FRAME_DURABLE_LSN = FRAME_FIRST_LSN + 8,
    FRAME_FLAGS = FRAME_DURABLE_LSN + 8,
    FRAME_MARKER = FRAME_FLAGS + 4,
    FRAME_END = FRAME_MARKER + 4
};
_Static_assert((int)FRAME_END == (int)OOR_FRAME_HEADER_SIZE,
               "docs/formats/segment.md promises 40 bytes");

enum {
    HEAD_MAGIC = 0,
    HEAD_VERSION = HEAD_MAGIC + 8,
    HEAD_SIZE = HEAD_VERSION + 4,
    HEAD_ID = HEAD_SIZE + 4,
    HEAD_EPOCH = HEAD_ID + 16,
    HEAD_NUMBER = HEAD_EPOCH + 8,
    HEAD_FIRST_LSN = HEAD_NUMBER + 8,
    HEAD_NEW_LSN = HEAD_FIRST_LSN + 8,
    HEAD_PREVIOUS = HEAD_NEW_LSN + 8,
    HEAD_PREVIOUS_LAST = HEAD_PREVIOUS + 8,
    HEAD_SEGMENT_SIZE = HEAD_PREVIOUS_LAST + 8,
    HEAD_TAIL_SIZE = HEAD_SEGMENT_SIZE + 8,
    HEAD_CRC = HEAD_TAIL_SIZE + 8,
    HEAD_END = HEAD_CRC + 4,
    HEAD_COPY = OOR_SEGMENT_HEADER_SIZE / 2
};
_Static_assert(HEAD_END == 100, "docs/formats/segment.md promises 100 bytes");

static const uint8_t head_magic[8] = {'O', 'O', 'R', 'W', 'A', 'L', 0, 1};
enum { HEAD_FORMAT = 1 };
/* Lets the search for later frames pass over almost every other word without a checksum. */
enum { FRAME_MARKER_VALUE = 0x464F4F52 };

uint32_t oor_segment_salt(const oor_segment_id *id) {
    uint8_t bytes[32];
    memcpy(bytes, id->database_id, 16);
    oor_store64(bytes + 16, id->epoch);
    oor_store64(bytes + 24, id->number);
    return oor_crc32c(0, bytes, sizeof bytes);
}

static uint32_t header_crc(const uint8_t *frame, uint32_t salt, uint64_t offset) {
    uint8_t covered[8 + OOR_FRAME_HEADER_SIZE - FRAME_BODY_CRC];
    oor_store64(covered, offset);
    memcpy(covered + 8, frame + FRAME_BODY_CRC, OOR_FRAME_HEADER_SIZE - FRAME_BODY_CRC);
    return oor_crc32c_mask(oor_crc32c(salt, covered, sizeof covered));
}

void oor_frame_finish(uint8_t *out, uint32_t salt, uint64_t offset, uint32_t body_size,
                      uint32_t op_count, uint64_t first_lsn, uint64_t durable_lsn, uint32_t flags) {
    assert(offset % OOR_FRAME_ALIGN == 0);
    assert(durable_lsn < first_lsn || first_lsn == 0);
    uint64_t size = oor_frame_size(body_size);
    memset(out + OOR_FRAME_HEADER_SIZE + body_size, 0, size - OOR_FRAME_HEADER_SIZE - body_size);
    oor_store32(out + FRAME_BODY_CRC,
                oor_crc32c_mask(oor_crc32c(salt, out + OOR_FRAME_HEADER_SIZE, body_size)));
    oor_store32(out + FRAME_BODY_SIZE, body_size);
    oor_store32(out + FRAME_OP_COUNT, op_count);
    oor_store64(out + FRAME_FIRST_LSN, first_lsn);
    oor_store64(out + FRAME_DURABLE_LSN, durable_lsn);
    oor_store32(out + FRAME_FLAGS, flags);
    oor_store32(out + FRAME_MARKER, FRAME_MARKER_VALUE);
    oor_store32(out + FRAME_HEADER_CRC, header_crc(out, salt, offset));
}

int oor_frame_decode(const uint8_t *data, size_t size, uint32_t salt, uint64_t offset,
                     oor_frame *out) {
    if (size < OOR_FRAME_HEADER_SIZE) return 0;
    if (oor_load32(data + FRAME_MARKER) != FRAME_MARKER_VALUE) return 0;
    if (oor_load32(data + FRAME_HEADER_CRC) != header_crc(data, salt, offset)) return 0;
    /* From here on the header is what was written, so its size may be believed. */
    uint32_t body_size = oor_load32(data + FRAME_BODY_SIZE);
    uint64_t whole = oor_frame_size(body_size);
    if (whole > size) return 0;
    const uint8_t *body = data + OOR_FRAME_HEADER_SIZE;
    uint32_t body_crc = oor_load32(data + FRAME_BODY_CRC);
    if (body_crc != oor_crc32c_mask(oor_crc32c(salt, body, body_size))) return 0;
    out->body = body;
    out->first_lsn = oor_load64(data + FRAME_FIRST_LSN);
    out->durable_lsn = oor_load64(data + FRAME_DURABLE_LSN);
    out->body_size = body_size;
    out->op_count = oor_load32(data + FRAME_OP_COUNT);
    out->flags = oor_load32(data + FRAME_FLAGS);
    out->header_crc = oor_load32(data + FRAME_HEADER_CRC);
    out->body_crc = body_crc;
    out->size = (uint32_t)whole;
    return 1;
}

int oor_op_decode(const uint8_t *body, size_t body_size, size_t *at, oor_op *out) {
    size_t left = body_size - *at;
    if (left == 0) return 0;
    if (left < OOR_OP_HEADER_SIZE)
        return oor_fail(OOR_E_CORRUPT, NULL, "an operation ends %zu bytes into its header", left);
    const uint8_t *p = body + *at;
    out->key_size = oor_load16(p + 1);
    out->value_size = oor_load32(p + 3);
    uint64_t need = (uint64_t)OOR_OP_HEADER_SIZE + out->key_size + out->value_size;
    if ((p[0] != 1 && p[0] != 2) || need > left || (p[0] == 2 && out->value_size))
        return oor_fail(OOR_E_CORRUPT, NULL, "an operation of kind %u claims %llu of %zu bytes",
                        p[0], (unsigned long long)need, left);
    out->key = p + OOR_OP_HEADER_SIZE;
    out->value = p[0] == 2 ? NULL : out->key + out->key_size;
    *at += (size_t)need;
    return 1;
}

int oor_ops_check(uint64_t count, const uint8_t *ops, size_t size) {
    uint64_t found = 0;
    size_t at = 0;
    oor_op op;
    for (int rc; (rc = oor_op_decode(ops, size, &at, &op)) != 0; found++) {
        if (rc < 0) return rc;
        if (op.value_size > OOR_VALUE_SIZE_MAX)
            return oor_fail(OOR_E_LIMIT, NULL, "a value is %u bytes long, the limit is %d",
                            op.value_size, OOR_VALUE_SIZE_MAX);
    }
    if (found == count) return 0;
    return oor_fail(OOR_E_LIMIT, NULL, "%llu operations where %llu are stated",
                    (unsigned long long)found, (unsigned long long)count);
}

void oor_segment_header_encode(uint8_t *out, const uint8_t *database_id,
                               const oor_segment_header *header) {
    memset(out, 0, OOR_SEGMENT_HEADER_SIZE);
    memcpy(out + HEAD_MAGIC, head_magic, sizeof head_magic);
    oor_store32(out + HEAD_VERSION, HEAD_FORMAT);
    oor_store32(out + HEAD_SIZE, OOR_SEGMENT_HEADER_SIZE);
    memcpy(out + HEAD_ID, database_id, 16);
    oor_store64(out + HEAD_EPOCH, header->epoch);
    oor_store64(out + HEAD_NUMBER, header->number);
    oor_store64(out + HEAD_FIRST_LSN, header->first_lsn);
    oor_store64(out + HEAD_NEW_LSN, header->new_lsn);
    oor_store64(out + HEAD_PREVIOUS, header->previous_segment);
    oor_store64(out + HEAD_PREVIOUS_LAST, header->previous_last_lsn);
    oor_store64(out + HEAD_SEGMENT_SIZE, header->size);
    oor_store64(out + HEAD_TAIL_SIZE, header->tail_size);
    oor_store32(out + HEAD_CRC, oor_crc32c_mask(oor_crc32c(0, out, HEAD_CRC)));
    memcpy(out + HEAD_COPY, out, HEAD_END);
}

/* One copy: GOOD, BLANK, OTHER, DAMAGED or FORMAT. */
static int copy_decode(const uint8_t *data, const oor_segment_id *id, oor_segment_header *out) {
    static const uint8_t zeros[HEAD_END];
    if (!memcmp(data, zeros, HEAD_END)) return OOR_HEADER_BLANK;
    if (oor_load32(data + HEAD_CRC) != oor_crc32c_mask(oor_crc32c(0, data, HEAD_CRC)))
        return OOR_HEADER_DAMAGED;
    if (memcmp(data + HEAD_MAGIC, head_magic, sizeof head_magic)) return OOR_HEADER_DAMAGED;
    if (oor_load32(data + HEAD_VERSION) != HEAD_FORMAT ||
        oor_load32(data + HEAD_SIZE) != OOR_SEGMENT_HEADER_SIZE)
        return OOR_HEADER_FORMAT;
    if (memcmp(data + HEAD_ID, id->database_id, 16) || oor_load64(data + HEAD_EPOCH) != id->epoch ||
        oor_load64(data + HEAD_NUMBER) != id->number)
        return OOR_HEADER_OTHER;
    out->epoch = id->epoch;
    out->number = id->number;
    out->first_lsn = oor_load64(data + HEAD_FIRST_LSN);
    out->new_lsn = oor_load64(data + HEAD_NEW_LSN);
    out->previous_segment = oor_load64(data + HEAD_PREVIOUS);
    out->previous_last_lsn = oor_load64(data + HEAD_PREVIOUS_LAST);
    out->size = oor_load64(data + HEAD_SEGMENT_SIZE);
    out->tail_size = oor_load64(data + HEAD_TAIL_SIZE);
    return OOR_HEADER_GOOD;
}

int oor_segment_header_decode(const uint8_t *data, size_t size, const oor_segment_id *id,
                              oor_segment_header *out) {
    if (size < HEAD_END) return OOR_HEADER_BLANK;
    int first = copy_decode(data, id, out);
    if (first == OOR_HEADER_GOOD || size < HEAD_COPY + HEAD_END) return first;
    int second = copy_decode(data + HEAD_COPY, id, out);
    if (second == OOR_HEADER_GOOD) return second;
    /* A torn header write leaves one copy of the old use: whichever copy is whole speaks. */
    if (first == OOR_HEADER_FORMAT || second == OOR_HEADER_FORMAT) return OOR_HEADER_FORMAT;
    if (first == OOR_HEADER_DAMAGED || second == OOR_HEADER_DAMAGED) return OOR_HEADER_DAMAGED;
    return first == OOR_HEADER_BLANK ? second : first;
}

int oor_frame_inspect(const uint8_t *segment, size_t size, uint64_t offset, oor_frame_info *out) {
    if (size < OOR_SEGMENT_HEADER_SIZE || offset < OOR_SEGMENT_HEADER_SIZE || offset >= size ||
        offset % OOR_FRAME_ALIGN)
        return 0;
    for (size_t copy = 0; copy < OOR_SEGMENT_HEADER_SIZE; copy += HEAD_COPY) {
        const uint8_t *head = segment + copy;
        oor_segment_id id = {head + HEAD_ID, oor_load64(head + HEAD_EPOCH),
                             oor_load64(head + HEAD_NUMBER)};
        oor_frame frame;
        if (!oor_frame_decode(segment + offset, size - offset, oor_segment_salt(&id), offset,
                              &frame))
            continue;
        *out = (oor_frame_info){.offset = offset,
                                .size = frame.size,
                                .first_lsn = frame.first_lsn,
                                .durable_lsn = frame.durable_lsn,
                                .header_crc = frame.header_crc,
                                .body_crc = frame.body_crc,
                                .body_size = frame.body_size,
                                .op_count = frame.op_count,
                                .flags = frame.flags};
        return 1;
    }
    return 0;
}
