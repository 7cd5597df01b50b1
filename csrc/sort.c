/* sort.c: radix over 8 bytes of each key, then comparison where those are equal.  In memory
 * only. */
#include "sort.h"

#include <stdlib.h>

#include "block.h"

static int compare_refs(const void *left, const void *right) {
    const oor_key_ref *a = left, *b = right;
    int order = oor_compare(a->key, a->key_size, b->key, b->key_size);
    if (order) return order;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* How many bytes all keys start with. */
static uint32_t common_size(const oor_key_ref *refs, size_t count) {
    uint32_t common = refs[0].key_size;
    for (size_t i = 1; i < count && common; i++) {
        if (refs[i].key_size < common) common = refs[i].key_size;
        while (common && memcmp(refs[0].key, refs[i].key, common) != 0) common--;
    }
    return common;
}

static void sort_equal_prefixes(oor_key_ref *refs, size_t count) {
    for (size_t start = 0; start < count;) {
        size_t end = start + 1;
        while (end < count && refs[end].prefix == refs[start].prefix) end++;
        if (end - start > 1) qsort(refs + start, end - start, sizeof *refs, compare_refs);
        start = end;
    }
}

void oor_sort_keys(oor_key_ref *refs, oor_key_ref *spare, size_t count) {
    if (count < 2) return;
    if (count < 64) { /* counting 8 x 256 digits costs more than it saves */
        qsort(refs, count, sizeof *refs, compare_refs);
        return;
    }
    uint32_t digits[8][256] = {{0}};
    uint32_t common = common_size(refs, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t prefix = oor_key_prefix(refs[i].key + common, refs[i].key_size - common);
        refs[i].prefix = prefix;
        for (int d = 0; d < 8; d++) digits[d][prefix >> (8 * d) & 255]++;
    }
    oor_key_ref *from = refs, *to = spare;
    for (int d = 0; d < 8; d++) {
        if (digits[d][from[0].prefix >> (8 * d) & 255] == count) continue; /* all the same */
        uint32_t place = 0;
        for (int v = 0; v < 256; v++) {
            uint32_t of_digit = digits[d][v];
            digits[d][v] = place;
            place += of_digit;
        }
        for (size_t i = 0; i < count; i++)
            to[digits[d][from[i].prefix >> (8 * d) & 255]++] = from[i];
        oor_key_ref *swap = from;
        from = to;
        to = swap;
    }
    if (from != refs) memcpy(refs, from, count * sizeof *refs);
    sort_equal_prefixes(refs, count);
}
