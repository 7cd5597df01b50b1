/* crc32c.h: the implementations behind oor_crc32c, one file an instruction set.
 *
 * Ownership: nothing is allocated.
 * Threads:   pure functions.
 * Invariants:
 * (1) An oor_crc32c_function works on the inverted state: the caller inverts before and after.
 * (2) An implementation is in the list only when this CPU and its operating system can run it. */
#ifndef OOR_CRC32C_H
#define OOR_CRC32C_H

#include "core.h"

/* The Castagnoli polynomial, bit-reflected. */
#define OOR_CRC32C_POLYNOMIAL 0x82F63B78U

typedef uint32_t (*oor_crc32c_function)(uint32_t state, const uint8_t *data, size_t size);

typedef struct {
    const char *name;
    oor_crc32c_function run;
} oor_crc32c_implementation;

/* Where the compiler has the instructions behind target attributes. */
#if defined(__x86_64__)
#define OOR_CRC32C_X86 1
#elif defined(__aarch64__) && defined(__linux__) && (!defined(__clang__) || __clang_major__ >= 16)
#define OOR_CRC32C_ARM 1
#endif

/* What this CPU offers beyond "portable", best first, into out[0..2); returns how many. */
int oor_crc32c_probe(oor_crc32c_implementation *out);

/* Products of polynomials modulo P, bit-reflected: the coefficient of x^i is bit 31 - i. */
uint32_t oor_crc32c_multiply(uint32_t a, uint32_t b);
/* x^n mod P. */
uint32_t oor_crc32c_power(uint64_t n);

#endif
