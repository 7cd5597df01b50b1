/* arena.h: memory for what the block cache holds, a few sizes cut out of large chunks.
 *
 * A lookup in a cache of many megabytes meets another page each time, and what it waits for is the
 * page's entry as much as its bytes.  Chunks are as large as a huge page and aligned like one, and
 * the system is asked to back them so.  What is too large for a class comes from malloc.
 *
 * Ownership: what was taken is the caller's until it is given back, with the size it was taken
 *            with; an arena outlives all that was taken from it.
 * Threads:   safe for all callers at once; one lock, which a lookup that finds its block never
 *            meets.
 * Invariants:
 * (1) A chunk serves one class.  Of those of which nothing is in use, the pages of all but one go
 *     back to the system.
 * (2) The first chunk of a class is touched page by page, so that a small cache stays small. */
#ifndef OOR_ARENA_H
#define OOR_ARENA_H

#include "core.h"

typedef struct oor_arena oor_arena;

/* NULL: an error is set. */
oor_arena *oor_arena_new(void);
/* REQUIRES: all was given back. */
void oor_arena_free(oor_arena *arena);
/* Aligned to 64 bytes, not cleared; NULL: no memory, an error is set. */
void *oor_arena_take(oor_arena *arena, size_t size);
void oor_arena_give(oor_arena *arena, void *memory, size_t size);
/* What `size` bytes take in all. */
size_t oor_arena_cost(size_t size);

#endif
