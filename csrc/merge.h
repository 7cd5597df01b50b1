/* merge.h: a walk over all tables of a version and one run of newer pairs.
 *
 * Ownership: a walk of oor_merge_new owns all that it needs and holds its version.  One that was
 *            begun in memory of the caller's borrows version and bounds until oor_merge_end.
 * Threads:   one caller at a time.
 * Invariants:
 * (1) Each key comes out once, with its newest value, and not at all if that is a tombstone.
 * (2) A walk that failed gives nothing any more. */
#ifndef OOR_MERGE_H
#define OOR_MERGE_H

#include <stddef.h>

#include "cursor.h"
#include "heap.h"
#include "sink.h"
#include "version.h"

/* How many cursors a walk has room for without a call of malloc. */
enum { OOR_MERGE_NEAR = 4 };

/* A walk through what the cache has, OOR_UNREAD_BLOCK where that ends; beside oor_merge_flags. */
enum { OOR_MERGE_INSIDE = 1 << 30 };

/* The newer pairs, as given last. */
typedef struct {
    uint8_t *data; /* keys, then values */
    const uint8_t *key, *value;
    uint32_t *key_sizes, *value_sizes;
    size_t count, at;
    int last;
} oor_window;

struct oor_merge {
    const oor_version *version;
    uint32_t flags;
    oor_cursor *cursors;
    uint32_t cursor_count;
    int failed;
    oor_window newer;
    const uint8_t *bound; /* the end of the walk: stop, or walking down, start; NULL: none */
    size_t bound_size;
    oor_version *held;    /* of oor_merge_new */
    oor_buffer own_bound; /* the same */
    oor_heap heap;
    oor_cursor near[OOR_MERGE_NEAR];
};

/* As oor_merge_new, in memory of the caller's that stays where it is; after an error there is
 * nothing to end. */
int oor_merge_begin(oor_merge *merge, const oor_version *version, const uint8_t *start,
                    size_t start_size, const uint8_t *stop, size_t stop_size, uint32_t flags);
void oor_merge_end(oor_merge *merge);
/* Walks until `pairs` pairs were handed on or it stops: an oor_merge_step or an error. */
int oor_merge_walk(oor_merge *merge, oor_sink *sink, uint32_t pairs);
/* Hands on the pair that the tables stand on and steps over every other entry of its key.  1: a
 * pair, 0: a tombstone; with *ended set, no room for it. */
int oor_merge_take_table(oor_merge *merge, oor_sink *sink, int *ended);
/* All of a walk without newer pairs, as oor_version_scan has it, into a sink: 0, or an error. */
int oor_version_scan_to(const oor_version *version, const char *start, size_t start_size,
                        const char *stop, size_t stop_size, uint32_t flags, uint32_t pairs,
                        uint32_t group, oor_sink *sink);
/* Whether a key lies behind the end of the walk. */
int oor_merge_is_past(const oor_merge *merge, const uint8_t *key, size_t key_size);

#endif
