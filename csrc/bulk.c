/* bulk.c: the pairs of a memtable that came as columns, without an object for each.
 *
 * bulk    := chunk* entries slots
 * chunk   := (keys values | op*)*   copies of batches, and of frames of the log (frame.c); they
 *                                   stay where they are
 * entries := oor_bulk_entry*        one a key, with its newest value, in the order of arrival
 * slots   := u64*                   a power of two of them, at most half taken, open addressing:
 *                                   hash:u32 place:u32, place counted from 1; 0: free
 *
 * The slot of a key follows from the same 32 bits of its hash that stand in it, so the table grows
 * without a look at the keys.  In memory only. */
#include "bulk.h"

#include <pthread.h>
#include <stdlib.h>

#include "filter.h"
#include "memory.h"
#include "marshal.h"

enum { SLOTS_MIN = 1 << 13, AHEAD = 32, CHUNK_MIN = 2 * OOR_MEMORY_HUGE };

typedef struct chunk {
    struct chunk *next;
    size_t size; /* of all of it */
    size_t used; /* of data */
    uint8_t data[];
} chunk;

struct oor_bulk {
    pthread_mutex_t lock;
    chunk *chunks; /* the newest first */
    size_t bytes;  /* of all batches */
    oor_bulk_entry *entries;
    uint64_t *slots;
    size_t count;
    size_t capacity;
    size_t slot_count;
};

oor_bulk *oor_bulk_new(void) {
    oor_bulk *bulk = calloc(1, sizeof *bulk);
    if (bulk && pthread_mutex_init(&bulk->lock, NULL) == 0) return bulk;
    free(bulk);
    oor_fail(OOR_E_MEMORY, NULL, "no memory for a memtable's columns");
    return NULL;
}

void oor_bulk_free(oor_bulk *bulk) {
    if (!bulk) return;
    for (chunk *next, *at = bulk->chunks; at; at = next) {
        next = at->next;
        oor_memory_give(at, at->size);
    }
    oor_memory_give(bulk->entries, bulk->capacity * sizeof *bulk->entries);
    oor_memory_give(bulk->slots, bulk->slot_count * sizeof *bulk->slots);
    pthread_mutex_destroy(&bulk->lock);
    free(bulk);
}

static uint32_t hash_of(const uint8_t *key, size_t size) {
    return (uint32_t)(oor_hash(key, size) >> 32);
}

/* The slot that has the key, or the free one where it belongs. */
static uint64_t *slot_of(const oor_bulk *bulk, uint32_t hash, const uint8_t *key, size_t size) {
    size_t mask = bulk->slot_count - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        uint64_t *slot = &bulk->slots[at];
        if (*slot == 0) return slot;
        if (*slot >> 32 != hash) continue;
        const oor_bulk_entry *entry = &bulk->entries[(uint32_t)*slot - 1];
        if (entry->key_size == size && memcmp(entry->key, key, size) == 0) return slot;
    }
}

static int reserve_slots(oor_bulk *bulk, size_t count) {
    size_t slots = bulk->slot_count ? bulk->slot_count : SLOTS_MIN;
    while (slots / 2 < count) slots *= 2;
    if (slots == bulk->slot_count) return 0;
    size_t size = slots * sizeof(uint64_t);
    uint64_t *larger = size < OOR_MEMORY_HUGE ? oor_memory_take(size) : oor_memory_take_huge(size);
    if (!larger) return oor_fail(OOR_E_MEMORY, NULL, "no memory for %zu slots", slots);
    if (size < OOR_MEMORY_PAGES) memset(larger, 0, size);
    for (size_t i = 0; i < bulk->slot_count; i++) {
        if (bulk->slots[i] == 0) continue;
        size_t at = bulk->slots[i] >> 32 & (slots - 1);
        while (larger[at]) at = (at + 1) & (slots - 1);
        larger[at] = bulk->slots[i];
    }
    oor_memory_give(bulk->slots, bulk->slot_count * sizeof *bulk->slots);
    bulk->slots = larger;
    bulk->slot_count = slots;
    return 0;
}

static int reserve(oor_bulk *bulk, uint64_t more) {
    if (more > INT32_MAX - bulk->count)
        return oor_fail(OOR_E_LIMIT, NULL, "a memtable takes %d pairs at most", INT32_MAX);
    size_t count = bulk->count + (size_t)more;
    if (count > bulk->capacity) {
        size_t capacity = count + bulk->capacity / 2, size = bulk->capacity * sizeof *bulk->entries;
        oor_bulk_entry *entries =
            oor_memory_resize(bulk->entries, size, capacity * sizeof *entries);
        if (!entries) return oor_fail(OOR_E_MEMORY, NULL, "no memory for %zu pairs", capacity);
        bulk->entries = entries;
        bulk->capacity = capacity;
    }
    return reserve_slots(bulk, count);
}

static void take(oor_bulk *bulk, uint32_t hash, const oor_bulk_entry *pair) {
    uint64_t *slot = slot_of(bulk, hash, pair->key, pair->key_size);
    if (*slot) {
        oor_bulk_entry *entry = &bulk->entries[(uint32_t)*slot - 1];
        entry->value = pair->value;
        entry->value_size = pair->value_size;
    } else {
        bulk->entries[bulk->count++] = *pair;
        *slot = (uint64_t)hash << 32 | bulk->count;
    }
}

static void take_all(oor_bulk *bulk, uint64_t count, const uint8_t *key, const uint32_t *key_sizes,
                     const uint8_t *value, const uint32_t *value_sizes) {
    /* A slot is a miss of the cache nearly always, so some are asked for ahead. */
    uint32_t hashes[AHEAD];
    for (uint64_t start = 0; start < count; start += AHEAD) {
        uint64_t end = start + AHEAD < count ? start + AHEAD : count;
        const uint8_t *at = key;
        for (uint64_t i = start; i < end; at += key_sizes[i++]) {
            hashes[i - start] = hash_of(at, key_sizes[i]);
            __builtin_prefetch(&bulk->slots[hashes[i - start] & (bulk->slot_count - 1)], 1);
        }
        for (uint64_t i = start; i < end; key += key_sizes[i++]) {
            take(bulk, hashes[i - start],
                 &(oor_bulk_entry){key, value, key_sizes[i], value_sizes[i]});
            if (value_sizes[i] != OOR_TOMBSTONE) value += value_sizes[i];
        }
    }
}

/* Room for a batch behind what the newest chunk holds.  The first chunks are little larger than
 * they must be: a small memtable takes little. */
static int reserve_bytes(oor_bulk *bulk, size_t more) {
    chunk *newest = bulk->chunks;
    if (newest && newest->size - sizeof(chunk) - newest->used >= more) return 0;
    int large = bulk->bytes >= OOR_MEMORY_HUGE;
    size_t size = sizeof(chunk) + (more < bulk->bytes / 2 ? bulk->bytes / 2 : more);
    if (large) size = oor_round_up(size < CHUNK_MIN ? CHUNK_MIN : size, OOR_MEMORY_HUGE);
    chunk *added = large ? oor_memory_take_huge(size) : oor_memory_take(size);
    if (!added) return oor_fail(OOR_E_MEMORY, NULL, "no memory for %zu bytes", size);
    *added = (chunk){.next = newest, .size = size};
    bulk->chunks = added;
    return 0;
}

int oor_bulk_add(oor_bulk *bulk, uint64_t count, const uint8_t *keys, size_t keys_size,
                 const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                 const uint32_t *value_sizes) {
    int rc = oor_columns_check(count, keys_size, key_sizes, values_size, value_sizes);
    if (rc < 0) return rc;
    pthread_mutex_lock(&bulk->lock);
    rc = reserve(bulk, count);
    if (rc >= 0) rc = reserve_bytes(bulk, keys_size + values_size);
    if (rc >= 0) {
        chunk *into = bulk->chunks;
        uint8_t *at = into->data + into->used;
        if (keys_size) memcpy(at, keys, keys_size);
        if (values_size) memcpy(at + keys_size, values, values_size);
        into->used += keys_size + values_size;
        bulk->bytes += keys_size + values_size;
        take_all(bulk, count, at, key_sizes, at + keys_size, value_sizes);
    }
    pthread_mutex_unlock(&bulk->lock);
    return rc;
}

/* Decodes up to AHEAD operations and asks for their slots; returns how many, or an error. */
static int decode_some(const oor_bulk *bulk, const uint8_t *body, size_t size, size_t *at,
                       oor_bulk_entry *pairs, uint32_t *hashes) {
    int count = 0, rc = 0;
    oor_op op;
    while (count < AHEAD && (rc = oor_op_decode(body, size, at, &op)) > 0) {
        uint32_t value_size = op.value ? op.value_size : OOR_TOMBSTONE;
        pairs[count] = (oor_bulk_entry){op.key, op.value, op.key_size, value_size};
        hashes[count] = hash_of(op.key, op.key_size);
        __builtin_prefetch(&bulk->slots[hashes[count++] & (bulk->slot_count - 1)], 1);
    }
    return rc < 0 ? rc : count;
}

/* The operations stay as they lie in the frame: entries point between their headers. */
static int take_ops(oor_bulk *bulk, uint32_t count, const uint8_t *body, size_t size) {
    oor_bulk_entry pairs[AHEAD];
    uint32_t hashes[AHEAD];
    uint64_t taken = 0;
    size_t at = 0;
    for (int some; (some = decode_some(bulk, body, size, &at, pairs, hashes)) != 0;) {
        if (some < 0) return some;
        if ((taken += (uint64_t)some) > count) break;
        for (int i = 0; i < some; i++) take(bulk, hashes[i], &pairs[i]);
    }
    if (taken == count) return 0;
    return oor_fail(OOR_E_CORRUPT, NULL, "%llu operations where %u are stated",
                    (unsigned long long)taken, count);
}

int oor_bulk_add_ops(oor_bulk *bulk, uint32_t count, const uint8_t *body, size_t body_size) {
    pthread_mutex_lock(&bulk->lock);
    int rc = reserve(bulk, count);
    if (rc >= 0) rc = reserve_bytes(bulk, body_size);
    if (rc >= 0) {
        chunk *into = bulk->chunks;
        uint8_t *at = into->data + into->used;
        memcpy(at, body, body_size);
        into->used += body_size;
        bulk->bytes += body_size;
        rc = take_ops(bulk, count, at, body_size);
    }
    pthread_mutex_unlock(&bulk->lock);
    return rc;
}

const oor_bulk_entry *oor_bulk_entries(const oor_bulk *bulk, size_t *count) {
    *count = bulk->count;
    return bulk->entries;
}

int64_t oor_bulk_place(const oor_bulk *bulk, const uint8_t *key, size_t key_size) {
    if (!bulk->count) return -1;
    return (int64_t)(uint32_t)*slot_of(bulk, hash_of(key, key_size), key, key_size) - 1;
}

static oor_bulk_value value_at(const oor_bulk *bulk, const uint8_t *key, size_t key_size) {
    int64_t place = oor_bulk_place(bulk, key, key_size);
    if (place < 0) return (oor_bulk_value){NULL, OOR_BULK_ABSENT};
    const oor_bulk_entry *entry = &bulk->entries[place];
    if (entry->value_size == OOR_TOMBSTONE) return (oor_bulk_value){NULL, OOR_BULK_DELETED};
    return (oor_bulk_value){entry->value, entry->value_size};
}

oor_bulk_value oor_bulk_get(oor_bulk *bulk, const uint8_t *key, size_t key_size) {
    pthread_mutex_lock(&bulk->lock);
    oor_bulk_value found = value_at(bulk, key, key_size);
    pthread_mutex_unlock(&bulk->lock);
    return found;
}

int oor_bulk_try_get(oor_bulk *bulk, const uint8_t *key, size_t key_size, oor_bulk_value *out) {
    if (pthread_mutex_trylock(&bulk->lock) != 0) return 0;
    *out = value_at(bulk, key, key_size);
    pthread_mutex_unlock(&bulk->lock);
    return 1;
}

int oor_bulk_get_many(oor_bulk *bulk, uint64_t count, const uint8_t *keys, size_t keys_size,
                      const uint32_t *key_sizes, oor_bulk_value *out) {
    int rc = oor_columns_check(count, keys_size, key_sizes, 0, NULL);
    if (rc < 0) return rc;
    pthread_mutex_lock(&bulk->lock);
    for (uint64_t i = 0; i < count; keys += key_sizes[i++])
        out[i] = value_at(bulk, keys, key_sizes[i]);
    pthread_mutex_unlock(&bulk->lock);
    return 0;
}

int64_t oor_bulk_count(oor_bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    int64_t count = (int64_t)bulk->count;
    pthread_mutex_unlock(&bulk->lock);
    return count;
}

int oor_bulk_keys(oor_bulk *bulk, uint64_t from, uint64_t most, oor_buffer *out) {
    out->size = 0;
    pthread_mutex_lock(&bulk->lock);
    size_t room = OOR_MARSHAL_FRAME_ROOM, end = from;
    while (end < bulk->count && end - from < most)
        room += bulk->entries[end++].key_size + OOR_MARSHAL_BYTES_ROOM;
    int rc = oor_buffer_reserve(out, room);
    if (rc >= 0) {
        size_t begun = oor_marshal_list_begin(out);
        for (size_t i = from; i < end; i++)
            oor_marshal_bytes(out, bulk->entries[i].key, bulk->entries[i].key_size);
        oor_marshal_list_end(out, begun, end - from);
    }
    pthread_mutex_unlock(&bulk->lock);
    return rc;
}
