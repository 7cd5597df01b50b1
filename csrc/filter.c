/* filter.c: sizes a filter and adds keys to it; the probe itself is in filter.h.
 *
 * filter     := line{line_count} line_count:u32 probes:u8 hash:u8 prefix_size:u16
 * line       := 64 bytes; bit b is bit b % 8 of byte b / 8
 * line of h  := (h >> 32) * line_count >> 32
 * bits of h  := g = low 32 bits of h; each probe: bit g >> 23; g = g * 0x9E3779B9 mod 2^32 */
#include "filter.h"

uint32_t oor_filter_lines(uint64_t keys, uint32_t bits) {
    assert(bits > 0);
    uint64_t lines = (keys * bits + OOR_FILTER_LINE * 8 - 1) / (OOR_FILTER_LINE * 8);
    if (lines < 1) lines = 1;
    return lines > UINT32_MAX / OOR_FILTER_LINE ? UINT32_MAX / OOR_FILTER_LINE : (uint32_t)lines;
}

uint32_t oor_filter_probes(uint32_t bits) {
    /* ln 2 probes a bit is best for one big filter; lines fill unevenly and want a little less. */
    uint32_t probes = (bits * 5 + 4) / 8;
    if (probes < 1) return 1;
    return probes > OOR_FILTER_PROBES_MAX ? OOR_FILTER_PROBES_MAX : probes;
}

void oor_filter_add(uint8_t *lines, uint32_t line_count, uint32_t probes, uint64_t hash) {
    uint8_t *line = lines + ((hash >> 32) * line_count >> 32) * OOR_FILTER_LINE;
    uint32_t h = (uint32_t)hash;
    for (uint32_t i = 0; i < probes; i++) {
        uint32_t bit = h >> 23;
        line[bit >> 3] = (uint8_t)(line[bit >> 3] | 1u << (bit & 7));
        h *= 0x9E3779B9u;
    }
}
