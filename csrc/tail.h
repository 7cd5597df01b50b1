/* tail.h: the shared tail as recovery sees it.  Bytes: wal_tail.c.
 *
 * Ownership: an oor_tail owns copies of both halves.
 * Threads:   constant after oor_tail_read.
 * Invariants: only halves whose head verifies, of the database and epoch asked for, have data. */
#ifndef OOR_TAIL_H
#define OOR_TAIL_H

#include "frame.h"

typedef struct {
    uint8_t *data; /* NULL: this half says nothing */
    oor_segment_header header;
    uint64_t base;
    uint64_t start;
    uint64_t size;
} oor_tail_half;

struct oor_tail {
    oor_tail_half half[2];
};

/* The header of a segment that the tail holds frames of, or NULL. */
const oor_segment_header *oor_tail_header(const oor_tail *tail, uint64_t number);
/* The tail's bytes from `offset` of a segment on, and how many; NULL when it has none. */
const uint8_t *oor_tail_at(const oor_tail *tail, uint64_t number, uint64_t offset, size_t *size);

#endif
