/* compaction.c: merges tables into new ones, without the entries that nobody can see.
 *
 * The bytes: table_read.c.  Of the entries of a key the newest stays; a tombstone goes too when no
 * table below can hold its key.  entries_in = entries_out + shadowed + tombstones, or the work
 * fails. */
#include <stdlib.h>

#include "build.h"
#include "heap.h"

enum { CANCEL_CHECK_ENTRIES = 256 };

struct oor_compaction {
    oor_table **inputs;
    uint32_t input_count;
    oor_table **below; /* by largest key */
    uint32_t below_count;
    uint32_t below_at; /* those before it end below the current key */
    oor_cursor *cursors;
    oor_heap heap;
    int started;
    int failed;
    uint64_t entries_expected;
    uint64_t first_lsn, last_lsn;
    oor_builder *builder; /* of the last output: it owns the keys that were handed out */
    oor_compaction_counts counts;
    atomic_int cancelled;
};

static int by_largest(const void *left, const void *right) {
    const oor_table *a = *(oor_table *const *)left, *b = *(oor_table *const *)right;
    return oor_compare(a->props.largest, a->props.largest_size, b->props.largest,
                       b->props.largest_size);
}

oor_compaction *oor_compaction_new(oor_table *const *inputs, uint32_t input_count,
                                   oor_table *const *below, uint32_t below_count) {
    if (input_count == 0) {
        oor_fail(OOR_E_LIMIT, NULL, "a compaction of no tables");
        return NULL;
    }
    oor_compaction *work = calloc(1, sizeof *work);
    if (work) {
        work->inputs = calloc(input_count, sizeof *work->inputs);
        work->below = calloc((size_t)below_count + 1, sizeof *work->below);
        work->cursors = calloc(input_count, sizeof *work->cursors);
    }
    if (!work || !work->inputs || !work->below || !work->cursors ||
        oor_heap_init(&work->heap, input_count, 0) < 0) {
        oor_compaction_free(work);
        oor_fail(OOR_E_MEMORY, NULL, "no memory to compact %u tables", input_count);
        return NULL;
    }
    work->first_lsn = UINT64_MAX;
    for (uint32_t i = 0; i < input_count; i++) {
        oor_table *input = inputs[i];
        oor_table_hold(input);
        work->inputs[work->input_count++] = input;
        oor_cursor_init(&work->cursors[i], &work->inputs[i], 1, 0, 1);
        work->entries_expected += input->props.entries;
        work->counts.bytes_in += input->props.file_size;
        if (input->props.first_lsn < work->first_lsn) work->first_lsn = input->props.first_lsn;
        if (input->props.last_lsn > work->last_lsn) work->last_lsn = input->props.last_lsn;
    }
    for (uint32_t i = 0; i < below_count; i++) {
        oor_table_hold(below[i]);
        work->below[work->below_count++] = below[i];
    }
    qsort(work->below, below_count, sizeof *work->below, by_largest);
    return work;
}

void oor_compaction_free(oor_compaction *work) {
    if (!work) return;
    oor_builder_free(work->builder);
    for (uint32_t i = 0; i < work->input_count; i++) {
        oor_cursor_clear(&work->cursors[i]);
        oor_table_release(work->inputs[i]);
    }
    for (uint32_t i = 0; i < work->below_count; i++) oor_table_release(work->below[i]);
    oor_heap_clear(&work->heap);
    free(work->inputs);
    free(work->below);
    free(work->cursors);
    free(work);
}

void oor_compaction_cancel(oor_compaction *work) { atomic_store(&work->cancelled, 1); }

void oor_compaction_read_counts(const oor_compaction *work, oor_compaction_counts *out) {
    *out = work->counts;
}

/* Whether a table below may hold the key.  Keys come in ascending order. */
static int may_be_below(oor_compaction *work, const uint8_t *key, uint32_t key_size) {
    for (; work->below_at < work->below_count; work->below_at++) {
        const oor_table_props *props = &work->below[work->below_at]->props;
        if (oor_compare(props->largest, props->largest_size, key, key_size) >= 0) break;
    }
    for (uint32_t i = work->below_at; i < work->below_count; i++) {
        const oor_table_props *props = &work->below[i]->props;
        if (oor_compare(props->smallest, props->smallest_size, key, key_size) <= 0) return 1;
    }
    return 0;
}

static int start(oor_compaction *work) {
    work->started = 1;
    for (uint32_t i = 0; i < work->input_count; i++) {
        int rc = oor_cursor_seek(&work->cursors[i], NULL, 0);
        if (rc < 0) return rc;
        if (work->cursors[i].valid) oor_heap_push(&work->heap, &work->cursors[i], i);
    }
    return 0;
}

/* Moves the newest entry of the next key to the output, or drops it; the older ones are dropped. */
static int take(oor_compaction *work, const char *path, uint64_t number,
                const oor_table_options *options) {
    oor_cursor *top = oor_heap_top(&work->heap);
    if (top->value_size == OOR_TOMBSTONE && !may_be_below(work, top->key, top->key_size)) {
        work->counts.tombstones++;
    } else {
        int rc = work->builder
                     ? 0
                     : oor_builder_open(path, number, options, OOR_E_CORRUPT, &work->builder);
        if (rc >= 0)
            rc = oor_builder_add(work->builder, top->key, top->key_size, top->value,
                                 top->value_size);
        if (rc < 0) return rc;
        work->counts.entries_out++;
    }
    uint64_t stepped = 0;
    int rc = work->heap.count == 1
                 ? oor_heap_step(&work->heap)
                 : oor_heap_step_over(&work->heap, top->key, top->key_size, &stepped);
    work->counts.entries_in += stepped ? stepped : 1;
    work->counts.shadowed += stepped ? stepped - 1 : 0;
    return rc;
}

static int check_counts(const oor_compaction *work) {
    const oor_compaction_counts *counts = &work->counts;
    if (counts->entries_in == work->entries_expected &&
        counts->entries_in == counts->entries_out + counts->shadowed + counts->tombstones)
        return 0;
    return oor_fail(
        OOR_E_CORRUPT, work->inputs[0]->path,
        "compaction: %llu entries promised, %llu read, %llu written, %llu and %llu dropped",
        (unsigned long long)work->entries_expected, (unsigned long long)counts->entries_in,
        (unsigned long long)counts->entries_out, (unsigned long long)counts->shadowed,
        (unsigned long long)counts->tombstones);
}

static int next_table(oor_compaction *work, const char *path, uint64_t number,
                      const oor_table_options *options, uint64_t size_max, oor_table_props *out) {
    int rc = work->started ? 0 : start(work);
    for (uint32_t taken = 0; rc >= 0 && work->heap.count > 0; taken++) {
        if (taken % CANCEL_CHECK_ENTRIES == 0 && atomic_load(&work->cancelled))
            return oor_fail(OOR_E_CANCELLED, path, "compaction cancelled");
        if (work->builder && oor_builder_size(work->builder) >= size_max) break;
        rc = take(work, path, number, options);
    }
    if (rc >= 0 && work->heap.count == 0) rc = check_counts(work);
    if (rc < 0 || !work->builder) return rc;
    rc = oor_builder_finish(work->builder, work->first_lsn, work->last_lsn, out);
    if (rc < 0) return rc;
    work->counts.bytes_out += out->file_size;
    return 1;
}

int oor_compaction_next(oor_compaction *work, const char *path, uint64_t number,
                        const oor_table_options *options, uint64_t size_max, oor_table_props *out) {
    if (work->failed) return oor_fail(OOR_E_FAILED, path, "this compaction has failed before");
    oor_builder_free(work->builder);
    work->builder = NULL;
    int rc = next_table(work, path, number, options, size_max, out);
    work->failed = rc < 0;
    return rc;
}
