/* version.h: an immutable set of tables, in the order in which they are asked.
 *
 * Ownership: a version holds its tables; it counts its holders (merges, the caller of
 *            oor_version_new).
 *            A lookup that found a value holds its block, the caller's to release.
 * Threads:   safe for all callers at once; it never changes.  A lookup has one caller.
 * Invariants:
 * (1) Level 0 is newest first; each deeper level is in key order and its tables do not overlap. */
#ifndef OOR_VERSION_H
#define OOR_VERSION_H

#include "table.h"

struct oor_version {
    oor_table **tables; /* all levels, one behind the other */
    uint64_t *largest;  /* key prefix of each table's largest key */
    uint32_t *starts;   /* of each level in `tables`; levels + 1 of them */
    uint32_t levels;
    atomic_uint_least32_t holders;
};

void oor_version_hold(oor_version *version);
/* The first table of a deeper level whose largest key is at or above `key`; the level's end if
 * none. */
uint32_t oor_version_find(const oor_version *version, uint32_t level, const uint8_t *key,
                          size_t key_size, uint64_t prefix);

/* A lookup under way: where it is among the tables that may hold its key, the newest entry first.
 * Begun as {.hash = oor_hash(key)}. */
typedef struct {
    uint64_t hash;
    uint32_t level; /* the next one */
    uint32_t at, end;
    uint32_t block_at;
    oor_table *table; /* the one that may hold the key in block_at; NULL: the next is to be found */
    oor_cached *held; /* that block; NULL: it was not asked for yet */
} oor_search;

/* Goes on with a lookup: an oor_lookup or an error; with OOR_FOUND the value lies in search->held.
 * Without `may_read` it stops where the cache lacks a block, OOR_UNREAD, to go on from there. */
int oor_version_search(const oor_version *version, oor_search *search, const uint8_t *key,
                       size_t key_size, int may_read, oor_value *out);
/* The counters of the version's cache.  REQUIRES: it has a table. */
static inline atomic_uint_least64_t *oor_version_counters(const oor_version *version) {
    return oor_cache_counters(version->tables[0]->cache);
}

#endif
