/* columns.c: pairs that lie one behind the other in memory, with their sizes beside them.
 *
 * columns := keys: bytes*  key_sizes: u32*  values: bytes*  value_sizes: u32*
 * A value size of 0xFFFFFFFF marks a deletion and takes no bytes.  In memory only. */
#include <stdlib.h>

#include "filter.h"
#include "marshal.h"

int oor_columns_check(uint64_t count, size_t keys_size, const uint32_t *key_sizes,
                      size_t values_size, const uint32_t *value_sizes) {
    uint64_t keys_sum = 0, values_sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (key_sizes[i] > OOR_KEY_SIZE_MAX)
            return oor_fail(OOR_E_LIMIT, NULL, "key %llu is %u bytes long, the limit is %d",
                            (unsigned long long)i, key_sizes[i], OOR_KEY_SIZE_MAX);
        keys_sum += key_sizes[i];
        if (!value_sizes || value_sizes[i] == OOR_TOMBSTONE) continue;
        if (value_sizes[i] > OOR_VALUE_SIZE_MAX)
            return oor_fail(OOR_E_LIMIT, NULL, "value %llu is %u bytes long, the limit is %d",
                            (unsigned long long)i, value_sizes[i], OOR_VALUE_SIZE_MAX);
        values_sum += value_sizes[i];
    }
    if (keys_sum != keys_size || values_sum != values_size)
        return oor_fail(OOR_E_LIMIT, NULL,
                        "the sizes add up to %llu and %llu bytes, the columns hold %zu and %zu",
                        (unsigned long long)keys_sum, (unsigned long long)values_sum, keys_size,
                        values_size);
    return 0;
}

/* Whether a hash is in the table; with `add` it is afterwards.  0 marks a free slot. */
static int meets(uint64_t *table, size_t slots, uint64_t hash, int add) {
    hash |= 1;
    size_t at = hash >> 32 & (slots - 1);
    while (table[at] && table[at] != hash) at = (at + 1) & (slots - 1);
    int found = table[at] == hash;
    if (add) table[at] = hash;
    return found;
}

int oor_columns_share_key(uint64_t count, const uint8_t *keys, size_t keys_size,
                          const uint32_t *key_sizes, uint64_t other_count, const uint8_t *others,
                          size_t others_size, const uint32_t *other_sizes) {
    int rc = oor_columns_check(count, keys_size, key_sizes, 0, NULL);
    if (rc >= 0) rc = oor_columns_check(other_count, others_size, other_sizes, 0, NULL);
    if (rc < 0) return rc;
    size_t slots = 16;
    while (slots / 2 < other_count) slots *= 2;
    uint64_t *table = calloc(slots, sizeof *table);
    if (!table) return oor_fail(OOR_E_MEMORY, NULL, "no memory for %zu slots", slots);
    for (uint64_t i = 0; i < other_count; others += other_sizes[i++])
        meets(table, slots, oor_hash(others, other_sizes[i]), 1);
    int found = 0;
    for (uint64_t i = 0; i < count && !found; keys += key_sizes[i++])
        found = meets(table, slots, oor_hash(keys, key_sizes[i]), 0);
    free(table);
    return found;
}

int oor_columns_to_dict(uint64_t count, const uint8_t *keys, size_t keys_size,
                        const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                        const uint32_t *value_sizes, oor_buffer *out) {
    int rc = oor_columns_check(count, keys_size, key_sizes, values_size, value_sizes);
    if (rc < 0) return rc;
    out->size = 0;
    rc = oor_buffer_reserve(out, OOR_MARSHAL_FRAME_ROOM + keys_size + values_size +
                                     (size_t)count * 2 * OOR_MARSHAL_BYTES_ROOM);
    if (rc < 0) return rc;
    oor_marshal_dict_begin(out);
    for (uint64_t i = 0; i < count; i++) {
        oor_marshal_bytes(out, keys, key_sizes[i]);
        keys += key_sizes[i];
        if (value_sizes[i] == OOR_TOMBSTONE) {
            oor_marshal_none(out);
        } else {
            oor_marshal_bytes(out, values, value_sizes[i]);
            values += value_sizes[i];
        }
    }
    oor_marshal_dict_end(out);
    return 0;
}
