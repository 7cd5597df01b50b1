/* version.h: an immutable set of tables, in the order in which they are asked.
 *
 * Ownership: a version holds its tables; it counts its holders (merges, the caller of
 *            oor_version_new).
 * Threads:   safe for all callers at once; it never changes.
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

#endif
