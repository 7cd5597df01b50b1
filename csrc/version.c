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

/* Where a lookup is among the tables that may hold its key, the newest entry first. */
typedef struct {
    uint32_t level; /* the next one */
    uint32_t at, end;
} place;

/* The next table whose range and filter allow the key; NULL: there is none. */
static oor_table *next_table(const oor_version *version, place *from, const uint8_t *key,
                             size_t key_size, uint64_t prefix, uint64_t hash,
                             atomic_uint_least64_t *counters) {
    for (;;) {
        while (from->at == from->end) {
            if (from->level == version->levels) return NULL;
            from->at = version->starts[from->level];
            from->end = version->starts[from->level + 1];
            if (from->level > 0) {
                from->at = oor_version_find(version, from->level, key, key_size, prefix);
                from->end = from->at < from->end ? from->at + 1 : from->at;
            }
            from->level++;
        }
        oor_table *table = version->tables[from->at++];
        if (oor_table_range(table, key, key_size, prefix) == 0 &&
            oor_table_passes(table, hash, counters))
            return table;
    }
}

/* Looks into a block of a table that may hold the key; *held, if there is one already, is that
 * block.  An oor_lookup or an error; a found value lies in *held, the caller's to release. */
static int look_into(oor_table *table, uint32_t block_at, const uint8_t *key, size_t key_size,
                     uint64_t hash, atomic_uint_least64_t *counters, oor_cached **held,
                     oor_value *out) {
    oor_count(counters, COUNT_TOUCHED);
    if (!*held) *held = oor_table_block_counted(table, block_at, counters);
    if (!*held) return oor_last_error()->code;
    int found = oor_cached_find(*held, key, key_size, hash, out);
    if (found == OOR_FOUND) return found;
    oor_cached_release(*held);
    *held = NULL;
    if (found == OOR_ABSENT && table->filter) oor_count(counters, COUNT_VAIN);
    return found;
}

/* Looks a key up from a place on. */
static int look_up(const oor_version *version, place *from, const uint8_t *key, size_t key_size,
                   uint64_t hash, atomic_uint_least64_t *counters, oor_cached **held,
                   oor_value *out) {
    uint64_t prefix = oor_key_prefix(key, key_size);
    oor_table *table;
    int found = OOR_ABSENT;
    while (found == OOR_ABSENT &&
           (table = next_table(version, from, key, key_size, prefix, hash, counters)))
        found = look_into(table, oor_table_find_block(table, key, key_size, prefix), key, key_size,
                          hash, counters, held, out);
    return found;
}

/* ---- one value ------------------------------------------------------------------------------ */

int64_t oor_read(const oor_reader *reader, const char *key, size_t key_size) {
    const oor_version *version = reader->version;
    const uint8_t *bytes = (const uint8_t *)key;
    if (!version->tables[0]) return OOR_READ_ABSENT;
    atomic_uint_least64_t *counters = oor_cache_counters(version->tables[0]->cache);
    oor_count(counters, COUNT_LOOKUPS);
    oor_cached *held = NULL;
    oor_value value;
    place from = {0};
    int found = look_up(version, &from, bytes, key_size, oor_hash(bytes, key_size), counters, &held,
                        &value);
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

/* A lookup under way. */
typedef struct {
    uint64_t hash;
    place place;
    oor_table *table; /* the first that may hold the key; NULL: none */
    uint32_t block_at;
    oor_cached *held; /* the block, if the cache had it */
} lookup;

struct oor_lookups {
    oor_key_ref refs[2 * BATCH];
    lookup lookups[BATCH];
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
static void fetch_filters(const oor_version *version, const oor_key_ref *ref, lookup *to) {
    *to = (lookup){.hash = oor_hash(ref->key, ref->key_size)};
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

static void fetch_block(const oor_version *version, const oor_key_ref *ref, lookup *to,
                        atomic_uint_least64_t *counters) {
    uint64_t prefix = oor_key_prefix(ref->key, ref->key_size);
    to->table =
        next_table(version, &to->place, ref->key, ref->key_size, prefix, to->hash, counters);
    if (!to->table) return;
    to->block_at = oor_table_find_block(to->table, ref->key, ref->key_size, prefix);
    oor_slot_prefetch(&to->table->slots[to->block_at]);
}

static void fetch_entry(lookup *to, atomic_uint_least64_t *counters) {
    if (!to->table) return;
    to->held = oor_slot_acquire(&to->table->slots[to->block_at]);
    if (!to->held) return;
    oor_count(counters, COUNT_HITS);
    oor_cached_visit(to->held);
    oor_cached_prefetch(to->held, to->hash);
}

/* The last step: 1, the value is in the arena; 0, there is none; or an error. */
static int answer_one(const oor_version *version, const oor_key_ref *ref, lookup *from,
                      atomic_uint_least64_t *counters, oor_buffer *arena, answer *to) {
    oor_value value;
    *to = (answer){0, OOR_TOMBSTONE};
    oor_count(counters, COUNT_LOOKUPS);
    if (!from->table) return 0;
    int found = look_into(from->table, from->block_at, ref->key, ref->key_size, from->hash,
                          counters, &from->held, &value);
    if (found == OOR_ABSENT)
        found = look_up(version, &from->place, ref->key, ref->key_size, from->hash, counters,
                        &from->held, &value);
    if (found != OOR_FOUND) return found < 0 ? found : 0;
    int rc = oor_buffer_reserve(arena, value.size);
    if (rc >= 0) {
        *to = (answer){arena->size, (uint32_t)value.size};
        if (value.size) memcpy(arena->data + arena->size, value.data, value.size);
        arena->size += value.size;
    }
    oor_cached_release(from->held);
    from->held = NULL;
    return rc < 0 ? rc : 1;
}

/* Looks the keys of a batch up in key order, so that neighbours meet the same block while it is
 * near. */
static int64_t answer_batch(const oor_version *version, oor_lookups *work, uint32_t count) {
    int64_t found_count = 0;
    atomic_uint_least64_t *counters = oor_cache_counters(version->tables[0]->cache);
    for (uint32_t i = 0; i < count + 3 * AHEAD; i++) {
        if (i < count) fetch_filters(version, &work->refs[i], &work->lookups[i]);
        if (i >= AHEAD && i - AHEAD < count)
            fetch_block(version, &work->refs[i - AHEAD], &work->lookups[i - AHEAD], counters);
        if (i >= 2 * AHEAD && i - 2 * AHEAD < count)
            fetch_entry(&work->lookups[i - 2 * AHEAD], counters);
        if (i < 3 * AHEAD) continue;
        uint32_t at = i - 3 * AHEAD;
        const oor_key_ref *ref = &work->refs[at];
        int rc = answer_one(version, ref, &work->lookups[at], counters, &work->arena,
                            &work->answers[ref->index]);
        if (rc < 0) {
            for (at++; at <= i - 2 * AHEAD && at < count; at++)
                if (work->lookups[at].held) oor_cached_release(work->lookups[at].held);
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
