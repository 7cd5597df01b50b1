/* core.h: what every room of the C half shares: asserts, errors, integers, buffers.
 *
 * Ownership: an oor_buffer owns its data.
 * Threads:   the last error is each thread's own; the rest are pure functions.
 * Invariants:
 * (1) Asserts are alive in every build: NDEBUG is never defined for this library.
 * (2) All integers on disk are little-endian; they are read and written here, byte order
 * independent. */
#ifndef OOR_CORE_H
#define OOR_CORE_H

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "oor.h"

#ifdef NDEBUG
#error "oor keeps its asserts in release builds: build with -UNDEBUG"
#endif

/* Fills this thread's last error and returns `code`.  `path` may be NULL; `format` is printf's. */
int oor_fail(int code, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a failed system call: the code follows from sys_errno, ENOSPC and EDQUOT are
 * OOR_E_FULL. */
int oor_fail_errno(int sys_errno, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Says an earlier error again, as `code`, behind a few words of why it matters now. */
int oor_fail_again(int code, const oor_error *earlier, const char *prefix);
/* The same for bytes at this offset of the file that are not what they must be: OOR_E_CORRUPT. */
int oor_fail_damage(const char *path, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a place in the log to this thread's last error and returns its code. */
int oor_fail_at(uint64_t segment, uint64_t offset, uint64_t first_lsn, uint64_t last_lsn);

/* Makes room for `more` bytes behind buffer->size: 0, or OOR_E_MEMORY. */
int oor_buffer_reserve(oor_buffer *buffer, size_t more);
/* Gives its memory back; it is empty then, and can be used again. */
void oor_buffer_clear(oor_buffer *buffer);

static inline uint16_t oor_load16(const uint8_t *p) {
    return (uint16_t)(p[0] | (uint16_t)(p[1] << 8));
}

static inline uint32_t oor_load32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t oor_load64(const uint8_t *p) {
    return (uint64_t)oor_load32(p) | (uint64_t)oor_load32(p + 4) << 32;
}

static inline void oor_store16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void oor_store32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

static inline void oor_store64(uint8_t *p, uint64_t v) {
    oor_store32(p, (uint32_t)v);
    oor_store32(p + 4, (uint32_t)(v >> 32));
}

/* Byte order, shorter first: < 0, 0 or > 0. */
static inline int oor_compare(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
    size_t common = a_size < b_size ? a_size : b_size;
    int order = common ? memcmp(a, b, common) : 0;
    if (order) return order;
    return a_size < b_size ? -1 : a_size > b_size;
}

static inline uint64_t oor_round_up(uint64_t value, uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

/* 0 when the sizes add up to what the two areas hold, each within its limit; else OOR_E_LIMIT.
 * `value_sizes` NULL: there are keys only. */
int oor_columns_check(uint64_t count, size_t keys_size, const uint32_t *key_sizes,
                      size_t values_size, const uint32_t *value_sizes);

#endif
