/* sort.h: puts references to keys into key order.
 *
 * Ownership: the caller's arrays; key bytes are only read.
 * Threads:   pure functions.
 * Invariants:
 * (1) `prefix` of a reference is oor_key_prefix of its key behind `common` bytes that all keys
 *     share. */
#ifndef OOR_SORT_H
#define OOR_SORT_H

#include "core.h"

typedef struct {
    uint64_t prefix;
    const uint8_t *key;
    uint32_t key_size;
    uint32_t index; /* the caller's */
} oor_key_ref;

/* Sorts `refs` by key, with `spare` of the same length to work in; prefixes are made here. */
void oor_sort_keys(oor_key_ref *refs, oor_key_ref *spare, size_t count);

#endif
