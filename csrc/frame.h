/* frame.h: one atomic batch as bytes of a segment, and the header of a segment.  Bytes: frame.c.
 *
 * Ownership: nothing is allocated; output goes to the caller's memory, views point into the
 * caller's. Threads:   pure functions.
 * Invariants:
 * (1) Header and body have checksums of their own, so a damaged size is never taken for a torn
 * tail. (2) Both are salted with database, epoch and segment, the header's with the file offset
 * too: bytes of
 *     another use of the file, or of a copy of a log inside a value, never verify.
 * (3) Decode reads no byte at or past `size`, whatever the input claims. */
#ifndef OOR_FRAME_H
#define OOR_FRAME_H

#include "core.h"

enum { OOR_FRAME_ALIGN = 8 };

enum oor_frame_flags {
    /* no ops: promises what durable_lsn says, and that writing stopped in order */
    OOR_FRAME_SEAL = 1,
    /* no ops: the next mutation has first_lsn, which may be past the last one + 1 */
    OOR_FRAME_JUMP = 2,
    OOR_FRAME_FILLER = 4 /* no ops: the body is zeros up to where the next frame starts */
};

/* Everything that a checksum of one segment is salted with. */
typedef struct {
    const uint8_t *database_id; /* 16 bytes */
    uint64_t epoch;
    uint64_t number;
} oor_segment_id;

typedef struct {
    uint64_t epoch;
    uint64_t number;
    uint64_t first_lsn; /* of the first frame */
    /* the first LSN given in this segment; frames below it are copies */
    uint64_t new_lsn;
    uint64_t previous_segment;  /* 0: none */
    uint64_t previous_last_lsn; /* durable before this header was written */
    uint64_t size;              /* of the segment, bytes */
    uint64_t tail_size;         /* of each half of the shared tail, bytes */
} oor_segment_header;

typedef struct {
    const uint8_t *body;
    uint64_t first_lsn;
    uint64_t durable_lsn;
    uint32_t body_size;
    uint32_t op_count;
    uint32_t flags;
    uint32_t header_crc;
    uint32_t body_crc;
    uint32_t size; /* header, body and padding */
} oor_frame;

typedef struct {
    const uint8_t *key;
    const uint8_t *value; /* NULL: deletes */
    uint32_t key_size;
    uint32_t value_size;
} oor_op;

uint32_t oor_segment_salt(const oor_segment_id *id);

static inline uint64_t oor_frame_size(uint64_t body_size) {
    return oor_round_up(OOR_FRAME_HEADER_SIZE + body_size, OOR_FRAME_ALIGN);
}

/* Fills the header and the padding around a body that already stands at out +
 * OOR_FRAME_HEADER_SIZE. REQUIRES: room for oor_frame_size(body_size); offset is where the frame
 * starts in its segment. */
void oor_frame_finish(uint8_t *out, uint32_t salt, uint64_t offset, uint32_t body_size,
                      uint32_t op_count, uint64_t first_lsn, uint64_t durable_lsn, uint32_t flags);
/* Looks at data[0 .. size): 1 and *out when a whole frame of this segment starts there, else 0. */
int oor_frame_decode(const uint8_t *data, size_t size, uint32_t salt, uint64_t offset,
                     oor_frame *out);

/* Writes one op at `out` and returns the byte behind it. */
static inline uint8_t *oor_op_encode(uint8_t *out, const uint8_t *key, uint32_t key_size,
                                     const uint8_t *value, uint32_t value_size) {
    uint32_t value_room = value_size == OOR_TOMBSTONE ? 0 : value_size;
    out[0] = value_size == OOR_TOMBSTONE ? 2 : 1;
    oor_store16(out + 1, (uint16_t)key_size);
    oor_store32(out + 3, value_room);
    if (key_size) memcpy(out + OOR_OP_HEADER_SIZE, key, key_size);
    out += OOR_OP_HEADER_SIZE + key_size;
    if (value_room) memcpy(out, value, value_room);
    return out + value_room;
}

/* The op at body[*at], moving *at behind it: 1, 0 at the end, or OOR_E_CORRUPT when the ops do not
 * fit the body, which a frame that verified never shows. */
int oor_op_decode(const uint8_t *body, size_t body_size, size_t *at, oor_op *out);

/* 0 where `size` bytes are `count` whole ops within the limits; OOR_E_CORRUPT, OOR_E_LIMIT. */
int oor_ops_check(uint64_t count, const uint8_t *ops, size_t size);

/* The header block, OOR_SEGMENT_HEADER_SIZE bytes, both copies. */
void oor_segment_header_encode(uint8_t *out, const uint8_t *database_id,
                               const oor_segment_header *header);
/* Returns an oor_segment_header_state; *out is set for GOOD only.
 * `data` holds `size` bytes from the start of the file. */
int oor_segment_header_decode(const uint8_t *data, size_t size, const oor_segment_id *id,
                              oor_segment_header *out);

#endif
