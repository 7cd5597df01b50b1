/* table.c: any bytes as a table file whose checksums are made right, opened, verified and read.
 *
 * input := how:u8 probe_size:u8 probe bytes
 * how   := bit 0: the footer's fixed fields and its checksum are made right; bit 1: the checksums
 *          of filter, index and properties; bit 2: those of the blocks that the index names; bit 3:
 *          the number of bytes that a prefix filter takes goes into the version */
#include "memory_disk.h"
#include "table.h"

#include <stdlib.h>

enum { NUMBER = 9 };

static void seal(uint8_t *file, size_t size, uint64_t offset, uint64_t section_size) {
    if (section_size < OOR_SECTION_TRAILER_SIZE || offset > size || section_size > size - offset)
        return;
    uint8_t salt[16], *section = file + offset;
    oor_store64(salt, NUMBER);
    oor_store64(salt + 8, offset);
    section[section_size - OOR_SECTION_TRAILER_SIZE] &=
        3; /* codecs there are, and one there is not */
    uint32_t crc = oor_crc32c(oor_crc32c(0, salt, sizeof salt), section, (size_t)section_size - 4);
    oor_store32(section + section_size - 4, oor_crc32c_mask(crc));
}

static void seal_blocks(uint8_t *file, size_t size, uint64_t index_at, uint64_t index_size) {
    if (index_at > size || index_size > size - index_at || index_size < OOR_SECTION_TRAILER_SIZE)
        return;
    const uint8_t *p = file + index_at, *end = p + index_size - OOR_SECTION_TRAILER_SIZE;
    uint64_t offset = 0;
    while (end - p >= OOR_INDEX_ENTRY_SIZE_MIN && offset < index_at) {
        uint32_t block_size = oor_load32(p), fence_size = oor_load16(p + 4);
        if (block_size > index_at - offset) break;
        seal(file, size, offset, block_size);
        offset += block_size;
        p += OOR_INDEX_ENTRY_SIZE_MIN;
        if ((size_t)(end - p) < fence_size) break;
        p += fence_size;
    }
}

static void heal(uint8_t *file, size_t size, unsigned how) {
    if (size < OOR_FOOTER_SIZE) return;
    uint8_t *footer = file + size - OOR_FOOTER_SIZE;
    if (how & 1) {
        oor_store64(footer + FOOTER_NUMBER, NUMBER);
        oor_store64(footer + FOOTER_FILE_SIZE, size);
        oor_store32(footer + FOOTER_VERSION, how & 8 ? OOR_TABLE_FORMAT_PREFIX : OOR_TABLE_FORMAT);
        memcpy(footer + FOOTER_MAGIC, OOR_TABLE_MAGIC, sizeof OOR_TABLE_MAGIC);
        oor_store32(footer + FOOTER_CRC, oor_footer_crc(footer));
    }
    if (how & 4)
        seal_blocks(file, size, oor_load64(footer + FOOTER_INDEX_OFFSET),
                    oor_load64(footer + FOOTER_INDEX_SIZE));
    if (how & 2)
        for (int field = FOOTER_FILTER_OFFSET; field <= FOOTER_PROPS_OFFSET; field += 16)
            seal(file, size, oor_load64(footer + field), oor_load64(footer + field + 8));
}

static void walk(const oor_version *version, uint32_t flags, const uint8_t *start, size_t size,
                 oor_buffer *out) {
    oor_merge *merge = oor_merge_new(version, start, size, NULL, 0, flags);
    if (!merge) { /* the first block does not verify */
        int code = oor_last_error()->code;
        REQUIRE(code == OOR_E_CORRUPT || code == OOR_E_FORMAT || code == OOR_E_CODEC);
        return;
    }
    int rc, steps = 0;
    while ((rc = oor_merge_next(merge, 16, out)) == OOR_MERGE_MORE) REQUIRE(++steps < 1 << 16);
    REQUIRE(rc == OOR_MERGE_END || rc < 0);
    oor_merge_free(merge);
}

static void read_table(oor_table *table, const uint8_t *probe, size_t probe_size) {
    static oor_buffer *out;
    if (!out) out = oor_buffer_new();
    oor_table_props props;
    oor_table_read_props(table, &props);
    int whole = oor_table_verify(table) == 0;
    uint32_t level = 1;
    oor_version *version = oor_version_new(&table, &level, 1);
    REQUIRE(version);
    char room[4096];
    oor_reader reader = {version, room, sizeof room};
    int64_t smallest = oor_read(&reader, (const char *)props.smallest, props.smallest_size);
    if (whole) REQUIRE(smallest == OOR_READ_DELETED || smallest >= 0);
    oor_read(&reader, (const char *)probe, probe_size);
    walk(version, OOR_MERGE_NO_WINDOW, NULL, 0, out);
    walk(version, OOR_MERGE_NO_WINDOW | OOR_MERGE_HAS_START, probe, probe_size, out);
    walk(version, OOR_MERGE_NO_WINDOW | OOR_MERGE_REVERSE, NULL, 0, out);
    oor_version_free(version);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int ready;
    static oor_cache *cache;
    if (!ready++) {
        memory_disk_install();
        cache = oor_cache_new(1 << 16);
    }
    input in = {data, size};
    unsigned how = (unsigned)take(&in, 1);
    size_t probe_size = (size_t)take(&in, 1) % 32;
    const uint8_t *probe = take_span(&in, &probe_size);
    uint8_t *file = malloc(in.size ? in.size : 1);
    REQUIRE(file);
    memcpy(file, in.data, in.size);
    heal(file, in.size, how);
    memory_disk_put("table", file, in.size);
    oor_table *table;
    if (oor_table_open("table", NUMBER, in.size, 0, cache, &table) >= 0) {
        read_table(table, probe, probe_size);
        oor_table_close(table);
    }
    memory_disk_put("table", NULL, 0);
    free(file);
    return 0;
}
