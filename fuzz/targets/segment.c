/* segment.c: a segment and a shared tail made of pieces, read by the analysis and by redo.
 *
 * input := how:u8 first_lsn:u8 piece*
 * how   := bit 0: no header; bit 1: one copy of it; bit 2: the tail holds the second half of the
 *          pieces; bit 3: the header is raw bytes of the first piece; bits 4-5: after_lsn
 * piece := kind:u8 ... (below)
 *
 * Most pieces are frames whose checksums are right, since a mutation of bytes would make none. */
#include "frame.h"
#include "memory_disk.h"

#include <stdlib.h>

enum { ROOM = 1 << 15, TAIL_DATA = OOR_BLOCK, TAIL_CRC = 104, LOG = 1, TAIL = 2 };
enum { FRAME = 0, JUMP = 1, SEAL = 2, RAW = 3, ZEROS = 4, DAMAGED = 5, STALE = 6, KINDS = 7 };

static const uint8_t database_id[16] = "a fuzzed log ..";
static uint8_t image[ROOM], tail_image[2 * (OOR_BLOCK + TAIL_DATA)];

typedef struct {
    uint64_t at, lsn, durable;
    uint32_t salt, stale_salt;
} maker;

static void add_frame(maker *m, input *in, unsigned kind) {
    uint32_t flags = kind == JUMP ? OOR_FRAME_JUMP : kind == SEAL ? OOR_FRAME_SEAL : 0;
    uint32_t ops = flags ? 0 : (uint32_t)take(in, 1) % 9;
    uint64_t lsn = m->lsn + (kind == JUMP ? take(in, 1) : take(in, 1) / 250);
    uint64_t durable = take(in, 1) % (lsn ? lsn : 1);
    size_t size = flags ? 0 : (size_t)take(in, 1) * (1 + (size_t)take(in, 1) / 128);
    if (m->at + OOR_FRAME_HEADER_SIZE + size + 16 > ROOM) return;
    uint8_t *out = image + m->at;
    const uint8_t *body = take_span(in, &size);
    if (take(in, 1) % 4 && ops) {
        /* Well-formed operations, of which the body's bytes are keys and values. */
        uint8_t *p = out + OOR_FRAME_HEADER_SIZE;
        uint32_t each = (uint32_t)size / ops;
        for (uint32_t i = 0; i < ops; i++) {
            uint32_t key_size = each ? body[(size_t)i * each] % (each + 1) : 0;
            const uint8_t *key = body + (size_t)i * each;
            uint32_t value_size = key_size % 5 == 4 ? OOR_TOMBSTONE : each - key_size;
            if ((size_t)(p - image) + OOR_OP_HEADER_SIZE + each + 16 > ROOM) return;
            p = oor_op_encode(p, key, key_size, key + key_size, value_size);
        }
        size = (size_t)(p - out) - OOR_FRAME_HEADER_SIZE;
    } else if (size) {
        memcpy(out + OOR_FRAME_HEADER_SIZE, body, size);
    }
    if (m->at + oor_frame_size(size) > ROOM) return;
    oor_frame_finish(out, kind == STALE ? m->stale_salt : m->salt, m->at, (uint32_t)size, ops, lsn,
                     durable, flags);
    if (kind == DAMAGED) out[take(in, 2) % oor_frame_size(size)] ^= (uint8_t)take(in, 1);
    m->at += oor_frame_size(size);
    m->lsn = lsn + ops;
}

static void add_piece(maker *m, input *in) {
    unsigned kind = (unsigned)take(in, 1) % KINDS;
    if (kind != RAW && kind != ZEROS) {
        add_frame(m, in, kind);
        return;
    }
    size_t size = (size_t)take(in, 1) * 8;
    if (m->at + size > ROOM) return;
    if (kind == RAW) {
        size_t there = size;
        const uint8_t *bytes = take_span(in, &there);
        memcpy(image + m->at, bytes, there);
    }
    m->at += size;
}

static void put_header(uint8_t *out, unsigned how, uint64_t first_lsn) {
    oor_segment_header header = {.epoch = 3,
                                 .number = 7,
                                 .first_lsn = first_lsn,
                                 .new_lsn = first_lsn,
                                 .previous_segment = 6,
                                 .previous_last_lsn = first_lsn ? first_lsn - 1 : 0,
                                 .size = ROOM,
                                 .tail_size = TAIL_DATA};
    oor_segment_header_encode(out, database_id, &header);
    if (how & 2) memset(out, 0, OOR_SEGMENT_HEADER_SIZE / 2);
    if (how & 1) memset(out, 0, OOR_SEGMENT_HEADER_SIZE);
}

/* What stands in the image from `from` on goes into the first half of the tail. */
static void put_tail(uint64_t from, uint64_t to, uint64_t first_lsn) {
    static const uint8_t magic[8] = {'O', 'O', 'R', 'T', 'A', 'I', 'L', 1};
    uint64_t base = from / OOR_BLOCK * OOR_BLOCK;
    uint8_t *head = tail_image;
    memset(tail_image, 0, sizeof tail_image);
    memcpy(head, magic, sizeof magic);
    oor_store32(head + 8, 1);
    oor_store32(head + 12, TAIL_DATA);
    memcpy(head + 16, database_id, 16);
    const uint64_t fields[] = {3, 7, base, from, first_lsn, first_lsn, 6, 0, ROOM};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        oor_store64(head + 32 + 8 * i, fields[i]);
    oor_store32(head + TAIL_CRC, oor_crc32c_mask(oor_crc32c(0, head, TAIL_CRC)));
    uint64_t size = to - base < TAIL_DATA ? to - base : TAIL_DATA;
    memcpy(tail_image + OOR_BLOCK, image + base, (size_t)size);
    memset(image + from, 0, (size_t)(to - from));
}

/* As columns: as many records as in the other form, or an error too. */
static int64_t replay_columns(const oor_tail *tail, uint64_t after_lsn, int salvage) {
    oor_walscan *scan;
    int rc = oor_walscan_open("log", database_id, 7, 3, tail, after_lsn, salvage, &scan);
    if (rc < 0) return -1;
    oor_bulk *bulk = oor_bulk_new();
    oor_walscan_chunk chunk;
    int64_t records = 0;
    while ((rc = oor_walscan_load(scan, 512, bulk, &chunk)) > 0) records += (int64_t)chunk.records;
    REQUIRE(oor_bulk_count(bulk) <= records || rc < 0);
    oor_bulk_free(bulk);
    oor_walscan_close(scan);
    return rc < 0 ? -1 : records;
}

/* Reads all of it; the records found, or -1 for an error. */
static int64_t replay(const oor_tail *tail, uint64_t after_lsn, int salvage) {
    static oor_buffer *out;
    if (!out) out = oor_buffer_new();
    oor_walscan *scan;
    int rc = oor_walscan_open("log", database_id, 7, 3, tail, after_lsn, salvage, &scan);
    if (rc < 0) return -1;
    oor_walscan_chunk chunk;
    int64_t records = 0;
    uint64_t last = 0;
    while ((rc = oor_walscan_next(scan, 512, out, &chunk)) > 0) {
        REQUIRE(out->size >= 2 && out->data[0] == '{' && out->data[out->size - 1] == '0');
        if (chunk.records) {
            REQUIRE(chunk.first_lsn > last && chunk.last_lsn >= chunk.first_lsn);
            REQUIRE(chunk.last_lsn > after_lsn);
            last = chunk.last_lsn;
        }
        if (chunk.lost_first_lsn) REQUIRE(chunk.lost_first_lsn <= chunk.lost_last_lsn);
        REQUIRE(salvage || chunk.lost_offset == 0);
        records += (int64_t)chunk.records;
    }
    oor_walscan_close(scan);
    records = rc < 0 ? -1 : records;
    REQUIRE(replay_columns(tail, after_lsn, salvage) == records);
    return records;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int ready;
    if (!ready++) memory_disk_install();
    input in = {data, size};
    unsigned how = (unsigned)take(&in, 1);
    uint64_t first_lsn = 1 + take(&in, 1);
    uint64_t after_lsn = (how >> 4) % 4 * 8;
    oor_segment_id id = {database_id, 3, 7}, stale = {database_id, 2, 7};
    maker m = {OOR_SEGMENT_HEADER_SIZE, first_lsn, 0, oor_segment_salt(&id),
               oor_segment_salt(&stale)};
    memset(image, 0, sizeof image);
    put_header(image, how, first_lsn);
    if (how & 8) {
        size_t raw = 128;
        const uint8_t *bytes = take_span(&in, &raw);
        memcpy(image, bytes, raw);
    }
    uint64_t split = 0;
    for (int i = 0; in.size && i < 64; i++) {
        if (how & 4 && !split && in.size < size / 2) split = m.at;
        add_piece(&m, &in);
    }
    uint64_t end = m.at;
    if (split) put_tail(split, end, first_lsn);
    /* Exactly as large as it is, so that a read past its end is seen. */
    uint8_t *exact = malloc((size_t)end);
    REQUIRE(exact);
    memcpy(exact, image, (size_t)end);
    memory_disk_put("log", exact, (size_t)end);
    memory_disk_put("TAIL", split ? tail_image : NULL, sizeof tail_image);

    oor_tail *tail = NULL;
    REQUIRE(oor_tail_read("TAIL", database_id, 3, &tail) == 0);
    oor_segment_info info;
    REQUIRE(oor_walscan_inspect("log", database_id, 7, 3, tail, &info) == 0);
    REQUIRE(info.end >= OOR_SEGMENT_HEADER_SIZE);
    REQUIRE(info.later_frames == 0 || info.later_offset >= info.end);
    int64_t all = replay(tail, 0, 0);
    int64_t some = replay(tail, after_lsn, 0);
    int64_t salvaged = replay(tail, 0, 1);
    if (all >= 0) {
        /* Analysis and redo see the same log; salvage sees no less. */
        REQUIRE(info.header == OOR_HEADER_GOOD && all == (int64_t)info.records);
        REQUIRE(some <= all);
        REQUIRE(salvaged < 0 || salvaged >= all);
    }
    oor_tail_free(tail);
    free(exact);
    return 0;
}
