/* arena.c: chunks, classes and free lists.  Nothing here is written to disk.
 *
 * chunk := header:64 slot*     a slot that is free begins with the address of the next free one
 * A class is a multiple of FINE_STEP up to FINE_MAX, of COARSE_STEP up to COARSE_MAX. */
#include "arena.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "memory.h"

enum {
    CHUNK_SIZE = 2 << 20,
    HEADER_SIZE = 64,
    FINE_STEP = 64,
    FINE_MAX = 1024,
    COARSE_STEP = 256,
    COARSE_MAX = 8192,
    FINE_COUNT = FINE_MAX / FINE_STEP,
    CLASS_COUNT = FINE_COUNT + (COARSE_MAX - FINE_MAX) / COARSE_STEP
};

typedef struct free_slot {
    struct free_slot *next;
} free_slot;

typedef struct chunk {
    struct chunk *next, *previous; /* among those of its class that have room */
    free_slot *free;
    uint32_t slot_size;
    uint32_t used;
    uint32_t fresh; /* where the slots begin that never were in use */
    uint32_t class_at;
} chunk;
_Static_assert(sizeof(chunk) <= HEADER_SIZE, "slots begin behind the header");

struct oor_arena {
    pthread_mutex_t lock;
    chunk *with_room[CLASS_COUNT];
    uint32_t chunks[CLASS_COUNT];
    chunk *empty; /* linked by `next`; of all but the first the system has the pages back */
};

oor_arena *oor_arena_new(void) {
    oor_arena *arena = calloc(1, sizeof *arena);
    if (!arena) {
        oor_fail(OOR_E_MEMORY, NULL, "no memory for an arena");
        return NULL;
    }
    pthread_mutex_init(&arena->lock, NULL);
    return arena;
}

void oor_arena_free(oor_arena *arena) {
    if (!arena) return;
    for (uint32_t i = 0; i < CLASS_COUNT; i++) assert(arena->chunks[i] == 0);
    pthread_mutex_destroy(&arena->lock);
    for (chunk *next, *at = arena->empty; at; at = next) {
        next = at->next;
        oor_memory_give(at, CHUNK_SIZE);
    }
    free(arena);
}

static uint32_t class_of(size_t size) {
    if (size <= FINE_MAX) return size ? (uint32_t)((size - 1) / FINE_STEP) : 0;
    return FINE_COUNT + (uint32_t)((size - FINE_MAX - 1) / COARSE_STEP);
}

static uint32_t slot_size_of(uint32_t class_at) {
    return class_at < FINE_COUNT ? (class_at + 1) * FINE_STEP
                                 : FINE_MAX + (class_at - FINE_COUNT + 1) * COARSE_STEP;
}

size_t oor_arena_cost(size_t size) {
    return size > COARSE_MAX ? (size_t)oor_round_up(size, 64) : slot_size_of(class_of(size));
}

static void link_chunk(oor_arena *arena, chunk *added) {
    chunk **first = &arena->with_room[added->class_at];
    added->previous = NULL;
    added->next = *first;
    if (*first) (*first)->previous = added;
    *first = added;
}

static void unlink_chunk(oor_arena *arena, chunk *gone) {
    if (gone->previous) {
        gone->previous->next = gone->next;
    } else {
        arena->with_room[gone->class_at] = gone->next;
    }
    if (gone->next) gone->next->previous = gone->previous;
}

static chunk *new_chunk(oor_arena *arena, uint32_t class_at) {
    chunk *made = arena->empty;
    if (made) {
        arena->empty = made->next;
    } else if (!(made = oor_memory_take_aligned(CHUNK_SIZE, CHUNK_SIZE))) {
        return NULL;
    }
    /* Advice only: where there are no huge pages nothing is lost. */
    if (arena->chunks[class_at]++ > 0) (void)madvise(made, CHUNK_SIZE, MADV_HUGEPAGE);
    *made =
        (chunk){.slot_size = slot_size_of(class_at), .fresh = HEADER_SIZE, .class_at = class_at};
    link_chunk(arena, made);
    return made;
}

/* Keeps the address of an empty chunk, and gives its pages back once another one is empty: a
 * class at the edge of a chunk would ask for them again at once.  The header's page stays, for the
 * link. */
static void put_aside(oor_arena *arena, chunk *gone) {
    const size_t page = 4096;
    if (arena->empty)
        (void)madvise((uint8_t *)arena->empty + page, CHUNK_SIZE - page, MADV_DONTNEED);
    gone->next = arena->empty;
    arena->empty = gone;
}

static int is_full(const chunk *at) { return !at->free && CHUNK_SIZE - at->fresh < at->slot_size; }

static void *take_slot(oor_arena *arena, uint32_t class_at) {
    chunk *from = arena->with_room[class_at];
    if (!from && !(from = new_chunk(arena, class_at))) return NULL;
    void *taken = from->free;
    if (taken) {
        from->free = from->free->next;
    } else {
        taken = (uint8_t *)from + from->fresh;
        from->fresh += from->slot_size;
    }
    from->used++;
    if (is_full(from)) unlink_chunk(arena, from);
    return taken;
}

void *oor_arena_take(oor_arena *arena, size_t size) {
    void *taken;
    if (size > COARSE_MAX) {
        taken = oor_memory_take(size);
    } else {
        pthread_mutex_lock(&arena->lock);
        taken = take_slot(arena, class_of(size));
        pthread_mutex_unlock(&arena->lock);
    }
    if (!taken) oor_fail(OOR_E_MEMORY, NULL, "no memory for %zu bytes of a block", size);
    return taken;
}

void oor_arena_give(oor_arena *arena, void *memory, size_t size) {
    if (!memory) return;
    if (size > COARSE_MAX) {
        oor_memory_give(memory, size);
        return;
    }
    chunk *to = (chunk *)((uintptr_t)memory & ~(uintptr_t)(CHUNK_SIZE - 1));
    pthread_mutex_lock(&arena->lock);
    assert(to->class_at == class_of(size) && to->used > 0);
    if (is_full(to)) link_chunk(arena, to);
    free_slot *slot = memory;
    slot->next = to->free;
    to->free = slot;
    if (--to->used == 0) {
        unlink_chunk(arena, to);
        arena->chunks[to->class_at]--;
        put_aside(arena, to);
    }
    pthread_mutex_unlock(&arena->lock);
}
