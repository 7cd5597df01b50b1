/* merge.c: walks all tables of a version and one run of newer pairs as one ordered run of live
 * pairs.
 *
 * What comes out is in sink.h.  Nothing here is written to disk.
 *
 * The tables' cursors stand in a heap, the next key in walking order on top and, of equal keys, the
 * newest.  The window's pairs are newer than any table's. */
#include "merge.h"

#include <stdlib.h>

enum { FETCHED_MAX = 1024 };

/* The keys of a walk: low <= key < high; NULL: no bound. */
typedef struct {
    const uint8_t *low, *high;
    size_t low_size, high_size;
} range;

/* Whether every key of a range begins with the first `size` bytes of its lower bound, but for
 * stray ones: the bytes of the upper bound up to *stray, *stray + 1 and so on, all of them fewer
 * than `size`.  (Bounds that count up have them: 00 FF to 01 00 has room for the key 01.) */
static int has_one_prefix(const range *keys, size_t size, size_t *stray) {
    *stray = keys->high_size;
    if (!keys->low || !keys->high || keys->low_size < size) return 0;
    size_t common = keys->high_size < size ? keys->high_size : size, at = 0;
    while (at < common && keys->low[at] == keys->high[at]) at++;
    if (at == size) return 1;
    if (at == keys->high_size || keys->high_size > size || keys->high[at] != keys->low[at] + 1)
        return 0;
    for (size_t i = at + 1; i < size; i++)
        if (keys->low[i] != 0xFF) return 0;
    for (size_t i = at + 1; i < keys->high_size; i++)
        if (keys->high[i] != 0) return 0;
    *stray = at + 1;
    return 1;
}

/* 0: by its filter, the table has no key of the range. */
static int filter_may_meet(const oor_table *table, const range *keys) {
    size_t stray;
    if (table->prefix_size == 0 || !has_one_prefix(keys, table->prefix_size, &stray)) return 1;
    atomic_uint_least64_t *counters = oor_cache_counters(table->cache);
    oor_count(counters, COUNT_CHECKS);
    if (oor_table_may_hold(table, keys->low, table->prefix_size)) return 1;
    for (; stray < keys->high_size; stray++)
        if (oor_table_may_hold(table, keys->high, stray)) return 1;
    oor_count(counters, COUNT_SKIPS);
    return 0;
}

/* Whether a table may hold a key of the range: by its own range, and by its filter. */
static int may_meet(const oor_table *table, const range *keys) {
    const oor_table_props *props = &table->props;
    if (keys->low &&
        oor_compare(props->largest, props->largest_size, keys->low, keys->low_size) < 0)
        return 0;
    if (keys->high &&
        oor_compare(props->smallest, props->smallest_size, keys->high, keys->high_size) >= 0)
        return 0;
    return filter_may_meet(table, keys);
}

/* The tables of a deeper level that a range may meet: from *start, to below *end. */
static void find_tables(const oor_version *version, uint32_t level, const range *keys,
                        uint32_t *start, uint32_t *end) {
    *start = version->starts[level];
    *end = version->starts[level + 1];
    if (keys->low)
        *start = oor_version_find(version, level, keys->low, keys->low_size,
                                  oor_key_prefix(keys->low, keys->low_size));
    while (*start < *end && !may_meet(version->tables[*start], keys)) {
        const oor_table_props *props = &version->tables[*start]->props;
        if (keys->high &&
            oor_compare(props->smallest, props->smallest_size, keys->high, keys->high_size) >= 0)
            *end = *start;
        else ++*start;
    }
}

static int add_cursors(oor_merge *merge, const range *keys) {
    const oor_version *version = merge->version;
    uint32_t newest = version->levels ? version->starts[1] : 0;
    uint32_t count = newest + (version->levels ? version->levels - 1 : 0);
    merge->cursors = count <= OOR_MERGE_NEAR ? merge->near : calloc(count, sizeof *merge->cursors);
    if (!merge->cursors) return oor_fail(OOR_E_MEMORY, NULL, "no memory for %u cursors", count);
    int reverse = (merge->flags & OOR_MERGE_REVERSE) != 0;
    const uint8_t *from = reverse ? keys->high : keys->low;
    size_t from_size = reverse ? keys->high_size : keys->low_size;
    int rc = oor_heap_init(&merge->heap, count, reverse);
    for (uint32_t i = 0; rc >= 0 && i < count; i++) {
        uint32_t start = i, end = i + 1;
        if (i >= newest) find_tables(version, i - newest + 1, keys, &start, &end);
        if (start == end || (i < newest && !may_meet(version->tables[i], keys))) continue;
        oor_cursor *cursor = &merge->cursors[merge->cursor_count++];
        oor_cursor_init(cursor, version->tables + start, end - start, reverse,
                        merge->flags & OOR_MERGE_INSIDE ? OOR_CURSOR_INSIDE : OOR_CURSOR_CACHED);
        rc = oor_cursor_seek(cursor, from, from_size);
        if (rc >= 0 && cursor->valid) oor_heap_push(&merge->heap, cursor, i);
    }
    return rc;
}

int oor_merge_begin(oor_merge *merge, const oor_version *version, const uint8_t *start,
                    size_t start_size, const uint8_t *stop, size_t stop_size, uint32_t flags) {
    static const uint8_t nothing[1];
    memset(merge, 0, offsetof(oor_merge, near));
    merge->version = version;
    merge->flags = flags;
    merge->newer.last = (flags & OOR_MERGE_NO_WINDOW) != 0;
    int reverse = (flags & OOR_MERGE_REVERSE) != 0;
    const uint8_t *low = flags & OOR_MERGE_HAS_START ? start_size ? start : nothing : NULL;
    const uint8_t *high = flags & OOR_MERGE_HAS_STOP ? stop_size ? stop : nothing : NULL;
    merge->bound = reverse ? low : high;
    merge->bound_size = reverse ? start_size : stop_size;
    range keys = {low, high, start_size, stop_size};
    int rc = add_cursors(merge, &keys);
    if (rc < 0) oor_merge_end(merge);
    return rc;
}

oor_merge *oor_merge_new(const oor_version *version, const uint8_t *start, size_t start_size,
                         const uint8_t *stop, size_t stop_size, uint32_t flags) {
    oor_merge *merge = malloc(sizeof *merge);
    if (!merge) {
        oor_fail(OOR_E_MEMORY, NULL, "no memory for a merge");
        return NULL;
    }
    if (oor_merge_begin(merge, version, start, start_size, stop, stop_size, flags) < 0) {
        free(merge);
        return NULL;
    }
    merge->held = (oor_version *)(uintptr_t)version;
    oor_version_hold(merge->held);
    if (merge->bound) {
        int rc = oor_buffer_add(&merge->own_bound, merge->bound, merge->bound_size);
        if (rc < 0) {
            oor_merge_free(merge);
            return NULL;
        }
        if (merge->bound_size) merge->bound = merge->own_bound.data;
    }
    return merge;
}

int oor_merge_check(const oor_merge *merge) {
    const oor_window *newer = &merge->newer;
    if (newer->at > newer->count) return oor_fail(OOR_E_BROKEN, NULL, "walk: past its window");
    if (!merge->failed && !oor_heap_is_sound(&merge->heap))
        return oor_fail(OOR_E_BROKEN, NULL, "walk: cursors out of order");
    return 0;
}

static void clear_window(oor_window *newer) {
    free(newer->data);
    free(newer->key_sizes);
    *newer = (oor_window){0};
}

void oor_merge_end(oor_merge *merge) {
    for (uint32_t i = 0; i < merge->cursor_count; i++) oor_cursor_clear(&merge->cursors[i]);
    if (merge->cursors != merge->near) free(merge->cursors);
    oor_heap_clear(&merge->heap);
    clear_window(&merge->newer);
}

void oor_merge_free(oor_merge *merge) {
    if (!merge) return;
    oor_merge_end(merge);
    oor_buffer_clear(&merge->own_bound);
    oor_version_free(merge->held);
    free(merge);
}

int oor_merge_window(oor_merge *merge, uint64_t count, const uint8_t *keys, size_t keys_size,
                     const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                     const uint32_t *value_sizes, int last) {
    oor_window *newer = &merge->newer;
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

static void step_window(oor_window *newer) {
    newer->key += newer->key_sizes[newer->at];
    if (newer->value_sizes[newer->at] != OOR_TOMBSTONE)
        newer->value += newer->value_sizes[newer->at];
    newer->at++;
}

int oor_merge_is_past(const oor_merge *merge, const uint8_t *key, size_t key_size) {
    if (!merge->bound) return 0;
    int order = oor_compare(key, key_size, merge->bound, merge->bound_size);
    return merge->flags & OOR_MERGE_REVERSE ? order < 0 : order >= 0;
}

/* What the walk stands on, as an entry whose key is whole. */
static oor_entry entry_at(const uint8_t *key, uint32_t key_size, const uint8_t *value,
                          uint32_t value_size) {
    return (oor_entry){
        .suffix = key, .suffix_size = key_size, .value = value, .value_size = value_size};
}

int oor_merge_take_table(oor_merge *merge, oor_sink *sink, int *ended) {
    oor_heap *heap = &merge->heap;
    oor_cursor *top = oor_heap_top(heap);
    int live = top->value_size != OOR_TOMBSTONE;
    if (live) {
        oor_entry entry = entry_at(top->key, top->key_size, top->value, top->value_size);
        int rc = oor_sink_take(sink, &entry);
        if (rc == 0) *ended = OOR_MERGE_FULL;
        if (rc <= 0) return rc;
    }
    int rc = heap->count == 1 ? oor_heap_step(heap)
                              : oor_heap_step_over(heap, top->key, top->key_size, NULL);
    return rc < 0 ? rc : live;
}

/* The same with the current pair of the window. */
static int take_window(oor_merge *merge, oor_sink *sink, int *ended) {
    oor_window *newer = &merge->newer;
    const uint8_t *key = newer->key;
    uint32_t key_size = newer->key_sizes[newer->at], value_size = newer->value_sizes[newer->at];
    int live = value_size != OOR_TOMBSTONE;
    if (live) {
        oor_entry entry = entry_at(key, key_size, newer->value, value_size);
        int rc = oor_sink_take(sink, &entry);
        if (rc == 0) *ended = OOR_MERGE_FULL;
        if (rc <= 0) return rc;
    }
    int rc = oor_heap_step_over(&merge->heap, key, key_size, NULL);
    step_window(newer);
    return rc < 0 ? rc : live;
}

/* The last entry, in walking order, of the top cursor's block that comes before every other
 * source's and before the end of the walk; the current one where more is not worth to know, -1
 * where it is past the end itself.  REQUIRES: no pair in the window. */
static int64_t run_last(const oor_merge *merge, const oor_cursor *top) {
    const oor_heap *heap = &merge->heap;
    int reverse = heap->reverse;
    uint32_t last = reverse ? 0 : top->block.count - 1;
    oor_entry entry;
    oor_block_entry(&top->block, last, &entry);
    for (uint32_t i = 1; i < 3 && i < heap->count; i++) {
        const oor_cursor *other = heap->items[i].cursor;
        int order = oor_entry_compare(&entry, other->key, other->key_size);
        if (reverse ? order <= 0 : order >= 0) return top->entry_at;
    }
    if (!merge->bound) return last;
    int order = oor_entry_compare(&entry, merge->bound, merge->bound_size);
    if (reverse ? order >= 0 : order < 0) return last;
    uint32_t first_above = oor_block_seek(&top->block, merge->bound, merge->bound_size);
    if (reverse) return first_above <= top->entry_at ? (int64_t)first_above : -1;
    return first_above > top->entry_at ? (int64_t)first_above - 1 : -1;
}

/* Fetches of the block that comes next what lies where an entry lies in this one: a walk is as fast
 * as memory, and the blocks lie anywhere. */
OOR_FETCHES void fetch_like(const oor_cached *next, uint32_t offset, ptrdiff_t size) {
    const uint8_t *from = next->block.data + offset;
    for (ptrdiff_t at = 0; at < size && at < FETCHED_MAX; at += 64) __builtin_prefetch(from + at);
}

OOR_FETCHES void fetch_between(const oor_block *block, uint32_t first, uint32_t last) {
    const uint8_t *end = block->data + block->offsets[last];
    for (const uint8_t *at = block->data + block->offsets[first]; at < end; at += 64)
        __builtin_prefetch(at);
}

/* Hands on the entries of the top cursor's block to `last`, at most `pairs` pairs: how many. */
static int take_run(oor_merge *merge, oor_sink *sink, uint32_t last, uint32_t pairs, int *ended) {
    oor_cursor *top = oor_heap_top(&merge->heap);
    const oor_block *block = &top->block;
    int rc = 0, reverse = top->reverse;
    uint32_t at = top->entry_at, passed = 0, taken = 0;
    uint32_t count = (reverse ? at - last : last - at) + 1;
    oor_entry entry;
    oor_block_entry(block, at, &entry);
    const uint8_t *restart = entry.prefix;
    /* Of the first block of a walk nothing has been fetched. */
    if (top->walked == 1) fetch_between(block, reverse ? last : at, reverse ? at : last);
    oor_cached *next = oor_cursor_peek(top);
    for (; passed < count && taken < pairs; passed++) {
        uint32_t here = reverse ? at - passed : at + passed;
        if (reverse) {
            oor_block_entry(block, here, &entry);
        } else {
            oor_entry_read(block->data + block->offsets[here], &entry);
            if (entry.shared == 0) restart = entry.suffix;
            entry.prefix = restart;
        }
        if (next)
            fetch_like(next, block->offsets[here], (ptrdiff_t)entry.suffix_size + entry.value_size);
        if (entry.value_size == OOR_TOMBSTONE) continue;
        rc = oor_sink_take(sink, &entry);
        if (rc <= 0) break;
        taken++;
    }
    if (next) oor_cached_release(next);
    if (rc == 0 && passed < count && taken < pairs) *ended = OOR_MERGE_FULL;
    if (rc >= 0 && passed > 0)
        rc = oor_heap_move(&merge->heap, reverse ? at - (passed - 1) : at + (passed - 1));
    return rc < 0 ? rc : (int)taken;
}

/* One step of the walk: how many pairs were handed on, at most `pairs`; 0 and an oor_merge_step in
 * *ended where it stops; or an error. */
static int step(oor_merge *merge, oor_sink *sink, uint32_t pairs, int *ended) {
    oor_window *newer = &merge->newer;
    int reverse = (merge->flags & OOR_MERGE_REVERSE) != 0;
    if (newer->at == newer->count && !newer->last) {
        *ended = OOR_MERGE_NEEDS_WINDOW;
        return 0;
    }
    const oor_cursor *top = oor_heap_top(&merge->heap);
    int from_window = newer->at < newer->count;
    if (top && !from_window) {
        int64_t last = run_last(merge, top);
        if (last < 0) *ended = OOR_MERGE_END;
        if (last < 0) return 0;
        if (last != top->entry_at) return take_run(merge, sink, (uint32_t)last, pairs, ended);
    }
    if (top && from_window) {
        int order = oor_compare(newer->key, newer->key_sizes[newer->at], top->key, top->key_size);
        from_window = reverse ? order >= 0 : order <= 0;
    }
    if (!top && !from_window) {
        *ended = OOR_MERGE_END;
        return 0;
    }
    const uint8_t *key = from_window ? newer->key : top->key;
    if (oor_merge_is_past(merge, key, from_window ? newer->key_sizes[newer->at] : top->key_size)) {
        *ended = OOR_MERGE_END;
        return 0;
    }
    return from_window ? take_window(merge, sink, ended) : oor_merge_take_table(merge, sink, ended);
}

int oor_merge_walk(oor_merge *merge, oor_sink *sink, uint32_t pairs) {
    if (merge->failed) return oor_fail(OOR_E_FAILED, NULL, "this walk has failed before");
    int ended = OOR_MERGE_MORE;
    while (pairs > 0 && ended == OOR_MERGE_MORE) {
        int rc = step(merge, sink, pairs, &ended);
        if (rc < 0) {
            merge->failed = 1;
            return rc;
        }
        pairs -= (uint32_t)rc;
    }
    return ended;
}
