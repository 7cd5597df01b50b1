/* version.c: looks keys up through all tables of a version, the newest entry first.
 *
 * answer of get_many := list of (bytes | None), as in marshal.h.  Nothing here is written to
 * disk. */
#include "version.h"

#include <stdlib.h>

#include "memory.h"
#include "marshal.h"
#include "sort.h"

enum { LEVELS_MAX = 64, BATCH = 1024, AHEAD = 6, KEPT_MAX = 1 << 20 };

oor_version *oor_version_new(oor_table *const *tables, const uint32_t *level_counts,
                             uint32_t levels) {
    if (levels > LEVELS_MAX) {
        oor_fail(OOR_E_LIMIT, NULL, "%u levels, the limit is %d", levels, LEVELS_MAX);
        return NULL;
    }
    size_t count = 0;
    for (uint32_t i = 0; i < levels; i++) count += level_counts[i];
    oor_version *version = calloc(1, sizeof *version);
    if (version) {
        version->tables = calloc(count + 1, sizeof *version->tables);
        version->largest = calloc(count + 1, sizeof *version->largest);
        version->starts = calloc((size_t)levels + 1, sizeof *version->starts);
    }
    if (!version || !version->tables || !version->largest || !version->starts) {
        oor_version_free(version);
        oor_fail(OOR_E_MEMORY, NULL, "no memory for a version of %zu tables", count);
        return NULL;
    }
    version->levels = levels;
    atomic_init(&version->holders, 1);
    for (uint32_t i = 0; i < levels; i++)
        version->starts[i + 1] = version->starts[i] + level_counts[i];
    for (size_t i = 0; i < count; i++) {
        oor_table_hold(tables[i]);
        version->tables[i] = tables[i];
        version->largest[i] = tables[i]->largest_prefix;
    }
    return version;
}

void oor_version_hold(oor_version *version) { atomic_fetch_add(&version->holders, 1); }

void oor_version_free(oor_version *version) {
    if (!version || atomic_fetch_sub(&version->holders, 1) > 1) return;
    if (version->tables)
        for (oor_table **table = version->tables; *table; table++) oor_table_release(*table);
    free(version->tables);
    free(version->largest);
    free(version->starts);
    free(version);
}

uint32_t oor_version_find(const oor_version *version, uint32_t level, const uint8_t *key,
                          size_t key_size, uint64_t prefix) {
    uint32_t low = version->starts[level], high = version->starts[level + 1];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int below = version->largest[middle] < prefix;
        if (version->largest[middle] == prefix) {
            const oor_table_props *props = &version->tables[middle]->props;
            below = oor_compare(props->largest, props->largest_size, key, key_size) < 0;
        }
        if (below) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* An oor_lookup or an error; a found value lies in *held, the caller's to release. */
static int look_up(const oor_version *version, const uint8_t *key, size_t key_size, uint64_t hash,
                   oor_cached **held, oor_value *out) {
    uint64_t prefix = oor_key_prefix(key, key_size);
    if (!version->tables[0]) return OOR_ABSENT;
    atomic_uint_least64_t *counters = oor_cache_counters(version->tables[0]->cache);
    oor_count(counters, COUNT_LOOKUPS);
    for (uint32_t level = 0; level < version->levels; level++) {
        uint32_t at = version->starts[level], end = version->starts[level + 1];
        if (level > 0) {
            at = oor_version_find(version, level, key, key_size, prefix);
            end = at < end ? at + 1 : at;
        }
        for (; at < end; at++) {
            oor_table *table = version->tables[at];
            if (oor_table_range(table, key, key_size, prefix) != 0) continue;
            int found = oor_table_get(table, key, key_size, prefix, hash, counters, held, out);
            if (found != OOR_ABSENT) return found;
        }
    }
    return OOR_ABSENT;
}

/* ---- one value ------------------------------------------------------------------------------ */

int64_t oor_read(const oor_reader *reader, const char *key, size_t key_size) {
    oor_cached *held;
    oor_value value;
    const uint8_t *bytes = (const uint8_t *)key;
    int found = look_up(reader->version, bytes, key_size, oor_hash(bytes, key_size), &held, &value);
    if (found != OOR_FOUND)
        return found == OOR_ABSENT    ? OOR_READ_ABSENT
               : found == OOR_DELETED ? OOR_READ_DELETED
                                      : OOR_READ_FAILED + found;
    int fits = value.size <= reader->capacity;
    if (fits && value.size) memcpy(reader->room, value.data, value.size);
    oor_cached_release(held);
    return fits ? (int64_t)value.size : OOR_READ_LARGE - (int64_t)value.size;
}

/* ---- many values ---------------------------------------------------------------------------- */

/* What was found for one key: its value in the arena, or none. */
typedef struct {
    size_t at;
    uint32_t size; /* OOR_TOMBSTONE: none */
} answer;

/* What is known of a key before it is looked up. */
typedef struct {
    uint64_t hash;
    const oor_table *table; /* the first that may hold it; NULL: none */
    uint32_t block_at;
} hint;

struct oor_lookups {
    oor_key_ref refs[2 * BATCH];
    hint hints[BATCH];
    answer answers[BATCH];
    oor_buffer arena;
};

oor_lookups *oor_lookups_new(void) {
    oor_lookups *made = oor_memory_take(sizeof *made);
    if (made) {
        made->arena = (oor_buffer){0};
    } else {
        oor_fail(OOR_E_MEMORY, NULL, "no memory for a batch of lookups");
    }
    return made;
}

void oor_lookups_free(oor_lookups *lookups) {
    if (!lookups) return;
    oor_buffer_clear(&lookups->arena);
    oor_memory_give(lookups, sizeof *lookups);
}

/* A lookup misses the processor's cache at four places, one after the other.  The keys that come
 * next take one step each meanwhile: the filter's line, the block's head, the entry, then the
 * lookup itself. Steps change nothing: what they find too early or too late is only slower. */
static void hint_filters(const oor_version *version, const oor_key_ref *ref, hint *to) {
    to->hash = oor_hash(ref->key, ref->key_size);
    uint64_t prefix = oor_key_prefix(ref->key, ref->key_size);
    for (uint32_t level = 0; level < version->levels; level++) {
        uint32_t at = version->starts[level], end = version->starts[level + 1];
        if (level > 0) {
            at = oor_version_find(version, level, ref->key, ref->key_size, prefix);
            end = at < end ? at + 1 : at;
        }
        for (; at < end; at++) {
            const oor_table *table = version->tables[at];
            if (table->filter)
                __builtin_prefetch(oor_filter_line(table->filter, table->filter_lines, to->hash));
        }
    }
}

static void hint_block(const oor_version *version, const oor_key_ref *ref, hint *to) {
    uint64_t prefix = oor_key_prefix(ref->key, ref->key_size);
    to->table = NULL;
    for (uint32_t level = 0; level < version->levels && !to->table; level++) {
        uint32_t at = version->starts[level], end = version->starts[level + 1];
        if (level > 0) {
            at = oor_version_find(version, level, ref->key, ref->key_size, prefix);
            end = at < end ? at + 1 : at;
        }
        for (; at < end && !to->table; at++) {
            const oor_table *table = version->tables[at];
            if (!table->filter || oor_filter_may_hold(table->filter, table->filter_lines,
                                                      table->filter_probes, to->hash))
                to->table = table;
        }
    }
    if (!to->table) return;
    to->block_at = oor_table_find_block(to->table, ref->key, ref->key_size, prefix);
    oor_slot_prefetch(&to->table->slots[to->block_at]);
}

static void hint_entry(const hint *from) {
    if (!from->table) return;
    oor_cached *cached = oor_slot_acquire(&from->table->slots[from->block_at]);
    if (!cached) return;
    oor_cached_prefetch(cached, from->hash);
    oor_cached_release(cached);
}

/* Looks the keys of a batch up in key order, so that neighbours meet the same block while it is
 * near. */
static int64_t answer_batch(const oor_version *version, oor_lookups *work, uint32_t count) {
    int64_t found_count = 0;
    for (uint32_t i = 0; i < count + 3 * AHEAD; i++) {
        if (i < count) hint_filters(version, &work->refs[i], &work->hints[i]);
        if (i >= AHEAD && i - AHEAD < count)
            hint_block(version, &work->refs[i - AHEAD], &work->hints[i - AHEAD]);
        if (i >= 2 * AHEAD && i - 2 * AHEAD < count) hint_entry(&work->hints[i - 2 * AHEAD]);
        if (i < 3 * AHEAD) continue;
        const oor_key_ref *ref = &work->refs[i - 3 * AHEAD];
        oor_cached *held;
        oor_value value;
        int found = look_up(version, ref->key, ref->key_size, work->hints[i - 3 * AHEAD].hash,
                            &held, &value);
        answer *to = &work->answers[ref->index];
        *to = (answer){0, OOR_TOMBSTONE};
        if (found < 0) return found;
        if (found != OOR_FOUND) continue;
        int rc = oor_buffer_reserve(&work->arena, value.size);
        if (rc >= 0) {
            *to = (answer){work->arena.size, (uint32_t)value.size};
            if (value.size) memcpy(work->arena.data + work->arena.size, value.data, value.size);
            work->arena.size += value.size;
        }
        oor_cached_release(held);
        if (rc < 0) return rc;
        found_count++;
    }
    return found_count;
}

static int write_answers(const oor_lookups *work, uint32_t count, oor_buffer *out) {
    int rc = oor_buffer_reserve(out, work->arena.size + (size_t)count * OOR_MARSHAL_BYTES_ROOM);
    if (rc < 0) return rc;
    for (uint32_t i = 0; i < count; i++) {
        const answer *from = &work->answers[i];
        if (from->size == OOR_TOMBSTONE) {
            oor_marshal_none(out);
        } else {
            oor_marshal_bytes(out, work->arena.data + from->at, from->size);
        }
    }
    return 0;
}

static int check_keys(uint64_t count, size_t keys_size, const uint32_t *key_sizes) {
    if (count > INT32_MAX)
        return oor_fail(OOR_E_LIMIT, NULL, "%llu keys", (unsigned long long)count);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) sum += key_sizes[i];
    if (sum == keys_size) return 0;
    return oor_fail(OOR_E_LIMIT, NULL, "the sizes add up to %llu bytes, the column holds %zu",
                    (unsigned long long)sum, keys_size);
}

int64_t oor_version_get_many(const oor_version *version, oor_lookups *work, uint64_t count,
                             const uint8_t *keys, size_t keys_size, const uint32_t *key_sizes,
                             oor_buffer *out) {
    int rc = check_keys(count, keys_size, key_sizes);
    if (rc < 0) return rc;
    out->size = 0;
    rc = oor_buffer_reserve(out, OOR_MARSHAL_FRAME_ROOM);
    if (rc < 0) return rc;
    size_t begun = oor_marshal_list_begin(out);
    int64_t total = 0;
    for (uint64_t done = 0; done < count && rc >= 0;) {
        uint32_t part = count - done < BATCH ? (uint32_t)(count - done) : BATCH;
        for (uint32_t i = 0; i < part; i++) {
            work->refs[i] = (oor_key_ref){0, keys, key_sizes[done + i], i};
            keys += key_sizes[done + i];
        }
        oor_sort_keys(work->refs, work->refs + BATCH, part);
        work->arena.size = 0;
        int64_t found = answer_batch(version, work, part);
        rc = found < 0 ? (int)found : write_answers(work, part, out);
        total += found;
        done += part;
    }
    oor_marshal_list_end(out, begun, (size_t)count);
    if (work->arena.capacity > KEPT_MAX) oor_buffer_clear(&work->arena);
    return rc < 0 ? rc : total;
}
