/* cursor.h: walks the entries of one table, or of one level's tables, up or down.
 *
 * Ownership: a cursor belongs to its owner, who keeps the tables held meanwhile.  key and value
 *            point into the cursor or a block it holds, until its next step.
 * Threads:   one caller at a time.
 * Invariants:
 * (1) While `valid`, key, key_size, prefix, value and value_size are of the current entry.
 * (2) The first blocks of a walk come through the cache; a longer walk takes what the cache has and
 *     reads the rest ahead.  It leaves there what finds room, and evicts nothing. */
#ifndef OOR_CURSOR_H
#define OOR_CURSOR_H

#include "table.h"

enum { OOR_NEAR_KEY = 64 };

typedef enum {
    OOR_CURSOR_CACHED, /* as (2) has it */
    OOR_CURSOR_PAST,   /* never through the cache: a compaction's */
    OOR_CURSOR_INSIDE  /* never past the cache: OOR_UNREAD_BLOCK where it lacks a block */
} oor_cursor_mode;

/* Not an error that anyone is told: the walk begins anew, in another mode. */
enum { OOR_UNREAD_BLOCK = -1000 };

typedef struct {
    oor_table *const *tables; /* in key order */
    uint32_t table_count;
    int reverse;
    oor_cursor_mode mode;
    int valid;
    uint32_t table_at;
    uint32_t block_at;
    uint32_t entry_at;
    uint32_t walked; /* blocks since the start */
    oor_block block;
    oor_cached *held; /* NULL: the block lies in `ahead`, or unpacked in `plain` */
    uint8_t *ahead;   /* bytes of the file from ahead_offset on */
    size_t ahead_size;
    size_t ahead_capacity;
    uint64_t ahead_offset;
    uint32_t ahead_table;
    oor_buffer plain;
    uint16_t *offsets;
    uint32_t offsets_capacity;
    oor_buffer key_buffer; /* of keys longer than `near_key` */
    uint8_t near_key[OOR_NEAR_KEY];
    const uint8_t *key;
    uint32_t key_size;
    uint32_t value_size; /* OOR_TOMBSTONE: a deletion */
    const uint8_t *value;
    uint64_t prefix;
    uint64_t entries; /* stepped on so far */
} oor_cursor;

void oor_cursor_init(oor_cursor *cursor, oor_table *const *tables, uint32_t count, int reverse,
                     oor_cursor_mode mode);
void oor_cursor_clear(oor_cursor *cursor);
/* To the first entry in walking order; with `key`, to the first at or above it, or, walking down,
 * to the first strictly below it.  0, or an error. */
int oor_cursor_seek(oor_cursor *cursor, const uint8_t *key, size_t key_size);
/* REQUIRES: cursor->valid. */
int oor_cursor_next(oor_cursor *cursor);
/* Behind entry `last` of the current block, which is the current one or further on.
 * REQUIRES: cursor->valid. */
int oor_cursor_move(oor_cursor *cursor, uint32_t last);
/* The block of the table that comes next, if the cache has it, held for the caller. */
oor_cached *oor_cursor_peek(const oor_cursor *cursor);

#endif
