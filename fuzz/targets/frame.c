/* frame.c: any bytes as one frame of the log, and as the header of a segment.
 *
 * input := how:u8 place:u8 bytes
 * how   := bit 0: the header's checksum is made right; bit 1: the body's too; bit 2: the size is
 *          made to fit what is there; bit 3: the bytes are a segment's header, with its checksum
 *          made right if bit 0 is set */
#include "frame.h"
#include "memory_disk.h"

#include <stdlib.h>

enum { MARKER = 36, BODY_SIZE = 8, HEADER_CRC = 96, VERSION = 8 };

static const uint8_t database_id[16] = "a fuzzed log ..";

static void heal(uint8_t *data, size_t size, uint32_t salt, uint64_t offset, unsigned how) {
    if (size < OOR_FRAME_HEADER_SIZE) return;
    size_t rest = size - OOR_FRAME_HEADER_SIZE;
    uint32_t body_size = oor_load32(data + BODY_SIZE);
    if (how & 4 && rest >= OOR_FRAME_ALIGN)
        oor_store32(data + BODY_SIZE, body_size %= (uint32_t)(rest - OOR_FRAME_ALIGN + 1));
    if (how & 1) oor_store32(data + MARKER, 0x464F4F52);
    if (how & 2 && body_size <= rest) {
        uint32_t crc = oor_crc32c(salt, data + OOR_FRAME_HEADER_SIZE, body_size);
        oor_store32(data + 4, oor_crc32c_mask(crc));
    }
    if (how & 1) {
        uint8_t covered[8 + OOR_FRAME_HEADER_SIZE - 4];
        oor_store64(covered, offset);
        memcpy(covered + 8, data + 4, OOR_FRAME_HEADER_SIZE - 4);
        oor_store32(data, oor_crc32c_mask(oor_crc32c(salt, covered, sizeof covered)));
    }
}

static void read_ops(const oor_frame *frame, const uint8_t *end) {
    size_t at = 0;
    oor_op op;
    int rc;
    while ((rc = oor_op_decode(frame->body, frame->body_size, &at, &op)) > 0) {
        REQUIRE(op.key >= frame->body && op.key + op.key_size <= end);
        REQUIRE(!op.value || op.value + op.value_size <= end);
        REQUIRE(at <= frame->body_size);
        uint32_t value_size = op.value ? op.value_size : OOR_TOMBSTONE;
        uint8_t *again = malloc(OOR_OP_HEADER_SIZE + (size_t)op.key_size + op.value_size);
        REQUIRE(again);
        uint8_t *behind = oor_op_encode(again, op.key, op.key_size, op.value, value_size);
        /* What was read is what writing it gives. */
        REQUIRE(!memcmp(again, op.key - OOR_OP_HEADER_SIZE, (size_t)(behind - again)));
        free(again);
    }
    REQUIRE(rc == 0 || rc == OOR_E_CORRUPT);
}

static void one_frame(uint8_t *data, size_t size, unsigned how, uint64_t offset) {
    oor_segment_id id = {database_id, 3, 7};
    uint32_t salt = oor_segment_salt(&id);
    heal(data, size, salt, offset, how);
    oor_frame frame;
    if (!oor_frame_decode(data, size, salt, offset, &frame)) return;
    REQUIRE(frame.body == data + OOR_FRAME_HEADER_SIZE);
    REQUIRE(frame.size <= size && frame.size % OOR_FRAME_ALIGN == 0);
    read_ops(&frame, frame.body + frame.body_size);
    /* Neither elsewhere nor in another use of the file. */
    REQUIRE(!oor_frame_decode(data, size, salt, offset + OOR_FRAME_ALIGN, &frame));
    id.epoch++;
    REQUIRE(!oor_frame_decode(data, size, oor_segment_salt(&id), offset, &frame));
}

static void one_header(uint8_t *data, size_t size, unsigned how) {
    oor_segment_id id = {database_id, 3, 7};
    if (how & 1 && size >= HEADER_CRC + 4) {
        static const uint8_t magic[8] = {'O', 'O', 'R', 'W', 'A', 'L', 0, 1};
        memcpy(data, magic, sizeof magic);
        if (how & 2) {
            oor_store32(data + VERSION, 1);
            oor_store32(data + VERSION + 4, OOR_SEGMENT_HEADER_SIZE);
            memcpy(data + 16, database_id, 16);
            oor_store64(data + 32, 3);
            oor_store64(data + 40, 7);
        }
        oor_store32(data + HEADER_CRC, oor_crc32c_mask(oor_crc32c(0, data, HEADER_CRC)));
    }
    oor_segment_header header;
    int state = oor_segment_header_decode(data, size, &id, &header);
    REQUIRE(state >= OOR_HEADER_GOOD && state <= OOR_HEADER_FORMAT);
    if (state != OOR_HEADER_GOOD) return;
    uint8_t again[OOR_SEGMENT_HEADER_SIZE];
    oor_segment_header_encode(again, database_id, &header);
    oor_segment_header twice;
    REQUIRE(oor_segment_header_decode(again, sizeof again, &id, &twice) == OOR_HEADER_GOOD);
    REQUIRE(twice.first_lsn == header.first_lsn && twice.size == header.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    unsigned how = (unsigned)take(&in, 1);
    uint64_t offset = OOR_SEGMENT_HEADER_SIZE + OOR_FRAME_ALIGN * take(&in, 1);
    uint8_t *copy = malloc(in.size ? in.size : 1);
    REQUIRE(copy);
    memcpy(copy, in.data, in.size);
    if (how & 8) one_header(copy, in.size, how);
    else one_frame(copy, in.size, how, offset);
    free(copy);
    return 0;
}
