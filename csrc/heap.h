/* heap.h: cursors of several tables as one ordered walk, the next entry on top.
 *
 * Ownership: the heap's array is its own, the cursors are the caller's.
 * Threads:   one caller at a time.
 * Invariants:
 * (1) On top is the next key in walking order and, of equal keys, the entry of the lowest rank.
 * (2) Every cursor in the heap is valid. */
#ifndef OOR_HEAP_H
#define OOR_HEAP_H

#include "cursor.h"

typedef struct {
    oor_cursor *cursor;
    uint32_t rank; /* newer is lower */
} oor_heap_item;

enum { OOR_HEAP_NEAR = 8 };

typedef struct {
    oor_heap_item *items; /* `near` where they fit: most heaps are small and short-lived */
    uint32_t count;
    int reverse;
    oor_buffer key; /* the one being stepped over */
    oor_heap_item near[OOR_HEAP_NEAR];
} oor_heap;

/* REQUIRES: the heap stays where it is. */
int oor_heap_init(oor_heap *heap, uint32_t capacity, int reverse);
void oor_heap_clear(oor_heap *heap);
void oor_heap_push(oor_heap *heap, oor_cursor *cursor, uint32_t rank);
/* Steps the cursor on top; it leaves when it is at its end. */
int oor_heap_step(oor_heap *heap);
/* The same with oor_cursor_move for the step. */
int oor_heap_move(oor_heap *heap, uint32_t last);
/* Steps every cursor that stands on `key`, which may lie in the one on top; *skipped counts
 * them. */
int oor_heap_step_over(oor_heap *heap, const uint8_t *key, uint32_t key_size, uint64_t *skipped);

/* Whether every cursor stands on an entry and comes before those below it. */
int oor_heap_is_sound(const oor_heap *heap);

static inline oor_cursor *oor_heap_top(const oor_heap *heap) {
    return heap->count ? heap->items[0].cursor : NULL;
}

#endif
