/* memory.h: memory that goes back to the system when it is given back.
 *
 * From OOR_MEMORY_PAGES on it is whole pages of its own, below that it is malloc's.  A malloc that
 * has seen large pieces come and go keeps them, in an arena for each thread, where what lives long
 * lies between the holes: after some flushes and compactions the holes are larger than a cache.
 *
 * Ownership: what was taken is the caller's until it is given back with the size it has.
 * Threads:   safe for all callers at once.
 * Invariants:
 * (1) What was taken is aligned to 64 bytes; what was resized, to 16.
 * (2) A size of OOR_MEMORY_PAGES or more is nowhere but in pages: they are zeros at first, and
 *     those that nobody touched cost nothing. */
#ifndef OOR_MEMORY_H
#define OOR_MEMORY_H

#include <stddef.h>

enum { OOR_MEMORY_PAGES = 64 << 10, OOR_MEMORY_HUGE = 2 << 20 };

/* NULL: no memory; no error is set. */
void *oor_memory_take(size_t size);
/* Aligned to `alignment`, a power of two and a divisor of `size`; always pages. */
void *oor_memory_take_aligned(size_t size, size_t alignment);
/* As large pages where the system has them, `size` a multiple of OOR_MEMORY_HUGE: for what is
 * filled soon and as a whole, since a page is there as soon as a byte of it is. */
void *oor_memory_take_huge(size_t size);
/* With the first bytes of what it was; NULL: no memory, `memory` is as it was.  `memory` may be
 * NULL, with a size of 0. */
void *oor_memory_resize(void *memory, size_t old_size, size_t size);
void oor_memory_give(void *memory, size_t size);

#endif
