/* merge.c: walks all tables of a version and one run of newer pairs as one ordered run of live
 * pairs.
 *
 * answer := list of (key value 0x86), or of key, as in pickle.h.  Nothing here is written to disk.
 *
 * The tables' cursors stand in a heap, the next key in walking order on top and, of equal keys, the
 * newest.  The window's pairs are newer than any table's. */
#include <stdlib.h>

#include "cursor.h"
#include "heap.h"
#include "pickle.h"
#include "version.h"

/* The newer pairs, as given last. */
typedef struct {
    uint8_t *data; /* keys, then values */
    const uint8_t *key, *value;
    uint32_t *key_sizes, *value_sizes;
    size_t count, at;
    int last;
} window;

struct oor_merge {
    oor_version *version;
    uint32_t flags;
    oor_cursor *cursors;
    uint32_t cursor_count;
    oor_heap heap;
    window newer;
    oor_buffer bound; /* the end of the walk: stop, or walking down, start */
    int has_bound;
    int failed;
};

static int add_cursors(oor_merge *merge, const uint8_t *from, size_t from_size) {
    const oor_version *version = merge->version;
    uint32_t newest = version->levels ? version->starts[1] : 0;
    uint32_t count = newest + (version->levels ? version->levels - 1 : 0);
    merge->cursors = calloc((size_t)count + 1, sizeof *merge->cursors);
    if (!merge->cursors) return oor_fail(OOR_E_MEMORY, NULL, "no memory for %u cursors", count);
    int reverse = (merge->flags & OOR_MERGE_REVERSE) != 0;
    int rc = oor_heap_init(&merge->heap, count, reverse);
    for (uint32_t i = 0; rc >= 0 && i < count; i++) {
        oor_cursor *cursor = &merge->cursors[merge->cursor_count++];
        if (i < newest) {
            oor_cursor_init(cursor, version->tables + i, 1, reverse, 0);
        } else {
            uint32_t level = i - newest + 1, start = version->starts[level];
            oor_cursor_init(cursor, version->tables + start, version->starts[level + 1] - start,
                            reverse, 0);
        }
        rc = oor_cursor_seek(cursor, from, from_size);
        if (rc >= 0 && cursor->valid) oor_heap_push(&merge->heap, cursor, i);
    }
    return rc;
}

oor_merge *oor_merge_new(const oor_version *version, const uint8_t *start, size_t start_size,
                         const uint8_t *stop, size_t stop_size, uint32_t flags) {
    oor_merge *merge = calloc(1, sizeof *merge);
    if (!merge) {
        oor_fail(OOR_E_MEMORY, NULL, "no memory for a merge");
        return NULL;
    }
    static const uint8_t nothing[1];
    merge->version = (oor_version *)(uintptr_t)version;
    oor_version_hold(merge->version);
    merge->flags = flags;
    int reverse = (flags & OOR_MERGE_REVERSE) != 0;
    const uint8_t *low = flags & OOR_MERGE_HAS_START ? start_size ? start : nothing : NULL;
    const uint8_t *high = flags & OOR_MERGE_HAS_STOP ? stop_size ? stop : nothing : NULL;
    const uint8_t *bound = reverse ? low : high;
    size_t bound_size = reverse ? start_size : stop_size;
    int rc = 0;
    if (bound) {
        merge->has_bound = 1;
        rc = oor_buffer_reserve(&merge->bound, bound_size + 1);
        if (rc >= 0) memcpy(merge->bound.data, bound, bound_size);
        merge->bound.size = bound_size;
    }
    if (rc >= 0) rc = add_cursors(merge, reverse ? high : low, reverse ? stop_size : start_size);
    if (rc >= 0) return merge;
    oor_merge_free(merge);
    return NULL;
}

static void clear_window(window *newer) {
    free(newer->data);
    free(newer->key_sizes);
    *newer = (window){0};
}

void oor_merge_free(oor_merge *merge) {
    if (!merge) return;
    for (uint32_t i = 0; i < merge->cursor_count; i++) oor_cursor_clear(&merge->cursors[i]);
    free(merge->cursors);
    oor_heap_clear(&merge->heap);
    clear_window(&merge->newer);
    free(merge->bound.data);
    oor_version_free(merge->version);
    free(merge);
}

int oor_merge_window(oor_merge *merge, uint64_t count, const uint8_t *keys, size_t keys_size,
                     const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                     const uint32_t *value_sizes, int last) {
    window *newer = &merge->newer;
    if (newer->at < newer->count || newer->last)
        return oor_fail(OOR_E_LIMIT, NULL, "a window before the one before was used up");
    int rc = oor_columns_check(count, keys_size, key_sizes, values_size, value_sizes);
    if (rc < 0) return rc;
    clear_window(newer);
    newer->data = malloc(keys_size + values_size + 1);
    newer->key_sizes = malloc((size_t)count * 2 * sizeof(uint32_t) + 1);
    if (!newer->data || !newer->key_sizes) {
        clear_window(newer);
        return oor_fail(OOR_E_MEMORY, NULL, "no memory for a window of %llu pairs",
                        (unsigned long long)count);
    }
    newer->value_sizes = newer->key_sizes + count;
    if (keys_size) memcpy(newer->data, keys, keys_size);
    if (values_size) memcpy(newer->data + keys_size, values, values_size);
    if (count) {
        memcpy(newer->key_sizes, key_sizes, (size_t)count * sizeof(uint32_t));
        memcpy(newer->value_sizes, value_sizes, (size_t)count * sizeof(uint32_t));
    }
    newer->key = newer->data;
    newer->value = newer->data + keys_size;
    newer->count = (size_t)count;
    newer->last = last;
    return 0;
}

static void step_window(window *newer) {
    newer->key += newer->key_sizes[newer->at];
    if (newer->value_sizes[newer->at] != OOR_TOMBSTONE)
        newer->value += newer->value_sizes[newer->at];
    newer->at++;
}

/* Whether a key lies behind the end of the walk. */
static int is_past(const oor_merge *merge, const uint8_t *key, size_t key_size) {
    if (!merge->has_bound) return 0;
    int order = oor_compare(key, key_size, merge->bound.data, merge->bound.size);
    return merge->flags & OOR_MERGE_REVERSE ? order < 0 : order >= 0;
}

static int emit(const oor_merge *merge, oor_buffer *out, const uint8_t *key, uint32_t key_size,
                const uint8_t *value, uint32_t value_size) {
    int keys_only = (merge->flags & OOR_MERGE_KEYS_ONLY) != 0;
    size_t room = (size_t)key_size + (keys_only ? 0 : value_size) + 2 * OOR_PICKLE_BYTES_ROOM +
                  OOR_PICKLE_FRAME_ROOM;
    if (out->capacity - out->size < room) {
        int rc = oor_buffer_reserve(out, room);
        if (rc < 0) return rc;
    }
    oor_pickle_bytes(out, key, key_size);
    if (keys_only) return 0;
    oor_pickle_bytes(out, value, value_size);
    out->data[out->size++] = 0x86;
    return 0;
}

/* Emits the current pair of the tables or of the window, whichever comes first, and steps over
 * every other entry of its key.  1: a pair, 0: a tombstone. */
static int take_table(oor_merge *merge, oor_buffer *out) {
    oor_heap *heap = &merge->heap;
    oor_cursor *top = oor_heap_top(heap);
    int alone = heap->count == 1, live = top->value_size != OOR_TOMBSTONE;
    int rc = live ? emit(merge, out, top->key, top->key_size, top->value, top->value_size) : 0;
    if (rc >= 0)
        rc = alone ? oor_heap_step(heap) : oor_heap_step_over(heap, top->key, top->key_size, NULL);
    return rc < 0 ? rc : live;
}

static int take_window(oor_merge *merge, oor_buffer *out) {
    window *newer = &merge->newer;
    const uint8_t *key = newer->key;
    uint32_t key_size = newer->key_sizes[newer->at], value_size = newer->value_sizes[newer->at];
    int live = value_size != OOR_TOMBSTONE;
    int rc = live ? emit(merge, out, key, key_size, newer->value, value_size) : 0;
    if (rc >= 0) rc = oor_heap_step_over(&merge->heap, key, key_size, NULL);
    step_window(newer);
    return rc < 0 ? rc : live;
}

/* One step of the walk: 1 a pair was emitted, 0 none, else an oor_merge_step in *ended or an
 * error. */
static int step(oor_merge *merge, oor_buffer *out, int *ended) {
    window *newer = &merge->newer;
    if (newer->at == newer->count && !newer->last) {
        *ended = OOR_MERGE_NEEDS_WINDOW;
        return 0;
    }
    const oor_cursor *top = oor_heap_top(&merge->heap);
    int from_window = newer->at < newer->count;
    if (top && from_window) {
        int order = oor_compare(newer->key, newer->key_sizes[newer->at], top->key, top->key_size);
        from_window = merge->flags & OOR_MERGE_REVERSE ? order >= 0 : order <= 0;
    }
    if (!top && !from_window) {
        *ended = OOR_MERGE_END;
        return 0;
    }
    const uint8_t *key = from_window ? newer->key : top->key;
    if (is_past(merge, key, from_window ? newer->key_sizes[newer->at] : top->key_size)) {
        *ended = OOR_MERGE_END;
        return 0;
    }
    return from_window ? take_window(merge, out) : take_table(merge, out);
}

int oor_merge_next(oor_merge *merge, uint32_t pairs, oor_buffer *out) {
    if (merge->failed) return oor_fail(OOR_E_FAILED, NULL, "this walk has failed before");
    out->size = 0;
    int rc = oor_buffer_reserve(out, OOR_PICKLE_FRAME_ROOM);
    if (rc < 0) return rc;
    oor_pickle_raw(out, "\x80\x03](", 4);
    int ended = OOR_MERGE_MORE;
    for (uint32_t emitted = 0; emitted < pairs && ended == OOR_MERGE_MORE;) {
        rc = step(merge, out, &ended);
        if (rc < 0) {
            merge->failed = 1;
            return rc;
        }
        emitted += (uint32_t)rc;
    }
    rc = oor_buffer_reserve(out, OOR_PICKLE_FRAME_ROOM);
    if (rc < 0) return rc;
    oor_pickle_raw(out, "e.", 2);
    return ended;
}
