/* version.c: looks keys up through all tables of a version, the newest entry first.
 *
 * keys of get_many := list of bytes, answer := list of (bytes | None), as in marshal.h.  Nothing
 * here is written to disk. */
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

/* Finds the next table whose range and filter allow the key, and the block; 0: there is none. */
static int next_table(const oor_version *version, oor_search *search, const uint8_t *key,
                      size_t key_size, atomic_uint_least64_t *counters) {
    uint64_t prefix = oor_key_prefix(key, key_size);
    for (;;) {
        while (search->at == search->end) {
            if (search->level == version->levels) return 0;
            search->at = version->starts[search->level];
            search->end = version->starts[search->level + 1];
            if (search->level > 0) {
                search->at = oor_version_find(version, search->level, key, key_size, prefix);
                search->end = search->at < search->end ? search->at + 1 : search->at;
            }
            search->level++;
        }
        oor_table *table = version->tables[search->at++];
        if (oor_table_range(table, key, key_size, prefix) != 0 ||
            !oor_table_passes(table, search->hash, counters))
            continue;
        search->table = table;
        search->block_at = oor_table_find_block(table, key, key_size, prefix);
        return 1;
    }
}

int oor_version_search(const oor_version *version, oor_search *search, const uint8_t *key,
                       size_t key_size, int may_read, oor_value *out) {
    if (!version->tables[0]) return OOR_ABSENT;
    atomic_uint_least64_t *counters = oor_version_counters(version);
    for (;;) {
        if (!search->table && !next_table(version, search, key, key_size, counters))
            return OOR_ABSENT;
        oor_table *table = search->table;
        if (!search->held)
            search->held = may_read ? oor_table_block_counted(table, search->block_at, counters)
                                    : oor_table_block_cached(table, search->block_at, counters);
        if (!search->held) return may_read ? oor_last_error()->code : OOR_UNREAD;
        oor_count(counters, COUNT_TOUCHED);
        int found = oor_cached_find(search->held, key, key_size, search->hash, out);
        if (found == OOR_FOUND) return found;
        oor_cached_release(search->held);
        search->held = NULL;
        search->table = NULL;
        if (found != OOR_ABSENT) return found;
        if (table->filter) oor_count(counters, COUNT_VAIN);
    }
}

/* ---- one value ------------------------------------------------------------------------------ */

int64_t oor_read(const oor_reader *reader, const char *key, size_t key_size) {
    const oor_version *version = reader->version;
    const uint8_t *bytes = (const uint8_t *)key;
    if (version->tables[0]) oor_count(oor_version_counters(version), COUNT_LOOKUPS);
    oor_search search = {.hash = oor_hash(bytes, key_size)};
    oor_value value;
    int found = oor_version_search(version, &search, bytes, key_size, 1, &value);
    if (found != OOR_FOUND)
        return found == OOR_ABSENT    ? OOR_READ_ABSENT
               : found == OOR_DELETED ? OOR_READ_DELETED
                                      : OOR_READ_FAILED + found;
    int fits = value.size <= reader->capacity;
    if (fits && value.size) memcpy(reader->room, value.data, value.size);
    oor_cached_release(search.held);
    return fits ? (int64_t)value.size : OOR_READ_LARGE - (int64_t)value.size;
}

/* ---- many values ---------------------------------------------------------------------------- */

/* What was found for one key: its value in the arena, or none. */
typedef struct {
    size_t at;
    uint32_t size; /* OOR_TOMBSTONE: none */
} answer;

struct oor_lookups {
    oor_key_ref refs[2 * BATCH];
    oor_search searches[BATCH];
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

/* A lookup misses the processor's cache at four places, one after the other.  So the keys of a
 * batch take its steps side by side, each some keys behind the one before: the filter's line, the
 * block's head, the entry, the answer. */
static void fetch_filters(const oor_version *version, const oor_key_ref *ref, oor_search *to) {
    *to = (oor_search){.hash = oor_hash(ref->key, ref->key_size)};
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

static void fetch_block(const oor_version *version, const oor_key_ref *ref, oor_search *to,
                        atomic_uint_least64_t *counters) {
    if (next_table(version, to, ref->key, ref->key_size, counters))
        oor_slot_prefetch(&to->table->slots[to->block_at]);
}

static void fetch_entry(oor_search *to, atomic_uint_least64_t *counters) {
    if (!to->table) return;
    to->held = oor_table_block_cached(to->table, to->block_at, counters);
    if (to->held) oor_cached_prefetch(to->held, to->hash);
}

/* The last step: 1, the value is in the arena; 0, there is none; or an error. */
static int answer_one(const oor_version *version, const oor_key_ref *ref, oor_search *search,
                      oor_buffer *arena, answer *to) {
    oor_value value;
    *to = (answer){0, OOR_TOMBSTONE};
    int found = oor_version_search(version, search, ref->key, ref->key_size, 1, &value);
    if (found != OOR_FOUND) return found < 0 ? found : 0;
    int rc = oor_buffer_reserve(arena, value.size);
    if (rc >= 0) {
        *to = (answer){arena->size, (uint32_t)value.size};
        if (value.size) memcpy(arena->data + arena->size, value.data, value.size);
        arena->size += value.size;
    }
    oor_cached_release(search->held);
    search->held = NULL;
    return rc < 0 ? rc : 1;
}

/* Looks the keys of a batch up in key order, so that neighbours meet the same block while it is
 * near. */
static int64_t answer_batch(const oor_version *version, oor_lookups *work, uint32_t count) {
    int64_t found_count = 0;
    atomic_uint_least64_t *counters = oor_version_counters(version);
    for (uint32_t i = 0; i < count + 3 * AHEAD; i++) {
        if (i < count) fetch_filters(version, &work->refs[i], &work->searches[i]);
        if (i >= AHEAD && i - AHEAD < count)
            fetch_block(version, &work->refs[i - AHEAD], &work->searches[i - AHEAD], counters);
        if (i >= 2 * AHEAD && i - 2 * AHEAD < count)
            fetch_entry(&work->searches[i - 2 * AHEAD], counters);
        if (i < 3 * AHEAD) continue;
        uint32_t at = i - 3 * AHEAD;
        const oor_key_ref *ref = &work->refs[at];
        oor_count(counters, COUNT_LOOKUPS);
        int rc =
            answer_one(version, ref, &work->searches[at], &work->arena, &work->answers[ref->index]);
        if (rc < 0) {
            for (at++; at <= i - 2 * AHEAD && at < count; at++)
                if (work->searches[at].held) oor_cached_release(work->searches[at].held);
            return rc;
        }
        found_count += rc;
    }
    return found_count;
}

static void answer_none(oor_lookups *work, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) work->answers[i] = (answer){0, OOR_TOMBSTONE};
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

/* Takes up to BATCH keys out of a marshalled list, from *p on: how many, or OOR_E_LIMIT. */
static int take_keys(oor_key_ref *refs, uint64_t count, const uint8_t **p, const uint8_t *end) {
    uint32_t part = count < BATCH ? (uint32_t)count : BATCH;
    for (uint32_t i = 0; i < part; i++) {
        uint32_t size;
        const uint8_t *key = oor_marshal_bytes_read(*p, end, &size);
        if (!key) return oor_fail(OOR_E_LIMIT, NULL, "a key that is not bytes");
        refs[i] = (oor_key_ref){0, key, size, i};
        *p = key + size;
    }
    return (int)part;
}

int64_t oor_version_get_many(const oor_version *version, oor_lookups *work, const char *keys,
                             size_t keys_size, oor_buffer *out) {
    uint32_t count;
    const uint8_t *end = (const uint8_t *)keys + keys_size;
    const uint8_t *p = oor_marshal_list_read((const uint8_t *)keys, end, &count);
    if (!p) return oor_fail(OOR_E_LIMIT, NULL, "keys that are no list");
    out->size = 0;
    int rc = oor_buffer_reserve(out, OOR_MARSHAL_FRAME_ROOM);
    if (rc < 0) return rc;
    size_t begun = oor_marshal_list_begin(out);
    int64_t total = 0;
    for (uint64_t done = 0; done < count && rc >= 0; done += (uint64_t)rc) {
        rc = take_keys(work->refs, count - done, &p, end);
        if (rc < 0) break;
        uint32_t part = (uint32_t)rc;
        work->arena.size = 0;
        int64_t found = 0;
        if (version->tables[0]) {
            oor_sort_keys(work->refs, work->refs + BATCH, part);
            found = answer_batch(version, work, part);
        } else {
            answer_none(work, part);
        }
        total += found;
        rc = found < 0 ? (int)found : write_answers(work, part, out);
        if (rc >= 0) rc = (int)part;
    }
    if (rc >= 0 && p != end) rc = oor_fail(OOR_E_LIMIT, NULL, "bytes behind a list of keys");
    oor_marshal_list_end(out, begun, (size_t)count);
    if (work->arena.capacity > KEPT_MAX) oor_buffer_clear(&work->arena);
    return rc < 0 ? rc : total;
}
