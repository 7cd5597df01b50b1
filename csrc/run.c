/* run.c: pairs in any order, sorted and written as one table.  The bytes: table_read.c. */
#include <stdlib.h>

#include "build.h"
#include "bulk.h"
#include "memory.h"
#include "sort.h"

/* What one oor_run_add brought. */
typedef struct chunk {
    struct chunk *next;
    size_t size;    /* of all of it */
    uint8_t data[]; /* keys, then values */
} chunk;

typedef oor_bulk_entry pair;

struct oor_run {
    chunk *chunks;
    pair *pairs;
    size_t count;
    size_t capacity;
    oor_buffer keys; /* smallest and largest, for the caller of oor_run_write */
};

oor_run *oor_run_new(void) {
    oor_run *run = calloc(1, sizeof *run);
    if (!run) oor_fail(OOR_E_MEMORY, NULL, "no memory for a run");
    return run;
}

void oor_run_free(oor_run *run) {
    if (!run) return;
    for (chunk *next, *at = run->chunks; at; at = next) {
        next = at->next;
        oor_memory_give(at, at->size);
    }
    oor_memory_give(run->pairs, run->capacity * sizeof *run->pairs);
    oor_buffer_clear(&run->keys);
    free(run);
}

static int reserve_pairs(oor_run *run, uint64_t more) {
    if (run->capacity - run->count >= more) return 0;
    if (more > UINT32_MAX - run->count)
        return oor_fail(OOR_E_LIMIT, NULL, "a run takes %u pairs at most", UINT32_MAX);
    size_t capacity = run->count + more + run->capacity / 2;
    size_t size = run->capacity * sizeof *run->pairs;
    pair *pairs = oor_memory_resize(run->pairs, size, capacity * sizeof *pairs);
    if (!pairs) return oor_fail(OOR_E_MEMORY, NULL, "no memory for %zu pairs", capacity);
    run->pairs = pairs;
    run->capacity = capacity;
    return 0;
}

int oor_run_add(oor_run *run, uint64_t count, const uint8_t *keys, size_t keys_size,
                const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                const uint32_t *value_sizes) {
    int rc = oor_columns_check(count, keys_size, key_sizes, values_size, value_sizes);
    if (rc >= 0) rc = reserve_pairs(run, count);
    if (rc < 0) return rc;
    size_t size = sizeof(chunk) + keys_size + values_size;
    chunk *added = oor_memory_take(size);
    if (!added) return oor_fail(OOR_E_MEMORY, NULL, "no memory for %zu bytes", size);
    added->next = run->chunks;
    added->size = size;
    run->chunks = added;
    if (keys_size) memcpy(added->data, keys, keys_size);
    if (values_size) memcpy(added->data + keys_size, values, values_size);
    const uint8_t *key = added->data, *value = added->data + keys_size;
    for (uint64_t i = 0; i < count; i++) {
        run->pairs[run->count++] = (pair){key, value, key_sizes[i], value_sizes[i]};
        key += key_sizes[i];
        if (value_sizes[i] != OOR_TOMBSTONE) value += value_sizes[i];
    }
    return 0;
}

int oor_run_add_bulk(oor_run *run, const oor_bulk *bulk, uint64_t count, const uint8_t *keys,
                     size_t keys_size, const uint32_t *key_sizes) {
    size_t entries_count;
    const oor_bulk_entry *entries = oor_bulk_entries(bulk, &entries_count);
    int rc = oor_columns_check(count, keys_size, key_sizes, 0, NULL);
    if (rc >= 0) rc = reserve_pairs(run, entries_count);
    if (rc < 0) return rc;
    uint8_t *left_out = calloc(entries_count + 1, 1);
    if (!left_out) return oor_fail(OOR_E_MEMORY, NULL, "no memory for %zu marks", entries_count);
    for (uint64_t i = 0; i < count; keys += key_sizes[i++]) {
        int64_t place = oor_bulk_place(bulk, keys, key_sizes[i]);
        if (place >= 0) left_out[place] = 1;
    }
    for (size_t i = 0; i < entries_count; i++)
        if (!left_out[i]) run->pairs[run->count++] = entries[i];
    free(left_out);
    return 0;
}

static size_t refs_size(const oor_run *run) { return run->count * sizeof(oor_key_ref); }

static oor_key_ref *sorted_refs(const oor_run *run) {
    oor_key_ref *refs = oor_memory_take(2 * refs_size(run));
    if (!refs) {
        oor_fail(OOR_E_MEMORY, NULL, "no memory to sort %zu pairs", run->count);
        return NULL;
    }
    for (size_t i = 0; i < run->count; i++)
        refs[i] = (oor_key_ref){0, run->pairs[i].key, run->pairs[i].key_size, (uint32_t)i};
    oor_sort_keys(refs, refs + run->count, run->count);
    return oor_memory_resize(refs, 2 * refs_size(run), refs_size(run));
}

/* The builder's keys go with it; the caller's last longer. */
static int keep_keys(oor_run *run, oor_table_props *props) {
    run->keys.size = 0;
    int rc = oor_buffer_reserve(&run->keys, (size_t)props->smallest_size + props->largest_size + 1);
    if (rc < 0) return rc;
    uint8_t *smallest = run->keys.data, *largest = smallest + props->smallest_size;
    if (props->smallest_size) memcpy(smallest, props->smallest, props->smallest_size);
    if (props->largest_size) memcpy(largest, props->largest, props->largest_size);
    props->smallest = smallest;
    props->largest = largest;
    return 0;
}

int oor_run_write(oor_run *run, const char *path, uint64_t number, const oor_table_options *options,
                  uint64_t first_lsn, uint64_t last_lsn, oor_table_props *out) {
    if (run->count == 0) return oor_fail(OOR_E_LIMIT, path, "a table of no pairs");
    if (first_lsn > last_lsn)
        return oor_fail(OOR_E_LIMIT, path, "an LSN range that ends before it starts");
    oor_builder *builder = NULL;
    oor_key_ref *refs = sorted_refs(run);
    int rc = refs ? oor_builder_open(path, number, options, OOR_E_LIMIT, &builder) : OOR_E_MEMORY;
    for (size_t i = 0; rc >= 0 && i < run->count; i++) {
        if (i + 8 < run->count) __builtin_prefetch(run->pairs[refs[i + 8].index].value);
        const pair *at = &run->pairs[refs[i].index];
        rc = oor_builder_add(builder, at->key, at->key_size, at->value, at->value_size);
    }
    if (rc >= 0) rc = oor_builder_finish(builder, first_lsn, last_lsn, out);
    if (rc >= 0) rc = keep_keys(run, out);
    oor_builder_free(builder);
    oor_memory_give(refs, refs_size(run));
    return rc;
}
