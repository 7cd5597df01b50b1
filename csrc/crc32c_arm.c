/* crc32c_arm.c: CRC32C on 64-bit ARM: the crc32c instructions in three streams, joined with PMULL.
 *
 * Nothing here is written to disk.  The arithmetic is that of crc32c_x86.c: moving a state over n
 * bits is crc32cd(0, pmull(state, x^(n-33) mod P)); the constants follow from the polynomial at
 * load time. */
#include "crc32c.h"

#ifdef OOR_CRC32C_ARM
#include <arm_acle.h>
#include <arm_neon.h>
#include <sys/auxv.h>

#ifdef __clang__
#define ARMV8 __attribute__((target("crc,crypto")))
#else
#define ARMV8 __attribute__((target("arch=armv8-a+crc+crypto")))
#endif
#define INLINE static inline __attribute__((always_inline))

/* Bits of AT_HWCAP, as the kernel's asm/hwcap.h fixes them. */
enum { CPU_PMULL = 1 << 4, CPU_CRC32 = 1 << 7 };

enum {
    STREAM_WORDS_MIN = 9, /* below, three streams cost more to join than they save */
    THIRD_WORDS_MAX = 171 /* of one round: three thirds are a 4 KiB block */
};

/* shifts[w] moves a state over w words of 64 bits. */
static uint32_t shifts[2 * THIRD_WORDS_MAX + 1];

static void fill_shifts(void) {
    uint32_t word = oor_crc32c_power(64);
    shifts[1] = oor_crc32c_power(31);
    for (size_t w = 2; w <= 2 * THIRD_WORDS_MAX; w++)
        shifts[w] = oor_crc32c_multiply(shifts[w - 1], word);
}

ARMV8 INLINE uint64_t move(uint32_t state, uint32_t shift) {
    return vgetq_lane_u64(vreinterpretq_u64_p128(vmull_p64(state, shift)), 0);
}

ARMV8 INLINE uint32_t take_words(uint32_t state, const uint8_t *data, size_t words) {
    for (size_t i = 0; i < words; i++) state = __crc32cd(state, oor_load64(data + 8 * i));
    return state;
}

/* The first two states join the last word of the third stream. */
ARMV8 INLINE uint32_t take_streams(uint32_t a, const uint8_t *data, size_t third) {
    const uint8_t *p = data, *q = p + 8 * third, *r = q + 8 * third;
    uint32_t b = 0, c = 0;
    for (size_t i = 0; i + 1 < third; i++) {
        a = __crc32cd(a, oor_load64(p + 8 * i));
        b = __crc32cd(b, oor_load64(q + 8 * i));
        c = __crc32cd(c, oor_load64(r + 8 * i));
    }
    a = __crc32cd(a, oor_load64(q - 8));
    b = __crc32cd(b, oor_load64(r - 8));
    uint64_t joined = move(a, shifts[2 * third]) ^ move(b, shifts[third]);
    return __crc32cd(c, oor_load64(r + 8 * third - 8) ^ joined);
}

ARMV8 static uint32_t armv8(uint32_t state, const uint8_t *data, size_t size) {
    while (size >= 8 * STREAM_WORDS_MIN) {
        size_t third = size / 24 < THIRD_WORDS_MAX ? size / 24 : THIRD_WORDS_MAX;
        state = take_streams(state, data, third);
        data += 24 * third;
        size -= 24 * third;
    }
    state = take_words(state, data, size / 8);
    data += size & ~(size_t)7;
    if (size & 4) {
        state = __crc32cw(state, oor_load32(data));
        data += 4;
    }
    if (size & 2) {
        state = __crc32ch(state, oor_load16(data));
        data += 2;
    }
    return size & 1 ? __crc32cb(state, *data) : state;
}

int oor_crc32c_probe(oor_crc32c_implementation *out) {
    unsigned long has = getauxval(AT_HWCAP);
    if (!(has & CPU_PMULL) || !(has & CPU_CRC32)) return 0;
    fill_shifts();
    out[0] = (oor_crc32c_implementation){"armv8", armv8};
    return 1;
}
#endif
