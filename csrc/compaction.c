/* compaction.c: merges tables into new ones, without the entries that nobody can see.
 *
 * The bytes: table_read.c.  Of the entries of a key the newest stays; a tombstone goes too when no
 * table below can hold its key.  entries_in = entries_out + shadowed + tombstones, or the work
 * fails.
 *
 * Of a part, the first inputs are read from its start to its stop only.  What they give is counted
 * apart; whoever runs the parts adds that up, and holds it against what the inputs promise.
 *
 * Inputs that follow each other without an overlap, as the tables of one level do, share a cursor,
 * so that memory grows with the number of runs and not of tables. */
#include <stdlib.h>

#include "build.h"
#include "heap.h"

enum { CANCEL_CHECK_ENTRIES = 256 };

/* What is packed to less than a third counts as a third: a table that is written or open takes
 * memory for each of its keys, however small its file. */
enum { CONTENT_FACTOR = 3 };

struct oor_compaction {
    oor_table **inputs;
    uint32_t input_count;
    oor_table **below; /* by largest key */
    uint32_t below_count;
    uint32_t below_at; /* those before it end below the current key */
    oor_table **next;  /* of the level under the outputs', in key order */
    uint32_t next_count;
    uint32_t next_at;      /* those before it end below the current key */
    uint64_t next_crossed; /* bytes of those that end within the current output */
    oor_cursor *cursors;
    uint32_t cursor_count;
    uint32_t partial_inputs; /* the first so many are read in part */
    uint32_t partial_cursors;
    oor_buffer start, stop; /* of the part */
    int stops;
    uint64_t stop_prefix;
    oor_heap heap;
    int started;
    int failed;
    uint64_t entries_expected; /* of the inputs that are read whole */
    uint64_t first_lsn, last_lsn;
    oor_builder *builder; /* of the output under way, or of the last: it owns the keys handed out */
    int under_way;
    oor_compaction_counts counts;
    atomic_int cancelled;
};

static int by_largest(const void *left, const void *right) {
    const oor_table *a = *(oor_table *const *)left, *b = *(oor_table *const *)right;
    return oor_compare(a->props.largest, a->props.largest_size, b->props.largest,
                       b->props.largest_size);
}

static int is_above(const oor_table *table, const oor_table *other) {
    const oor_table_props *a = &table->props, *b = &other->props;
    return oor_compare(a->smallest, a->smallest_size, b->largest, b->largest_size) > 0;
}

static void hold(oor_table **to, uint32_t *count, oor_table *table) {
    oor_table_hold(table);
    to[(*count)++] = table;
}

/* Holds the inputs, adds up what they promise, and puts cursors on their runs. */
static void take_inputs(oor_compaction *work, oor_table *const *inputs, uint32_t count) {
    work->first_lsn = UINT64_MAX;
    for (uint32_t i = 0, start = 0; i < count; i++) {
        const oor_table_props *props = &inputs[i]->props;
        hold(work->inputs, &work->input_count, inputs[i]);
        if (i >= work->partial_inputs) work->entries_expected += props->entries;
        if (props->first_lsn < work->first_lsn) work->first_lsn = props->first_lsn;
        if (props->last_lsn > work->last_lsn) work->last_lsn = props->last_lsn;
        if (i + 1 < count && i + 1 != work->partial_inputs && is_above(inputs[i + 1], inputs[i]))
            continue;
        oor_cursor_init(&work->cursors[work->cursor_count++], work->inputs + start, i + 1 - start,
                        0, OOR_CURSOR_PAST);
        start = i + 1;
        if (start == work->partial_inputs) work->partial_cursors = work->cursor_count;
    }
}

static int copy_key(oor_buffer *to, const uint8_t *key, size_t size) {
    int rc = oor_buffer_reserve(to, size + 1);
    if (rc < 0) return rc;
    if (size) memcpy(to->data, key, size);
    to->size = size;
    return 0;
}

static int take_part(oor_compaction *work, const oor_compaction_part *part) {
    work->partial_inputs = part->count;
    work->stops = part->stop != NULL;
    work->stop_prefix = part->stop ? oor_key_prefix(part->stop, part->stop_size) : 0;
    int rc = part->start ? copy_key(&work->start, part->start, part->start_size) : 0;
    if (rc >= 0 && part->stop) rc = copy_key(&work->stop, part->stop, part->stop_size);
    return rc;
}

oor_compaction *oor_compaction_new(oor_table *const *inputs, uint32_t input_count,
                                   oor_table *const *below, uint32_t below_count,
                                   uint32_t next_count, const oor_compaction_part *part) {
    assert(next_count <= below_count && (!part || part->count <= input_count));
    if (input_count == 0) {
        oor_fail(OOR_E_LIMIT, NULL, "a compaction of no tables");
        return NULL;
    }
    oor_compaction *work = calloc(1, sizeof *work);
    if (work) {
        work->inputs = calloc(input_count, sizeof *work->inputs);
        work->below = calloc((size_t)below_count + 1, sizeof *work->below);
        work->next = calloc((size_t)next_count + 1, sizeof *work->next);
        work->cursors = calloc(input_count, sizeof *work->cursors);
    }
    if (!work || !work->inputs || !work->below || !work->next || !work->cursors ||
        oor_heap_init(&work->heap, input_count, 0) < 0 || (part && take_part(work, part) < 0)) {
        oor_compaction_free(work);
        oor_fail(OOR_E_MEMORY, NULL, "no memory to compact %u tables", input_count);
        return NULL;
    }
    take_inputs(work, inputs, input_count);
    for (uint32_t i = 0; i < below_count; i++) hold(work->below, &work->below_count, below[i]);
    for (uint32_t i = 0; i < next_count; i++) hold(work->next, &work->next_count, below[i]);
    qsort(work->below, below_count, sizeof *work->below, by_largest);
    return work;
}

void oor_compaction_free(oor_compaction *work) {
    if (!work) return;
    oor_builder_free(work->builder);
    for (uint32_t i = 0; i < work->cursor_count; i++) oor_cursor_clear(&work->cursors[i]);
    for (uint32_t i = 0; i < work->input_count; i++) oor_table_release(work->inputs[i]);
    for (uint32_t i = 0; i < work->below_count; i++) oor_table_release(work->below[i]);
    for (uint32_t i = 0; i < work->next_count; i++) oor_table_release(work->next[i]);
    oor_heap_clear(&work->heap);
    oor_buffer_clear(&work->start);
    oor_buffer_clear(&work->stop);
    free(work->inputs);
    free(work->below);
    free(work->next);
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
    for (uint32_t i = 0; i < work->cursor_count; i++) {
        int partial = i < work->partial_cursors && work->start.data;
        int rc = oor_cursor_seek(&work->cursors[i], partial ? work->start.data : NULL,
                                 partial ? work->start.size : 0);
        if (rc < 0) return rc;
        if (work->cursors[i].valid) oor_heap_push(&work->heap, &work->cursors[i], i);
    }
    return 0;
}

/* Whether the output under way ends before the next key: it is as large as it may be, or half of
 * that where a table of the next level ends too, or its range holds too much of that level, all of
 * which would be rewritten with it one day. */
static int is_at_end(oor_compaction *work, const oor_compaction_limits *limits) {
    const oor_cursor *top = oor_heap_top(&work->heap);
    int crossed = 0;
    for (; work->next_at < work->next_count; work->next_at++) {
        const oor_table *table = work->next[work->next_at];
        if (top->prefix < table->largest_prefix) break;
        const oor_table_props *props = &table->props;
        if (oor_compare(props->largest, props->largest_size, top->key, top->key_size) >= 0) break;
        work->next_crossed += props->file_size;
        crossed = 1;
    }
    if (!work->under_way) {
        work->next_crossed = 0;
        return 0;
    }
    uint64_t size = oor_builder_size(work->builder);
    uint64_t content = oor_builder_content(work->builder);
    if (content / CONTENT_FACTOR > size) size = content / CONTENT_FACTOR;
    return size >= limits->size_max ||
           (crossed && (size >= limits->size_max / 2 || work->next_crossed > limits->overlap_max));
}

/* Moves the newest entry of the next key to the output, or drops it; the older ones are dropped. */
static int take(oor_compaction *work, const char *path, uint64_t number,
                const oor_table_options *options) {
    oor_cursor *top = oor_heap_top(&work->heap);
    if (top->value_size == OOR_TOMBSTONE && !may_be_below(work, top->key, top->key_size)) {
        work->counts.tombstones++;
    } else {
        int rc = work->under_way
                     ? 0
                     : oor_builder_open(path, number, options, OOR_E_CORRUPT, &work->builder);
        if (rc < 0) return rc;
        work->under_way = 1;
        rc = oor_builder_add(work->builder, top->key, top->key_size, top->value, top->value_size);
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

/* Whether no key is left in front of the part's stop. */
static int is_done(const oor_compaction *work) {
    const oor_cursor *top = oor_heap_top(&work->heap);
    if (!top || !work->stops || top->prefix < work->stop_prefix) return !top;
    return oor_compare(top->key, top->key_size, work->stop.data, work->stop.size) >= 0;
}

/* What the cursors of the partial inputs passed: all they stood on, but for where they stand. */
static uint64_t partial_entries(const oor_compaction *work) {
    uint64_t passed = 0;
    for (uint32_t i = 0; i < work->partial_cursors; i++)
        passed += work->cursors[i].entries - (work->cursors[i].valid ? 1 : 0);
    return passed;
}

static int check_counts(oor_compaction *work) {
    oor_compaction_counts *counts = &work->counts;
    counts->partial_in = partial_entries(work);
    uint64_t promised = work->entries_expected + counts->partial_in;
    if (counts->entries_in == promised &&
        counts->entries_in == counts->entries_out + counts->shadowed + counts->tombstones)
        return 0;
    return oor_fail(
        OOR_E_CORRUPT, work->inputs[0]->path,
        "compaction: %llu entries promised, %llu read, %llu written, %llu and %llu dropped",
        (unsigned long long)promised, (unsigned long long)counts->entries_in,
        (unsigned long long)counts->entries_out, (unsigned long long)counts->shadowed,
        (unsigned long long)counts->tombstones);
}

static int next_table(oor_compaction *work, const char *path, uint64_t number,
                      const oor_table_options *options, const oor_compaction_limits *limits,
                      oor_table_props *out) {
    int rc = work->started ? 0 : start(work);
    for (uint64_t taken = 0; rc >= 0 && !is_done(work); taken++) {
        if (taken % CANCEL_CHECK_ENTRIES == 0 && atomic_load(&work->cancelled))
            return oor_fail(OOR_E_CANCELLED, path, "compaction cancelled");
        if (is_at_end(work, limits)) break;
        if (taken == limits->slice_entries) return OOR_COMPACTION_SLICE;
        rc = take(work, path, number, options);
    }
    if (rc >= 0 && is_done(work)) rc = check_counts(work);
    if (rc < 0) return rc;
    if (!work->under_way) return OOR_COMPACTION_END;
    rc = oor_builder_finish(work->builder, work->first_lsn, work->last_lsn, out);
    if (rc < 0) return rc;
    work->under_way = 0;
    work->counts.bytes_out += out->file_size;
    return OOR_COMPACTION_TABLE;
}

int oor_compaction_next(oor_compaction *work, const char *path, uint64_t number,
                        const oor_table_options *options, const oor_compaction_limits *limits,
                        oor_table_props *out) {
    if (work->failed) return oor_fail(OOR_E_FAILED, path, "this compaction has failed before");
    assert(limits->slice_entries > 0);
    if (!work->under_way) {
        oor_builder_free(work->builder);
        work->builder = NULL;
    }
    int rc = next_table(work, path, number, options, limits, out);
    work->failed = rc < 0;
    return rc;
}
