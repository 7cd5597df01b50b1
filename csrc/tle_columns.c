/* tle_columns.c: scanned element sets as the keys and values of a store.
 *
 * key   := kind:u8 number:u32 epoch:u64 source:u16 digest:u64          integers big-endian
 * value := lsn:u64 format:u8 flags:u8 text                             the LSN little-endian
 * kind     0x10, the records that are element sets
 * number   catalog number
 * epoch    microseconds since 1970 UTC with the sign bit flipped: byte order is time order
 * source   id of the source; 0: none named
 * digest   of the element fields (tle_line.c)
 * lsn      0 here; the log puts in the LSN of the mutation
 * format   1, lines of text
 * flags    1: the first line is a name line
 * text     the lines of the set with their ends, byte for byte */
#include "tle.h"

enum {
    KEY_KIND = 0,
    KEY_NUMBER = KEY_KIND + 1,
    KEY_EPOCH = KEY_NUMBER + 4,
    KEY_SOURCE = KEY_EPOCH + 8,
    KEY_DIGEST = KEY_SOURCE + 2,
    KEY_SIZE = KEY_DIGEST + 8
};
enum {
    VALUE_LSN = 0,
    VALUE_FORMAT = VALUE_LSN + 8,
    VALUE_FLAGS = VALUE_FORMAT + 1,
    VALUE_TEXT = VALUE_FLAGS + 1
};
_Static_assert((int)KEY_SIZE == (int)OOR_TLE_KEY_SIZE, "the header names the size of a key");
_Static_assert((int)VALUE_TEXT == (int)OOR_TLE_VALUE_HEADER_SIZE,
               "the header names where the text begins");
enum { KIND_ELEMENT_SET = 0x10, FORMAT_INDEX = 1 };

void oor_tle_store_big(uint8_t *out, uint64_t value, int size) {
    for (int i = size - 1; i >= 0; i--, value >>= 8) out[i] = (uint8_t)value;
}

uint64_t oor_tle_load_big(const uint8_t *from, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; i++) value = value << 8 | from[i];
    return value;
}

void oor_tle_write_key(const oor_tle_set *set, uint16_t source, uint8_t *out) {
    out[KEY_KIND] = KIND_ELEMENT_SET;
    oor_tle_store_big(out + KEY_NUMBER, set->catalog_number, 4);
    oor_tle_store_big(out + KEY_EPOCH, (uint64_t)set->epoch_us ^ (uint64_t)1 << 63, 8);
    oor_tle_store_big(out + KEY_SOURCE, source, 2);
    oor_tle_store_big(out + KEY_DIGEST, set->digest, 8);
}

void oor_tle_record_header(uint8_t *out) {
    oor_store64(out, 0);
    out[OOR_TLE_RECORD_HEADER_SIZE - 1] = FORMAT_INDEX;
}

void oor_tle_write_value(const uint8_t *text, const oor_tle_set *set, uint8_t *out) {
    oor_store64(out + VALUE_LSN, 0);
    out[VALUE_FORMAT] = OOR_TLE_FORMAT_TEXT;
    out[VALUE_FLAGS] = (uint8_t)set->flags;
    memcpy(out + VALUE_TEXT, text + set->offset, set->size);
}

int64_t oor_tle_columns(const uint8_t *text, size_t size, uint64_t count, const oor_tle_set *sets,
                        const uint8_t *keep, uint16_t source, uint8_t *keys, uint32_t *value_sizes,
                        uint8_t *values, size_t values_capacity) {
    size_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (keep && !keep[i]) continue;
        const oor_tle_set *set = &sets[i];
        if (set->offset > size || set->size > size - set->offset)
            return oor_fail(OOR_E_LIMIT, NULL, "set %llu is not in the text",
                            (unsigned long long)i);
        size_t value_size = VALUE_TEXT + (size_t)set->size;
        if (values) {
            if (value_size > values_capacity - at)
                return oor_fail(OOR_E_LIMIT, NULL, "%zu bytes are too few for the values",
                                values_capacity);
            oor_tle_write_value(text, set, values + at);
        }
        if (keys) {
            oor_tle_write_key(set, source, keys);
            keys += KEY_SIZE;
        }
        if (value_sizes) *value_sizes++ = (uint32_t)value_size;
        at += value_size;
    }
    return (int64_t)at;
}
