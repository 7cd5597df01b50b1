/* scan_many.c: the first pairs of many ranges in one call, as a pickle (pickle.h).
 *
 * answer := list of list*              the pairs of each range, in the order asked
 * list   := ']' '(' pair* 'e'          pair := key value tuple2
 * bounds := (start stop)*               one behind the other, with two sizes a range
 *
 * Each range is a walk of its own (merge.c): a bisection of every table that may hold it. */
#include "pickle.h"

#include <stdlib.h>

/* The pickle that a walk writes is its list, between 0x80 0x03 and '.'. */
enum { HEAD = 2, TAIL = 1 };

static int add(oor_buffer *out, const oor_buffer *walked) {
    size_t list = walked->size - HEAD - TAIL;
    int rc = oor_buffer_reserve(out, list);
    if (rc >= 0) oor_pickle_raw(out, (const char *)walked->data + HEAD, list);
    return rc;
}

static int scan_all(const oor_version *version, uint64_t count, const uint8_t *bounds,
                    const uint32_t *sizes, uint32_t flags, uint32_t pairs, uint32_t group,
                    oor_buffer *walked, oor_buffer *out) {
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *start = bounds, *stop = bounds + sizes[2 * i];
        bounds = stop + sizes[2 * i + 1];
        int rc =
            oor_version_scan_group(version, (const char *)start, sizes[2 * i], (const char *)stop,
                                   sizes[2 * i + 1], flags, pairs, group, walked);
        if (rc >= 0) rc = add(out, walked);
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
    out->size = 0;
    int rc = oor_buffer_reserve(out, OOR_PICKLE_FRAME_ROOM);
    if (rc < 0) return rc;
    oor_pickle_raw(out, "\x80\x03](", 4);
    oor_buffer *walked = oor_buffer_new();
    if (!walked) return oor_fail(OOR_E_MEMORY, NULL, "no memory for a walk");
    uint32_t flags = OOR_MERGE_HAS_START | OOR_MERGE_HAS_STOP | OOR_MERGE_TUPLES |
                     (reverse ? OOR_MERGE_REVERSE : 0);
    rc = scan_all(version, count, bounds, sizes, flags, pairs, group, walked, out);
    oor_buffer_free(walked);
    if (rc < 0) return rc;
    rc = oor_buffer_reserve(out, OOR_PICKLE_FRAME_ROOM);
    if (rc < 0) return rc;
    oor_pickle_raw(out, "e.", 2);
    return 0;
}
