/* scan_many.c: the first pairs of many ranges in one call, as a list (marshal.h).
 *
 * answer := list of list               the pairs of each range, in the order asked
 * bounds := (start stop)*               one behind the other, with two sizes a range
 *
 * Each range is a walk of its own (merge.c): a bisection of every table that may hold it. */
#include "marshal.h"

#include <stdlib.h>

static int scan_all(const oor_version *version, uint64_t count, const uint8_t *bounds,
                    const uint32_t *sizes, uint32_t flags, uint32_t pairs, uint32_t group,
                    oor_buffer *walked, oor_buffer *out) {
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *start = bounds, *stop = bounds + sizes[2 * i];
        bounds = stop + sizes[2 * i + 1];
        int rc = oor_version_scan(version, (const char *)start, sizes[2 * i], (const char *)stop,
                                  sizes[2 * i + 1], flags, pairs, group, walked);
        if (rc >= 0) rc = oor_buffer_add(out, walked->data, walked->size);
        if (rc < 0) return rc;
    }
    return 0;
}

int oor_version_scan_many(const oor_version *version, uint64_t count, const uint8_t *bounds,
                          size_t bounds_size, const uint32_t *sizes, int reverse, uint32_t pairs,
                          uint32_t group, oor_buffer *out) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 2 * count; i++) sum += sizes[i];
    if (sum != bounds_size)
        return oor_fail(OOR_E_LIMIT, NULL, "the sizes add up to %llu bytes, the bounds hold %zu",
                        (unsigned long long)sum, bounds_size);
    if (count > INT32_MAX)
        return oor_fail(OOR_E_LIMIT, NULL, "%llu ranges", (unsigned long long)count);
    out->size = 0;
    int rc = oor_buffer_reserve(out, OOR_MARSHAL_FRAME_ROOM);
    if (rc < 0) return rc;
    size_t begun = oor_marshal_list_begin(out);
    oor_buffer *walked = oor_buffer_new();
    if (!walked) return oor_fail(OOR_E_MEMORY, NULL, "no memory for a walk");
    uint32_t flags = OOR_MERGE_HAS_START | OOR_MERGE_HAS_STOP | OOR_MERGE_TUPLES |
                     (reverse ? OOR_MERGE_REVERSE : 0);
    rc = scan_all(version, count, bounds, sizes, flags, pairs, group, walked, out);
    oor_buffer_free(walked);
    if (rc >= 0) oor_marshal_list_end(out, begun, (size_t)count);
    return rc;
}
