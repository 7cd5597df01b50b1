/* cache.h: blocks in memory within a budget of bytes.
 *
 * Ownership: a cached block belongs to its holders and to the slot it is in; the last to let go
 *            frees it. Slots belong to tables.  A cache counts its tables and outlives the last of
 *            them.
 * Threads:   acquire and release touch only the slot and the block, without a lock; insert and drop
 *            take the cache's lock.
 * Invariants:
 * (1) used + pinned <= capacity after every insert, unless pinned alone is above it (then used is
 *     0). Blocks that were evicted while a reader held them are not counted; each reader holds one.
 * (2) A slot is 0, or 48 bits of a block's address with 16 bits of how many holders came through
 *     it.
 * (3) Only the lock of a slot's shard turns it from empty to full and back. */
#ifndef OOR_CACHE_H
#define OOR_CACHE_H

#include <stdatomic.h>

#include "arena.h"
#include "block.h"
#include "filter.h"

typedef atomic_uint_least64_t oor_slot;

typedef struct oor_cached {
    oor_block block;
    const uint8_t *tags;                /* one byte of each key's hash, padded to 8 */
    oor_slot *slot;                     /* where it was put; NULL: never cached */
    struct oor_cached *next, *previous; /* in its queue */
    atomic_int_least32_t holders;       /* those that the slot no longer counts */
    atomic_uchar visited;               /* found since it was put or since the hand last passed */
    uint8_t queue;                      /* 0 none, 1 probation, 2 main */
    uint32_t head_size;                 /* of this struct with what lies behind it */
    size_t taken;                       /* for the payload */
    size_t size;                        /* what both cost */
    oor_arena *arena;                   /* that both are from */
} oor_cached;

#define OOR_SLOT_COUNT_SHIFT 48
#define OOR_SLOT_ONE_HOLDER ((uint64_t)1 << OOR_SLOT_COUNT_SHIFT)
#define OOR_SLOT_ADDRESS (OOR_SLOT_ONE_HOLDER - 1)

/* Memory for a payload; what is not given to a block is given back.  NULL: an error is set. */
uint8_t *oor_cache_take(oor_cache *cache, size_t size);
void oor_cache_give(oor_cache *cache, uint8_t *memory, size_t size);
/* A block around a verified payload of `size` bytes, checked and indexed, held by the caller.  The
 * payload, from oor_cache_take with `taken`, is the block's from then on; NULL: an error is set, it
 * is still the caller's. */
oor_cached *oor_cached_new(oor_cache *cache, const oor_place *place, uint8_t *payload, size_t size,
                           size_t taken);

/* The block in a slot, held for the caller; NULL: none, or more holders than a slot can count. */
static inline oor_cached *oor_slot_acquire(oor_slot *slot) {
    uint64_t seen = atomic_load_explicit(slot, memory_order_relaxed);
    do {
        if (seen == 0 || seen >> OOR_SLOT_COUNT_SHIFT == 0xFFFF) return NULL;
    } while (!atomic_compare_exchange_weak_explicit(slot, &seen, seen + OOR_SLOT_ONE_HOLDER,
                                                    memory_order_acquire, memory_order_relaxed));
    return (oor_cached *)(uintptr_t)(seen & OOR_SLOT_ADDRESS);
}

/* A compiler takes a function that only fetches ahead for one without an effect, and drops its
 * calls. */
#define OOR_FETCHES static inline __attribute__((always_inline))

/* Fetches the head of whatever block is in a slot.  An address alone is not looked through: no
 * hold. */
OOR_FETCHES void oor_slot_prefetch(oor_slot *slot) {
    uint64_t seen = atomic_load_explicit(slot, memory_order_relaxed) & OOR_SLOT_ADDRESS;
    for (uint64_t line = 0; line < 4; line++)
        __builtin_prefetch((const void *)(uintptr_t)(seen + line * 64));
}

/* The entries of a block whose tag is that of a hash: 0x80 in each byte of the result that stands
 * for one of the eight entries from `at` on.  A byte above a match may be marked in vain, none is
 * missed. */
static inline uint64_t oor_tag_marks(const oor_cached *cached, uint32_t at, uint64_t hash) {
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t differ = oor_load64(cached->tags + at) ^ ones * oor_tag(hash);
    return (differ - ones) & ~differ & highs;
}

/* Fetches an entry, most of a usual value with it, and the restart that it hangs on. */
OOR_FETCHES void oor_entry_prefetch(const oor_block *block, uint32_t at) {
    const uint8_t *entry = block->data + block->offsets[at];
    __builtin_prefetch(entry);
    __builtin_prefetch(entry + 64);
    __builtin_prefetch(entry + 128);
    __builtin_prefetch(block->data + block->offsets[at - at % block->interval]);
}

/* Fetches the first entry that may be the one of a hash. */
OOR_FETCHES void oor_cached_prefetch(const oor_cached *cached, uint64_t hash) {
    for (uint32_t at = 0; at < cached->block.count; at += 8) {
        uint64_t marks = oor_tag_marks(cached, at, hash);
        uint32_t candidate =
            marks ? at + (uint32_t)__builtin_ctzll(marks) / 8 : cached->block.count;
        if (candidate >= cached->block.count) continue;
        oor_entry_prefetch(&cached->block, candidate);
        return;
    }
}

static inline void oor_cached_visit(oor_cached *cached) {
    if (!atomic_load_explicit(&cached->visited, memory_order_relaxed))
        atomic_store_explicit(&cached->visited, 1, memory_order_relaxed);
}

void oor_cached_release(oor_cached *cached);

enum oor_cache_counter {
    COUNT_HITS,
    COUNT_MISSES,
    COUNT_CHECKS,
    COUNT_SKIPS,
    COUNT_VAIN,
    COUNT_LOOKUPS,
    COUNT_TOUCHED,
    COUNTERS
};

/* The counters that the calling thread adds to; threads that share them may lose a count to each
 * other. */
atomic_uint_least64_t *oor_cache_counters(oor_cache *cache);

static inline void oor_count(atomic_uint_least64_t *counters, enum oor_cache_counter which) {
    uint64_t value = atomic_load_explicit(&counters[which], memory_order_relaxed);
    atomic_store_explicit(&counters[which], value + 1, memory_order_relaxed);
}

void oor_cache_hold(oor_cache *cache);
/* Offers a fresh block, which the caller keeps holding, to a slot.  It stays out when the slot is
 * taken or when even an empty cache has no room for it. */
void oor_cache_insert(oor_cache *cache, oor_slot *slot, oor_cached *cached);
/* Whether `size` more bytes would go in without an eviction. */
int oor_cache_has_room(oor_cache *cache, uint64_t size);
/* Empties the slots of a table that goes. */
void oor_cache_drop(oor_cache *cache, oor_slot *slots, uint32_t count);
/* Accounts pinned bytes (negative: gives them back) and evicts what no longer fits. */
void oor_cache_pin(oor_cache *cache, int64_t bytes);

#endif
