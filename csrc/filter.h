/* filter.h: the hash of a key, and a Bloom filter whose probes for a key share one cache line.
 *
 * Ownership: lines belong to the caller, aligned to OOR_FILTER_LINE.
 * Threads:   pure functions; a filter that is being built has one owner.
 * Invariants:
 * (1) A key that was added is never denied.
 * (2) The hash is part of the format: it never changes under the same OOR_FILTER_HASH. */
#ifndef OOR_FILTER_H
#define OOR_FILTER_H

#include "core.h"

enum {
    OOR_FILTER_LINE = 64, /* bytes that hold every bit of a key */
    OOR_FILTER_HASH = 1,  /* the hash below, as stored */
    OOR_FILTER_PROBES_MAX = 16,
    OOR_FILTER_TAIL_SIZE = 8 /* line_count:u32 probes:u8 hash:u8 prefix_size:u16 */
};

__extension__ typedef unsigned __int128 oor_u128;

/* Both halves of the product, folded: each bit of the result hangs on each bit of `a`. */
static inline uint64_t oor_mix(uint64_t a, uint64_t b) {
    oor_u128 product = (oor_u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* hash(key) := h = size * A ^ B; each whole 8 bytes w but the last 1..8: h = mix(h ^ w, C);
 *              h = mix(h ^ rest, D); mix(h, E)            w, rest little-endian, rest zero-padded
 * A to E are the first 64 fraction bits of the roots of 2, 3, 5, 7 and 11, made odd. */
static inline uint64_t oor_hash(const uint8_t *key, size_t size) {
    uint64_t h = (uint64_t)size * 0x6A09E667F3BCC909u ^ 0xBB67AE8584CAA73Bu;
    while (size > 8) {
        h = oor_mix(h ^ oor_load64(key), 0x3C6EF372FE94F82Bu);
        key += 8;
        size -= 8;
    }
    uint64_t rest = 0;
    if (size == 8) {
        rest = oor_load64(key);
    } else if (size >= 4) {
        rest = oor_load32(key) | (uint64_t)oor_load32(key + size - 4) << (8 * (size - 4));
    } else {
        for (size_t i = 0; i < size; i++) rest |= (uint64_t)key[i] << (8 * i);
    }
    h = oor_mix(h ^ rest, 0xA54FF53A5F1D36F1u);
    return oor_mix(h, 0x510E527FADE682D1u);
}

/* A byte of the hash that marks a key inside its block; the filter's probes do not depend on it
 * alone. */
static inline uint8_t oor_tag(uint64_t hash) { return (uint8_t)(hash >> 24); }

/* How many lines `keys` keys at `bits` bits each take, and how many probes serve them best. */
uint32_t oor_filter_lines(uint64_t keys, uint32_t bits);
uint32_t oor_filter_probes(uint32_t bits);
void oor_filter_add(uint8_t *lines, uint32_t line_count, uint32_t probes, uint64_t hash);

static inline const uint8_t *oor_filter_line(const uint8_t *lines, uint32_t line_count,
                                             uint64_t hash) {
    return lines + ((hash >> 32) * line_count >> 32) * OOR_FILTER_LINE;
}

/* 0: the key was never added.  1: it probably was. */
static inline int oor_filter_may_hold(const uint8_t *lines, uint32_t line_count, uint32_t probes,
                                      uint64_t hash) {
    const uint8_t *line = oor_filter_line(lines, line_count, hash);
    uint32_t h = (uint32_t)hash, all = 1;
    for (uint32_t i = 0; i < probes; i++) {
        uint32_t bit = h >> 23;
        all &= (uint32_t)line[bit >> 3] >> (bit & 7);
        h *= 0x9E3779B9u;
    }
    return (int)(all & 1);
}

#endif
