/* cache.c: which blocks stay in memory.  Nothing here is written to disk.
 *
 * A large cache is in shards, each with a lock and an equal share of the budget.  A shard has two
 * queues, first in first out.  A new block enters probation; when room is needed, the oldest
 * block of probation that was found again meanwhile moves to main, one that was not goes.  While
 * probation is under a tenth of the budget, the oldest of main goes instead, or to the end of main
 * if it was found since.  So a walk over everything passes through probation and leaves main as it
 * was.
 *
 * Hits take no lock: a slot packs a block's address and the count of its holders into one word.
 * Who lets go lowers the slot's count while the block is still in it; after an eviction, which
 * moves that count into the block, it lowers the block's own.  Whoever brings that to 0 frees the
 * block. */
#include "cache.h"

#include <pthread.h>
#include <stdlib.h>

#include "filter.h"

enum { QUEUE_NONE = 0, QUEUE_PROBATION = 1, QUEUE_MAIN = 2, QUEUES = 3, STRIPES = 8, SHARDS = 4 };

/* A share of a smaller cache would be no cache. */
enum { SHARDED_FROM = 16 << 20 };

typedef struct {
    oor_cached *oldest, *newest;
    uint64_t bytes;
} queue;

typedef struct {
    _Alignas(64) atomic_uint_least64_t values[COUNTERS];
} stripe;

/* A part of the slots, with its share of the budget. */
typedef struct {
    _Alignas(64) pthread_mutex_t lock; /* of the queues and of each slot's turn, empty or full */
    queue queues[QUEUES];
} shard;

struct oor_cache {
    stripe stripes[STRIPES];
    atomic_uint_least64_t capacity, used, pinned, evictions;
    atomic_uint_least32_t holders;
    oor_arena *arena;
    uint32_t shard_count;
    shard shards[SHARDS];
};

static inline uint64_t relaxed(const atomic_uint_least64_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

oor_cache *oor_cache_new(uint64_t capacity) {
    size_t size = (size_t)oor_round_up(sizeof(oor_cache), 64);
    oor_cache *cache = aligned_alloc(64, size);
    if (!cache) {
        oor_fail(OOR_E_MEMORY, NULL, "no memory for a block cache");
        return NULL;
    }
    memset(cache, 0, size);
    cache->arena = oor_arena_new();
    if (!cache->arena) {
        free(cache);
        return NULL;
    }
    cache->shard_count = capacity >= SHARDED_FROM ? SHARDS : 1;
    for (int i = 0; i < SHARDS; i++) pthread_mutex_init(&cache->shards[i].lock, NULL);
    atomic_init(&cache->capacity, capacity);
    atomic_init(&cache->holders, 1);
    return cache;
}

void oor_cache_hold(oor_cache *cache) { atomic_fetch_add(&cache->holders, 1); }

void oor_cache_free(oor_cache *cache) {
    if (!cache || atomic_fetch_sub(&cache->holders, 1) != 1) return;
    for (int i = 0; i < SHARDS; i++) {
        const queue *queues = cache->shards[i].queues;
        assert(!queues[QUEUE_PROBATION].oldest && !queues[QUEUE_MAIN].oldest);
        pthread_mutex_destroy(&cache->shards[i].lock);
    }
    oor_arena_free(cache->arena);
    free(cache);
}

atomic_uint_least64_t *oor_cache_counters(oor_cache *cache) {
    static atomic_uint next_stripe;
    static _Thread_local unsigned own_stripe; /* + 1; 0: none yet */
    unsigned own = own_stripe;
    if (!own)
        own = own_stripe =
            atomic_fetch_add_explicit(&next_stripe, 1, memory_order_relaxed) % STRIPES + 1;
    return cache->stripes[own - 1].values;
}

void oor_cache_read_stats(oor_cache *cache, oor_cache_stats *out) {
    uint64_t sums[COUNTERS] = {0};
    for (int s = 0; s < STRIPES; s++)
        for (int c = 0; c < COUNTERS; c++) sums[c] += relaxed(&cache->stripes[s].values[c]);
    *out = (oor_cache_stats){.capacity = relaxed(&cache->capacity),
                             .used = relaxed(&cache->used),
                             .pinned = relaxed(&cache->pinned),
                             .evictions = relaxed(&cache->evictions),
                             .hits = sums[COUNT_HITS],
                             .misses = sums[COUNT_MISSES],
                             .filter_checks = sums[COUNT_CHECKS],
                             .filter_skips = sums[COUNT_SKIPS],
                             .filter_misses = sums[COUNT_VAIN],
                             .lookups = sums[COUNT_LOOKUPS],
                             .tables_touched = sums[COUNT_TOUCHED]};
}

/* Fills the tags; 0, or OOR_E_MEMORY for the whole form of a long key. */
static int make_tags(const oor_block *block, uint8_t *tags) {
    uint8_t near[512], *far = NULL;
    int rc = 0;
    for (uint32_t i = 0; i < block->count && rc >= 0; i++) {
        oor_entry entry;
        oor_block_entry(block, i, &entry);
        uint32_t key_size = oor_entry_key_size(&entry);
        if (key_size > sizeof near && !far) far = malloc(OOR_KEY_SIZE_MAX);
        uint8_t *key = key_size > sizeof near ? far : near;
        if (!key) {
            rc = oor_fail(OOR_E_MEMORY, NULL, "no memory for a key of %u bytes", key_size);
            break;
        }
        oor_entry_key(&entry, key);
        tags[i] = oor_tag(oor_hash(key, key_size));
    }
    free(far);
    return rc;
}

static shard *shard_of(oor_cache *cache, const oor_slot *slot) {
    return &cache->shards[(uintptr_t)slot / sizeof *slot % cache->shard_count];
}

uint8_t *oor_cache_take(oor_cache *cache, size_t size) {
    return oor_arena_take(cache->arena, size);
}

void oor_cache_give(oor_cache *cache, uint8_t *memory, size_t size) {
    if (memory) oor_arena_give(cache->arena, memory, size);
}

oor_cached *oor_cached_new(oor_cache *cache, const oor_place *place, uint8_t *payload, size_t size,
                           size_t taken) {
    assert(size <= taken);
    int64_t found = oor_block_count(place, payload, size);
    if (found < 0) return NULL;
    uint32_t count = (uint32_t)found;
    size_t tags_size = (size_t)oor_round_up(count, 8);
    size_t offsets_size = (size_t)count * sizeof(uint16_t);
    size_t head_size = (size_t)oor_round_up(sizeof(oor_cached) + tags_size + offsets_size, 64);
    oor_cached *cached = oor_arena_take(cache->arena, head_size);
    if (!cached) return NULL;
    memset(cached, 0, head_size);
    uint8_t *tags = (uint8_t *)(cached + 1);
    uint16_t *offsets = (uint16_t *)(void *)(tags + tags_size);
    int rc = oor_block_view(place, payload, size, count, offsets, &cached->block);
    if (rc >= 0) rc = make_tags(&cached->block, tags);
    if (rc < 0) {
        oor_arena_give(cache->arena, cached, head_size);
        return NULL;
    }
    cached->tags = tags;
    cached->arena = cache->arena;
    cached->head_size = (uint32_t)head_size;
    cached->taken = taken;
    cached->size = oor_arena_cost(head_size) + oor_arena_cost(taken);
    atomic_init(&cached->holders, 1);
    return cached;
}

static void free_cached(oor_cached *cached) {
    oor_arena *arena = cached->arena;
    oor_arena_give(arena, (uint8_t *)(uintptr_t)cached->block.data, cached->taken);
    oor_arena_give(arena, cached, cached->head_size);
}

void oor_cached_release(oor_cached *cached) {
    if (cached->slot) {
        uint64_t seen = atomic_load_explicit(cached->slot, memory_order_relaxed);
        while ((seen & OOR_SLOT_ADDRESS) == (uint64_t)(uintptr_t)cached &&
               seen >= OOR_SLOT_ONE_HOLDER) {
            if (atomic_compare_exchange_weak_explicit(cached->slot, &seen,
                                                      seen - OOR_SLOT_ONE_HOLDER,
                                                      memory_order_release, memory_order_relaxed))
                return;
        }
    }
    if (atomic_fetch_sub(&cached->holders, 1) == 1) free_cached(cached);
}

static void queue_push(shard *part, oor_cached *cached, uint8_t which) {
    queue *to = &part->queues[which];
    cached->queue = which;
    cached->next = NULL;
    cached->previous = to->newest;
    if (to->newest) {
        to->newest->next = cached;
    } else {
        to->oldest = cached;
    }
    to->newest = cached;
    to->bytes += cached->size;
}

static void queue_remove(shard *part, oor_cached *cached) {
    queue *from = &part->queues[cached->queue];
    if (cached->previous) {
        cached->previous->next = cached->next;
    } else {
        from->oldest = cached->next;
    }
    if (cached->next) {
        cached->next->previous = cached->previous;
    } else {
        from->newest = cached->previous;
    }
    from->bytes -= cached->size;
    cached->queue = QUEUE_NONE;
}

/* REQUIRES: the lock is held and the block is in a queue. */
static void evict(oor_cache *cache, shard *part, oor_cached *cached) {
    queue_remove(part, cached);
    atomic_fetch_sub_explicit(&cache->used, cached->size, memory_order_relaxed);
    uint64_t seen = atomic_exchange(cached->slot, 0);
    assert((seen & OOR_SLOT_ADDRESS) == (uint64_t)(uintptr_t)cached);
    int32_t moved = (int32_t)(seen >> OOR_SLOT_COUNT_SHIFT);
    if (atomic_fetch_add(&cached->holders, moved) + moved == 0) free_cached(cached);
}

/* Makes room for `size` bytes; 0 when even an empty shard has none.  REQUIRES: the lock is held. */
static int make_room(oor_cache *cache, shard *part, uint64_t size) {
    uint64_t capacity = relaxed(&cache->capacity), pinned = relaxed(&cache->pinned);
    uint64_t budget = (capacity > pinned ? capacity - pinned : 0) / cache->shard_count;
    queue *probation = &part->queues[QUEUE_PROBATION], *main_queue = &part->queues[QUEUE_MAIN];
    while (probation->bytes + main_queue->bytes + size > budget) {
        int from_probation =
            probation->oldest && (probation->bytes > budget / 10 || !main_queue->oldest);
        oor_cached *oldest = from_probation ? probation->oldest : main_queue->oldest;
        if (!oldest) return 0;
        /* Each move to main's end clears a mark, so a turn without an eviction is finite. */
        if (atomic_exchange_explicit(&oldest->visited, 0, memory_order_relaxed)) {
            queue_remove(part, oldest);
            queue_push(part, oldest, QUEUE_MAIN);
            continue;
        }
        evict(cache, part, oldest);
        atomic_fetch_add_explicit(&cache->evictions, 1, memory_order_relaxed);
    }
    return 1;
}

void oor_cache_insert(oor_cache *cache, oor_slot *slot, oor_cached *cached) {
    uint64_t address = (uint64_t)(uintptr_t)cached;
    if (address & ~OOR_SLOT_ADDRESS)
        return; /* an address wider than a slot: the block is not kept */
    shard *part = shard_of(cache, slot);
    pthread_mutex_lock(&part->lock);
    /* A block that could push out everything else is no use to anyone. */
    uint64_t share = relaxed(&cache->capacity) / cache->shard_count;
    if (!relaxed(slot) && cached->size <= share / 2 && make_room(cache, part, cached->size)) {
        cached->slot = slot;
        queue_push(part, cached, QUEUE_PROBATION);
        atomic_fetch_add_explicit(&cache->used, cached->size, memory_order_relaxed);
        /* The caller's hold goes into the slot's count, the block's own starts at 0. */
        atomic_store_explicit(&cached->holders, 0, memory_order_relaxed);
        atomic_store_explicit(slot, address | OOR_SLOT_ONE_HOLDER, memory_order_release);
    }
    pthread_mutex_unlock(&part->lock);
}

static int broken(const char *what) { return oor_fail(OOR_E_BROKEN, NULL, "cache: %s", what); }

/* One queue: linked both ways, its blocks in the slots that they name, its bytes the sum. */
static int check_queue(const shard *part, uint8_t which, uint64_t *bytes) {
    const queue *found = &part->queues[which];
    const oor_cached *before = NULL;
    uint64_t sum = 0;
    for (const oor_cached *at = found->oldest; at; before = at, at = at->next) {
        if (at->previous != before || at->queue != which) return broken("a queue with a bad link");
        if (!at->slot || (relaxed(at->slot) & OOR_SLOT_ADDRESS) != (uint64_t)(uintptr_t)at)
            return broken("a block in a queue and not in its slot");
        sum += at->size;
    }
    if (found->newest != before) return broken("a queue that does not end at its newest block");
    if (found->bytes != sum) return broken("a queue whose bytes are not those of its blocks");
    *bytes += sum;
    return 0;
}

int oor_cache_check(oor_cache *cache) {
    uint64_t bytes = 0;
    int rc = 0;
    /* All locks, in order: nobody else takes more than one. */
    for (int i = 0; i < SHARDS; i++) pthread_mutex_lock(&cache->shards[i].lock);
    for (int i = 0; i < SHARDS && rc >= 0; i++) {
        rc = check_queue(&cache->shards[i], QUEUE_PROBATION, &bytes);
        if (rc >= 0) rc = check_queue(&cache->shards[i], QUEUE_MAIN, &bytes);
    }
    uint64_t used = relaxed(&cache->used), pinned = relaxed(&cache->pinned);
    if (rc >= 0 && used != bytes) rc = broken("used bytes that are not those of the queues");
    if (rc >= 0 && used > 0 && used + pinned > relaxed(&cache->capacity))
        rc = broken("more bytes than its capacity");
    for (int i = 0; i < SHARDS; i++) pthread_mutex_unlock(&cache->shards[i].lock);
    return rc;
}

int oor_cache_has_room(oor_cache *cache, uint64_t size) {
    return relaxed(&cache->used) + relaxed(&cache->pinned) + size * cache->shard_count <=
           relaxed(&cache->capacity);
}

void oor_cache_drop(oor_cache *cache, oor_slot *slots, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (!relaxed(&slots[i])) continue;
        shard *part = shard_of(cache, &slots[i]);
        pthread_mutex_lock(&part->lock);
        uint64_t seen = relaxed(&slots[i]);
        if (seen) evict(cache, part, (oor_cached *)(uintptr_t)(seen & OOR_SLOT_ADDRESS));
        pthread_mutex_unlock(&part->lock);
    }
}

void oor_cache_pin(oor_cache *cache, int64_t bytes) {
    atomic_fetch_add_explicit(&cache->pinned, (uint64_t)bytes, memory_order_relaxed);
    for (uint32_t i = 0; i < cache->shard_count; i++) {
        pthread_mutex_lock(&cache->shards[i].lock);
        make_room(cache, &cache->shards[i], 0);
        pthread_mutex_unlock(&cache->shards[i].lock);
    }
}
