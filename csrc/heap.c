/* heap.c: a binary heap of cursors.  In memory only. */
#include "heap.h"

#include <stdlib.h>

int oor_heap_init(oor_heap *heap, uint32_t capacity, int reverse) {
    heap->items = capacity <= OOR_HEAP_NEAR ? heap->near : calloc(capacity, sizeof *heap->items);
    heap->count = 0;
    heap->reverse = reverse;
    heap->key = (oor_buffer){0};
    return heap->items ? 0 : oor_fail(OOR_E_MEMORY, NULL, "no memory for %u cursors", capacity);
}

void oor_heap_clear(oor_heap *heap) {
    if (heap->items != heap->near) free(heap->items);
    oor_buffer_clear(&heap->key);
    heap->items = NULL;
    heap->count = 0;
}

static int comes_first(const oor_heap *heap, const oor_heap_item *a, const oor_heap_item *b) {
    const oor_cursor *x = a->cursor, *y = b->cursor;
    if (x->prefix != y->prefix) return (x->prefix < y->prefix) != heap->reverse;
    int order = oor_compare(x->key, x->key_size, y->key, y->key_size);
    if (order) return (order < 0) != heap->reverse;
    return a->rank < b->rank;
}

static void sink(oor_heap *heap) {
    oor_heap_item item = heap->items[0];
    uint32_t at = 0;
    for (uint32_t child = 1; child < heap->count; child = 2 * at + 1) {
        if (child + 1 < heap->count &&
            comes_first(heap, &heap->items[child + 1], &heap->items[child]))
            child++;
        if (comes_first(heap, &item, &heap->items[child])) break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = item;
}

void oor_heap_push(oor_heap *heap, oor_cursor *cursor, uint32_t rank) {
    assert(cursor->valid);
    oor_heap_item item = {cursor, rank};
    uint32_t at = heap->count++;
    while (at > 0 && comes_first(heap, &item, &heap->items[(at - 1) / 2])) {
        heap->items[at] = heap->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->items[at] = item;
}

static int settle(oor_heap *heap, int rc) {
    if (rc < 0) return rc;
    if (!heap->items[0].cursor->valid) heap->items[0] = heap->items[--heap->count];
    if (heap->count > 1) sink(heap);
    return 0;
}

int oor_heap_step(oor_heap *heap) { return settle(heap, oor_cursor_next(heap->items[0].cursor)); }

int oor_heap_move(oor_heap *heap, uint32_t last) {
    return settle(heap, oor_cursor_move(heap->items[0].cursor, last));
}

int oor_heap_step_over(oor_heap *heap, const uint8_t *key, uint32_t key_size, uint64_t *skipped) {
    /* The key may lie in a cursor that is about to move. */
    heap->key.size = 0;
    int rc = oor_buffer_reserve(&heap->key, key_size);
    if (rc < 0) return rc;
    if (key_size) memcpy(heap->key.data, key, key_size);
    heap->key.size = key_size;
    uint64_t prefix = oor_key_prefix(heap->key.data, key_size);
    for (;;) {
        const oor_cursor *top = oor_heap_top(heap);
        if (!top || top->prefix != prefix) return 0;
        if (oor_compare(top->key, top->key_size, heap->key.data, key_size) != 0) return 0;
        rc = oor_heap_step(heap);
        if (rc < 0) return rc;
        if (skipped) ++*skipped;
    }
}

int oor_heap_is_sound(const oor_heap *heap) {
    for (uint32_t i = 0; i < heap->count; i++) {
        const oor_cursor *cursor = heap->items[i].cursor;
        if (!cursor->valid || cursor->prefix != oor_key_prefix(cursor->key, cursor->key_size))
            return 0;
        if (i > 0 && !comes_first(heap, &heap->items[(i - 1) / 2], &heap->items[i])) return 0;
    }
    return 1;
}
