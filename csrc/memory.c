/* memory.c: pages from the system, or malloc.  Nothing here is written to disk. */
#include "memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "oor.h"

enum { ALIGNMENT = 64, KEPT_FREE = 1 << 20 };

static void *map(size_t size) {
    void *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return made == MAP_FAILED ? NULL : made;
}

static void unmap(void *memory, size_t size) {
    int rc = munmap(memory, size);
    assert(rc == 0);
    (void)rc;
}

void *oor_memory_take(size_t size) {
    if (size >= OOR_MEMORY_PAGES) return size > PTRDIFF_MAX ? NULL : map(size);
    return aligned_alloc(ALIGNMENT, (size + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
}

void *oor_memory_take_aligned(size_t size, size_t alignment) {
    assert(size >= OOR_MEMORY_PAGES && size % alignment == 0);
    uint8_t *made = map(size + alignment);
    if (!made) return NULL;
    size_t before = (alignment - (uintptr_t)made % alignment) % alignment;
    if (before) unmap(made, before);
    unmap(made + before + size, alignment - before);
    return made + before;
}

void *oor_memory_take_huge(size_t size) {
    void *made = oor_memory_take_aligned(size, OOR_MEMORY_HUGE);
#ifdef MADV_HUGEPAGE
    /* Without large pages small ones do, so what it answers makes no difference. */
    if (made) (void)madvise(made, size, MADV_HUGEPAGE);
#endif
    return made;
}

void *oor_memory_resize(void *memory, size_t old_size, size_t size) {
    if (old_size < OOR_MEMORY_PAGES && size < OOR_MEMORY_PAGES) return realloc(memory, size);
#ifdef MREMAP_MAYMOVE
    if (old_size >= OOR_MEMORY_PAGES && size >= OOR_MEMORY_PAGES) {
        void *moved = mremap(memory, old_size, size, MREMAP_MAYMOVE);
        return moved == MAP_FAILED ? NULL : moved;
    }
#endif
    void *made = oor_memory_take(size);
    if (!made) return NULL;
    if (old_size) memcpy(made, memory, old_size < size ? old_size : size);
    oor_memory_give(memory, old_size);
    return made;
}

void oor_memory_give(void *memory, size_t size) {
    if (memory && size >= OOR_MEMORY_PAGES) {
        unmap(memory, size);
    } else {
        free(memory);
    }
}

void oor_memory_trim(void) {
#ifdef __GLIBC__
    (void)malloc_trim(KEPT_FREE);
#endif
}
