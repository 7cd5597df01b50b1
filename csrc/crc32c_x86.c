/* crc32c_x86.c: CRC32C on x86-64: the crc32 instruction, alone or beside carry-less folding.
 *
 * Nothing here is written to disk.  Method: V. Gopal and others, "Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ Instruction", Intel white paper, 2009.  All constants follow from the
 * polynomial when the library is loaded.
 *
 * Polynomials are bit-reflected: bit i of an n-bit word is the coefficient of x^(n-1-i).  So
 *   crc32q(state, word)           = (state x^32 + word) x^32 mod P
 *   clmul(a, b), both 32 bits     = a b x       as a 64-bit word
 *   clmul(a, b), both 64 bits     = a b x       as a 128-bit word
 * and moving a state over n bits is crc32q(0, clmul(state, x^(n-33) mod P)). */
#include "crc32c.h"

#ifdef OOR_CRC32C_X86
#include <cpuid.h>
#include <immintrin.h>

#define SSE42 __attribute__((target("sse4.2,crc32,pclmul")))
#define AVX512                                                                                     \
    __attribute__((target("sse4.2,crc32,pclmul,avx512f,avx512bw,avx512vl,avx512vbmi2,"             \
                          "vpclmulqdq")))
#define INLINE static inline __attribute__((always_inline))

enum {
    STREAM_WORDS_MIN = 9, /* below, three streams cost more to join than they save */
    ROUNDS_MAX = 60,      /* of one mixed chunk */
    ROUND_LANES = 64,     /* bytes a round folds: four lanes of 16 */
    ROUND_STREAM = 24,    /* bytes a round feeds to each of the three streams of crc32 */
    ROUND = ROUND_LANES + 3 * ROUND_STREAM,
    MIXED_MIN = 3 * ROUND, /* below, folding costs more to reduce than it saves */
    SHIFT_WORDS_MAX = 3 * ROUNDS_MAX * ROUND_STREAM / 8,
    VECTOR = 64,
    VECTORS_MAX = 8, /* that are reduced in one step */
    WIDE_MIN = 168   /* below, streams of crc32 beat whole vectors */
};

/* shifts[w] moves a state over w words of 64 bits. */
static uint32_t shifts[SHIFT_WORDS_MAX + 1];
/* Each pair moves the two halves of a 128-bit lane: over 16 k bytes, over 64 k bytes. */
static uint64_t lane_shifts[5][2] __attribute__((aligned(16)));
static uint64_t vector_shifts[VECTORS_MAX][2] __attribute__((aligned(16)));
/* What brings the four lanes of a vector together; the last lane stays where it is. */
static uint64_t gather_shifts[4][2] __attribute__((aligned(64)));

/* Low half: weight x^64 on top of the distance.  One power goes to the x of the clmul. */
static void fill_pair(uint64_t pair[2], uint64_t bits) {
    pair[0] = (uint64_t)oor_crc32c_power(bits + 63) << 32;
    pair[1] = (uint64_t)oor_crc32c_power(bits - 1) << 32;
}

static void fill_shifts(void) {
    uint32_t word = oor_crc32c_power(64);
    shifts[1] = oor_crc32c_power(31);
    for (size_t w = 2; w <= SHIFT_WORDS_MAX; w++)
        shifts[w] = oor_crc32c_multiply(shifts[w - 1], word);
    for (uint64_t k = 1; k < 5; k++) fill_pair(lane_shifts[k], 128 * k);
    for (uint64_t k = 1; k < VECTORS_MAX; k++) fill_pair(vector_shifts[k], 512 * k);
    for (uint64_t k = 0; k < 3; k++) fill_pair(gather_shifts[k], 128 * (3 - k));
}

/* ---- crc32 ---------------------------------------------------------------------------------- */

INLINE uint64_t load_word(const uint8_t *data) {
    uint64_t word;
    memcpy(&word, data, sizeof word); /* x86 is little-endian */
    return word;
}

SSE42 INLINE uint64_t move(uint64_t state, uint32_t shift) {
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state), _mm_cvtsi32_si128((int)shift), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

/* Takes 1 to 8 bytes, so that whole words remain; reads 8.  The bytes go to the top of a word,
 * behind leading zeros, which leave a zero state as it is; the old state goes with the bytes it
 * meets, and what of it reaches past them meets the next word. */
SSE42 INLINE uint64_t take_head(uint64_t state, const uint8_t *data, size_t size) {
    unsigned bits = (unsigned)size * 8;
    return _mm_crc32_u64(0, (load_word(data) ^ state) << (64 - bits)) ^
           state >> bits / 2 >> bits / 2;
}

SSE42 INLINE uint64_t take_words(uint64_t state, const uint8_t *data, size_t words) {
    for (size_t i = 0; i < words; i++) state = _mm_crc32_u64(state, load_word(data + 8 * i));
    return state;
}

/* Three thirds at once, since crc32 has a latency of three cycles and a throughput of one.  The
 * first two states join the last word of the third stream. */
SSE42 INLINE uint64_t take_streams(uint64_t a, const uint8_t *data, size_t words) {
    size_t third = words / 3;
    const uint8_t *p = data, *q = p + 8 * third, *r = q + 8 * third;
    uint64_t b = 0, c = 0;
    for (size_t i = 0; i + 1 < third; i++) {
        a = _mm_crc32_u64(a, load_word(p + 8 * i));
        b = _mm_crc32_u64(b, load_word(q + 8 * i));
        c = _mm_crc32_u64(c, load_word(r + 8 * i));
    }
    a = _mm_crc32_u64(a, load_word(q - 8));
    b = _mm_crc32_u64(b, load_word(r - 8));
    uint64_t joined = move(a, shifts[2 * third]) ^ move(b, shifts[third]);
    c = _mm_crc32_u64(c, load_word(r + 8 * third - 8) ^ joined);
    return take_words(c, r + 8 * third, words - 3 * third);
}

SSE42 INLINE uint32_t take_small(uint64_t state, const uint8_t *data, size_t size) {
    if (size >= 8) {
        size_t head = ((size - 1) & 7) + 1, words = (size - head) / 8;
        state = take_head(state, data, head);
        data += head;
        if (words < STREAM_WORDS_MIN) return (uint32_t)take_words(state, data, words);
        return (uint32_t)take_streams(state, data, words);
    }
    uint32_t narrow = (uint32_t)state;
    if (size & 4) {
        narrow = _mm_crc32_u32(narrow, oor_load32(data));
        data += 4;
    }
    if (size & 2) {
        narrow = _mm_crc32_u16(narrow, oor_load16(data));
        data += 2;
    }
    return size & 1 ? _mm_crc32_u8(narrow, *data) : narrow;
}

/* ---- crc32 beside folding ------------------------------------------------------------------- */

SSE42 INLINE __m128i load_lane(const uint8_t *data) { return _mm_loadu_si128((const void *)data); }

SSE42 INLINE __m128i fold(__m128i lane, const uint64_t shift[2]) {
    __m128i by = _mm_load_si128((const void *)shift);
    return _mm_xor_si128(_mm_clmulepi64_si128(lane, by, 0x00),
                         _mm_clmulepi64_si128(lane, by, 0x11));
}

SSE42 INLINE uint64_t reduce_lane(__m128i lane) {
    uint64_t state = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(lane));
    return _mm_crc32_u64(state, (uint64_t)_mm_extract_epi64(lane, 1));
}

/* A chunk of `rounds` rounds: its first part is folded in four lanes, the rest goes through three
 * streams of crc32.  The two kinds of instruction run on different ports. */
SSE42 static uint64_t take_mixed(uint64_t state, const uint8_t *data, size_t rounds) {
    size_t stream = ROUND_STREAM * rounds;
    const uint8_t *p = data + ROUND_LANES * rounds, *q = p + stream, *r = q + stream;
    __m128i x0 = _mm_xor_si128(load_lane(data), _mm_cvtsi64_si128((long long)state));
    __m128i x1 = load_lane(data + 16), x2 = load_lane(data + 32), x3 = load_lane(data + 48);
    uint64_t a = 0, b = 0, c = 0;
    for (size_t i = 1; i < rounds; i++) {
        data += ROUND_LANES;
        x0 = _mm_xor_si128(fold(x0, lane_shifts[4]), load_lane(data));
        x1 = _mm_xor_si128(fold(x1, lane_shifts[4]), load_lane(data + 16));
        x2 = _mm_xor_si128(fold(x2, lane_shifts[4]), load_lane(data + 32));
        x3 = _mm_xor_si128(fold(x3, lane_shifts[4]), load_lane(data + 48));
        for (int k = 0; k < 3; k++) {
            a = _mm_crc32_u64(a, load_word(p + 8 * k));
            b = _mm_crc32_u64(b, load_word(q + 8 * k));
            c = _mm_crc32_u64(c, load_word(r + 8 * k));
        }
        p += ROUND_STREAM, q += ROUND_STREAM, r += ROUND_STREAM;
    }
    a = take_words(a, p, 3);
    b = take_words(b, q, 3);
    c = take_words(c, r, 2);
    x3 = _mm_xor_si128(_mm_xor_si128(x3, fold(x2, lane_shifts[1])),
                       _mm_xor_si128(fold(x1, lane_shifts[2]), fold(x0, lane_shifts[3])));
    uint64_t joined = move(reduce_lane(x3), shifts[3 * stream / 8]) ^
                      move(a, shifts[2 * stream / 8]) ^ move(b, shifts[stream / 8]);
    return _mm_crc32_u64(c, load_word(r + 16) ^ joined);
}

SSE42 static uint32_t sse42(uint32_t narrow, const uint8_t *data, size_t size) {
    uint64_t state = narrow;
    while (size >= MIXED_MIN) {
        size_t rounds = size / ROUND < ROUNDS_MAX ? size / ROUND : ROUNDS_MAX;
        state = take_mixed(state, data, rounds);
        data += rounds * ROUND;
        size -= rounds * ROUND;
    }
    return take_small(state, data, size);
}

/* ---- folding in vectors of four lanes ------------------------------------------------------- */

AVX512 INLINE __m512i load_vector(const uint8_t *data) {
    return _mm512_loadu_si512((const void *)data);
}

AVX512 INLINE __m512i load_shift(const uint64_t shift[2]) {
    return _mm512_broadcast_i32x4(_mm_load_si128((const void *)shift));
}

/* sum + vector moved by `by`. */
AVX512 INLINE __m512i fold_into(__m512i sum, __m512i vector, __m512i by) {
    return _mm512_ternarylogic_epi64(sum, _mm512_clmulepi64_epi128(vector, by, 0x00),
                                     _mm512_clmulepi64_epi128(vector, by, 0x11),
                                     0x96); /* a ^ b ^ c */
}

AVX512 INLINE uint32_t reduce_vector(__m512i vector) {
    __m512i by = _mm512_load_si512(gather_shifts);
    __m512i lanes = _mm512_mask_xor_epi64(vector, 0x3F, _mm512_clmulepi64_epi128(vector, by, 0x00),
                                          _mm512_clmulepi64_epi128(vector, by, 0x11));
    __m256i half =
        _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64(lanes, 1));
    return (uint32_t)reduce_lane(
        _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
}

/* REQUIRES: size > VECTOR.  As take_head: the first 1 to 64 bytes go to the end of a vector of
 * their own, behind zeros, so that whole vectors remain. */
AVX512 static uint32_t take_wide(uint32_t state, const uint8_t *data, size_t size) {
    size_t head = ((size - 1) & (VECTOR - 1)) + 1, count = (size - head) / VECTOR;
    __m512i start = _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)state));
    __m512i first = _mm512_maskz_expand_epi8(~(__mmask64)0 << (VECTOR - head),
                                             _mm512_xor_si512(load_vector(data), start));
    data += head;
    /* What of the state reaches past a head of less than four bytes. */
    uint64_t rest = head < 4 ? (uint64_t)state >> 8 * head : 0;
    __m512i second = _mm512_xor_si512(load_vector(data),
                                      _mm512_zextsi128_si512(_mm_cvtsi64_si128((long long)rest)));
    data += VECTOR;
    __m512i x[4] = {first, second};
    size_t held = 2; /* vectors in x, of which `count - 1` more follow in memory */
    count--;
    if (count >= 2 + 4) {
        const __m512i by = load_shift(vector_shifts[4]);
        x[2] = load_vector(data), x[3] = load_vector(data + VECTOR);
        data += 2 * VECTOR, count -= 2, held = 4;
        for (; count >= 4; count -= 4, data += 4 * VECTOR)
            for (int i = 0; i < 4; i++) x[i] = fold_into(load_vector(data + VECTOR * i), x[i], by);
    }
    __m512i sum = _mm512_setzero_si512();
    size_t distance = held + count;
    assert(distance <= VECTORS_MAX);
    for (size_t i = 0; i < held && --distance; i++)
        sum = fold_into(sum, x[i], load_shift(vector_shifts[distance]));
    if (!count) return reduce_vector(_mm512_xor_si512(sum, x[held - 1]));
    for (; --count; data += VECTOR)
        sum = fold_into(sum, load_vector(data), load_shift(vector_shifts[count]));
    return reduce_vector(_mm512_xor_si512(sum, load_vector(data)));
}

AVX512 static uint32_t avx512(uint32_t state, const uint8_t *data, size_t size) {
    return size < WIDE_MIN ? take_small(state, data, size) : take_wide(state, data, size);
}

/* ---- what this CPU has ---------------------------------------------------------------------- */

static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* The instructions, and an operating system that saves the registers they use. */
static int has_avx512(unsigned leaf1_c) {
    enum { XCR0_AVX512 = 0xE6 }; /* SSE, AVX, opmask, the upper halves, the upper sixteen */
    unsigned a, b, c, d;
    if (!(leaf1_c & bit_OSXSAVE) || (read_xcr0() & XCR0_AVX512) != XCR0_AVX512) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    unsigned in_b = bit_AVX512F | bit_AVX512BW | bit_AVX512VL;
    unsigned in_c = bit_AVX512VBMI2 | bit_VPCLMULQDQ;
    return (b & in_b) == in_b && (c & in_c) == in_c;
}

int oor_crc32c_probe(oor_crc32c_implementation *out) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if (!(c & bit_SSE4_2) || !(c & bit_PCLMUL)) return 0;
    fill_shifts();
    int count = 0;
    if (has_avx512(c)) out[count++] = (oor_crc32c_implementation){"avx512", avx512};
    out[count++] = (oor_crc32c_implementation){"sse42", sse42};
    return count;
}
#endif
