/* table.h: an open table: its footer, its pinned index and filter, its blocks.
 *
 * Ownership: a table counts its holders (versions, merges, compactions, the caller of
 *            oor_table_open); the last one to let go closes the file.  A table holds its cache.
 * Threads:   everything but open and the last release is safe for all callers at once.
 * Invariants:
 * (1) What is pinned was verified when the table was opened and never changes.
 * (2) fence[i] <= every key of block i < fence[i + 1]; fence[0] is empty.
 * (3) Sections lie one behind the other and cover the file: block*, filter, index, properties,
 *     footer. */
#ifndef OOR_TABLE_H
#define OOR_TABLE_H

#include <stdatomic.h>

#include "block.h"
#include "cache.h"
#include "filter.h"

/* The footer: the last OOR_FOOTER_SIZE bytes; size and place of the checksum are those of every
 * version. */
enum {
    FOOTER_FILTER_OFFSET = 0,
    FOOTER_FILTER_SIZE = FOOTER_FILTER_OFFSET + 8, /* with trailer; 0: no filter */
    FOOTER_INDEX_OFFSET = FOOTER_FILTER_SIZE + 8,
    FOOTER_INDEX_SIZE = FOOTER_INDEX_OFFSET + 8,
    FOOTER_PROPS_OFFSET = FOOTER_INDEX_SIZE + 8,
    FOOTER_PROPS_SIZE = FOOTER_PROPS_OFFSET + 8,
    FOOTER_NUMBER = FOOTER_PROPS_SIZE + 8,
    FOOTER_FILE_SIZE = FOOTER_NUMBER + 8,
    FOOTER_UID = FOOTER_FILE_SIZE + 8,
    FOOTER_VERSION = FOOTER_UID + 8,
    FOOTER_CRC = FOOTER_VERSION + 4, /* of the bytes before it and the magic behind it */
    FOOTER_MAGIC = FOOTER_CRC + 4,
    OOR_FOOTER_SIZE = FOOTER_MAGIC + 8
};
_Static_assert(OOR_FOOTER_SIZE == 88, "docs/formats/table.md promises a footer of 88 bytes");

enum {
    PROPS_ENTRIES = 0,
    PROPS_TOMBSTONES = PROPS_ENTRIES + 8,
    PROPS_KEY_BYTES = PROPS_TOMBSTONES + 8,
    PROPS_VALUE_BYTES = PROPS_KEY_BYTES + 8,
    PROPS_BLOCKS = PROPS_VALUE_BYTES + 8,
    PROPS_FIRST_LSN = PROPS_BLOCKS + 8,
    PROPS_LAST_LSN = PROPS_FIRST_LSN + 8,
    PROPS_SMALLEST_SIZE = PROPS_LAST_LSN + 8,
    PROPS_LARGEST_SIZE = PROPS_SMALLEST_SIZE + 4,
    OOR_PROPS_SIZE_MIN = PROPS_LARGEST_SIZE + 4, /* then smallest, largest */
    PROPS_CODEC = OOR_PROPS_SIZE_MIN,            /* in a packed table, before the keys */
    OOR_PROPS_SIZE_PACKED = PROPS_CODEC + 4
};
_Static_assert(OOR_PROPS_SIZE_MIN == 64, "docs/formats/table.md promises 64 bytes before the keys");

/* The oldest version that describes a table is the one it is written as: 2 with a prefix filter, 3
 * with packed blocks. */
enum { OOR_TABLE_FORMAT = 1, OOR_TABLE_FORMAT_PREFIX = 2, OOR_TABLE_FORMAT_PACKED = 3 };

/* Where the keys lie in the properties. */
static inline uint32_t oor_props_keys(uint32_t version) {
    return version == OOR_TABLE_FORMAT_PACKED ? OOR_PROPS_SIZE_PACKED : OOR_PROPS_SIZE_MIN;
}
enum { OOR_INDEX_ENTRY_SIZE_MIN = 6 /* block_size:u32 fence_size:u16 */ };
static const uint8_t OOR_TABLE_MAGIC[8] = {'o', 'o', 'r', 't', 'a', 'b', 'l', 'e'};

/* uid := number ^ U, then mixed with the stored checksum of each section in file order; never 0. */
static inline uint64_t oor_uid_start(uint64_t number) { return number ^ 0x1F83D9ABFB41BD6Bu; }
static inline uint64_t oor_uid_add(uint64_t uid, uint32_t crc) {
    return oor_mix(uid ^ crc, 0x5BE0CD19137E2179u) + 1;
}
static inline uint64_t oor_uid_end(uint64_t uid) { return uid ? uid : 1; }

static inline uint32_t oor_footer_crc(const uint8_t *footer) {
    return oor_crc32c_mask(oor_crc32c(oor_crc32c(0, footer, FOOTER_CRC), footer + FOOTER_MAGIC,
                                      OOR_FOOTER_SIZE - FOOTER_MAGIC));
}

struct oor_table {
    /* What a lookup touches comes first. */
    const uint8_t *filter; /* NULL: none */
    uint32_t filter_lines;
    uint32_t filter_probes;
    uint32_t prefix_size; /* the filter holds so many first bytes of each key; 0: none */
    uint32_t version;     /* of the file's format */
    uint32_t codec;       /* of its packed blocks */
    uint64_t *prefixes;   /* of each fence, behind the bytes that fences have in common */
    oor_slot *slots;      /* of each block, in the cache */
    uint32_t block_count;
    uint32_t common_size; /* how many bytes all fences but the empty first one have in common */
    uint32_t *fences;     /* offset of each fence in `index`; its size is the u16 before it */
    uint64_t *offsets;    /* of each block in the file, and the end of the last */
    const uint8_t *index; /* the payload */
    oor_cache *cache;
    uint64_t smallest_prefix;
    uint64_t largest_prefix;
    int fd;
    char *path;
    oor_table_props props;
    uint8_t *filter_section;
    uint8_t *index_section;
    uint8_t *props_section;
    uint64_t filter_offset;
    uint64_t filter_section_size;
    uint64_t index_offset;
    uint64_t index_section_size;
    uint64_t props_offset;
    uint64_t props_section_size;
    uint64_t pinned;
    atomic_uint_least32_t holders;
};

void oor_table_hold(oor_table *table);
void oor_table_release(oor_table *table);

/* Index of the block that holds `key`, if any does. */
uint32_t oor_table_find_block(const oor_table *table, const uint8_t *key, size_t key_size,
                              uint64_t prefix);
/* Block `at` through the cache, held for the caller until oor_cached_release; NULL: an error is
 * set. */
oor_cached *oor_table_block(oor_table *table, uint32_t at);
/* Says how the payload of a verified block is packed, or that it must not be so.  The size of its
 * content, or an error. */
int64_t oor_table_content(const oor_table *table, const oor_place *place, uint32_t codec,
                          const uint8_t *payload, size_t size);
/* The same if the cache has it, without an error otherwise; `counters` are the calling thread's. */
oor_cached *oor_table_block_cached(oor_table *table, uint32_t at, atomic_uint_least64_t *counters);
/* oor_table_block for such a caller. */
oor_cached *oor_table_block_counted(oor_table *table, uint32_t at, atomic_uint_least64_t *counters);
/* Looks `key` up in a block: OOR_FOUND, with a value that lies in the block, OOR_DELETED or
 * OOR_ABSENT. */
int oor_cached_find(const oor_cached *cached, const uint8_t *key, size_t key_size, uint64_t hash,
                    oor_value *out);

/* 0: by its filter, the table has no key of this hash. */
static inline int oor_table_passes(const oor_table *table, uint64_t hash,
                                   atomic_uint_least64_t *counters) {
    if (!table->filter) return 1;
    oor_count(counters, COUNT_CHECKS);
    if (oor_filter_may_hold(table->filter, table->filter_lines, table->filter_probes, hash))
        return 1;
    oor_count(counters, COUNT_SKIPS);
    return 0;
}

/* 0: the table has no key of these bytes and, with prefix_size of them, none that begins so.
 * REQUIRES: table->filter. */
static inline int oor_table_may_hold(const oor_table *table, const uint8_t *key, size_t size) {
    return oor_filter_may_hold(table->filter, table->filter_lines, table->filter_probes,
                               oor_hash(key, size));
}

static inline oor_place oor_table_place(const oor_table *table, uint32_t at) {
    return (oor_place){table->path, table->props.number, table->offsets[at]};
}

static inline const uint8_t *oor_table_fence(const oor_table *table, uint32_t at, uint32_t *size) {
    const uint8_t *fence = table->index + table->fences[at];
    *size = oor_load16(fence - 2);
    return fence;
}

/* < 0: the key is below the table's range; > 0: above it; 0: within. */
static inline int oor_table_range(const oor_table *table, const uint8_t *key, size_t key_size,
                                  uint64_t prefix) {
    if (prefix > table->smallest_prefix && prefix < table->largest_prefix) return 0;
    const oor_table_props *props = &table->props;
    if (oor_compare(key, key_size, props->smallest, props->smallest_size) < 0) return -1;
    return oor_compare(key, key_size, props->largest, props->largest_size) > 0;
}

#endif
