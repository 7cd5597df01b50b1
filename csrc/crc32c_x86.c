/* crc32c_x86.c: CRC32C with the crc32 instruction. */
#include "crc32c.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

__attribute__((target("sse4.2,crc32"))) static uint32_t sse42(uint32_t state, const uint8_t *data, size_t size) {
    uint64_t wide = state;
    for (; size >= 8; data += 8, size -= 8) wide = _mm_crc32_u64(wide, oor_load64(data));
    state = (uint32_t)wide;
    for (; size; data++, size--) state = _mm_crc32_u8(state, *data);
    return state;
}

int oor_crc32c_probe(oor_crc32c_implementation *out) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_2)) return 0;
    out[0] = (oor_crc32c_implementation){"sse42", sse42};
    return 1;
}
#elif !defined(__aarch64__)
int oor_crc32c_probe(oor_crc32c_implementation *out) {
    (void)out;
    return 0;
}
#endif
