/* crc32c.c: CRC32C (Castagnoli): the choice of an implementation, the portable one, and the stored
 * form.
 *
 * crc    := u32       reflected, initial value and final inversion 0xFFFFFFFF, as in RFC 3720
 * stored := u32       crc rotated right by 15 bits, plus 0xA282EAD8 modulo 2^32
 *
 * The stored form is the one of the Snappy framing format.  Slicing-by-8: Kounavis and Berry, "A
 * Systematic Approach to Building High Performance Software-based CRC Generators", 2005. */
#include "crc32c.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { SLICES = 8, IMPLEMENTATIONS_MAX = 3 };

static uint32_t slices[SLICES][256];

/* Filled by the constructor; never changed afterwards. */
static oor_crc32c_implementation implementations[IMPLEMENTATIONS_MAX];
static int implementation_count;

/* slices[k][b] is the state that byte b leaves after k more zero bytes. */
static void fill_slices(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t state = byte;
        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ (state & 1 ? OOR_CRC32C_POLYNOMIAL : 0);
        slices[0][byte] = state;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int k = 1; k < SLICES; k++)
            slices[k][byte] = slices[k - 1][byte] >> 8 ^ slices[0][slices[k - 1][byte] & 0xFF];
}

static uint32_t portable(uint32_t state, const uint8_t *data, size_t size) {
    for (; size >= 8; data += 8, size -= 8) {
        uint32_t low = oor_load32(data) ^ state, high = oor_load32(data + 4);
        state = slices[7][low & 0xFF] ^ slices[6][low >> 8 & 0xFF] ^ slices[5][low >> 16 & 0xFF] ^
                slices[4][low >> 24] ^ slices[3][high & 0xFF] ^ slices[2][high >> 8 & 0xFF] ^
                slices[1][high >> 16 & 0xFF] ^ slices[0][high >> 24];
    }
    for (; size; data++, size--) state = state >> 8 ^ slices[0][(state ^ *data) & 0xFF];
    return state;
}

/* ---- what the others derive their constants from -------------------------------------------- */

uint32_t oor_crc32c_multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (; b; b <<= 1) { /* the constant term of b is its top bit */
        if (b >> 31) product ^= a;
        a = a >> 1 ^ (a & 1 ? OOR_CRC32C_POLYNOMIAL : 0);
    }
    return product;
}

uint32_t oor_crc32c_power(uint64_t n) {
    uint32_t result = 1U << 31, square = 1U << 30; /* x^0, x^1 */
    for (; n; n >>= 1) {
        if (n & 1) result = oor_crc32c_multiply(result, square);
        square = oor_crc32c_multiply(square, square);
    }
    return result;
}

/* ---- the choice ----------------------------------------------------------------------------- */

/* One pointer, so that other threads see the old implementation or the new, whole.  Relaxed is
 * enough: what it points to was written before any thread but the loader's could call. */
static _Atomic(const oor_crc32c_implementation *) in_force;

int oor_crc32c_force(const char *name) {
    for (int i = 0; i < implementation_count; i++)
        if (!strcmp(implementations[i].name, name)) {
            atomic_store_explicit(&in_force, &implementations[i], memory_order_relaxed);
            return 1;
        }
    return 0;
}

#if !defined(OOR_CRC32C_X86) && !defined(OOR_CRC32C_ARM)
int oor_crc32c_probe(oor_crc32c_implementation *out) {
    (void)out;
    return 0;
}
#endif

/* Runs when the library is loaded, so that no call has to ask whether the choice was made. */
__attribute__((constructor)) static void choose(void) {
    fill_slices();
    implementation_count = oor_crc32c_probe(implementations);
    assert(implementation_count < IMPLEMENTATIONS_MAX);
    implementations[implementation_count++] = (oor_crc32c_implementation){"portable", portable};
    atomic_store_explicit(&in_force, &implementations[0], memory_order_relaxed);
    const char *name = getenv("OOR_CRC32C");
    if (name) oor_crc32c_force(name); /* a name that cannot be had leaves the best; _name() tells */
}

const char *oor_crc32c_name(void) {
    return atomic_load_explicit(&in_force, memory_order_relaxed)->name;
}

uint32_t oor_crc32c(uint32_t crc, const uint8_t *data, size_t size) {
    return ~atomic_load_explicit(&in_force, memory_order_relaxed)->run(~crc, data, size);
}

uint32_t oor_crc32c_mask(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xA282EAD8U; }
