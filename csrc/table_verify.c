/* table_verify.c: reads every byte of a table again, or block by block what of it is whole.  The
 * bytes: table_read.c. */
#include <stdlib.h>

#include "cursor.h"
#include "marshal.h"

static int damaged(const oor_table *table, uint64_t offset, const char *what) {
    return oor_fail_damage(table->path, offset, "%s", what);
}

/* What the walk has added up. */
typedef struct {
    uint64_t entries, tombstones, key_bytes, value_bytes, uid;
    oor_buffer last_key;
} tally;

static int count_entry(const oor_table *table, uint32_t at, const oor_cursor *cursor, tally *sums) {
    uint64_t offset = table->offsets[at];
    const oor_buffer *last = &sums->last_key;
    if (sums->entries && oor_compare(last->data, last->size, cursor->key, cursor->key_size) >= 0)
        return damaged(table, offset, "keys out of order");
    uint32_t fence_size;
    const uint8_t *fence = oor_table_fence(table, at, &fence_size);
    if (oor_compare(fence, fence_size, cursor->key, cursor->key_size) > 0)
        return damaged(table, offset, "a key below its block's fence");
    if (at + 1 < table->block_count) {
        fence = oor_table_fence(table, at + 1, &fence_size);
        if (oor_compare(fence, fence_size, cursor->key, cursor->key_size) <= 0)
            return damaged(table, offset, "a key at or above the next block's fence");
    }
    if (table->filter && !oor_table_may_hold(table, cursor->key, cursor->key_size))
        return damaged(table, offset, "a key that the filter denies");
    if (table->prefix_size && cursor->key_size >= table->prefix_size &&
        !oor_table_may_hold(table, cursor->key, table->prefix_size))
        return damaged(table, offset, "a key whose prefix the filter denies");
    const oor_table_props *props = &table->props;
    if (sums->entries == 0 &&
        oor_compare(cursor->key, cursor->key_size, props->smallest, props->smallest_size) != 0)
        return damaged(table, offset, "another smallest key than the properties say");
    sums->entries++;
    sums->key_bytes += cursor->key_size;
    sums->tombstones += cursor->value_size == OOR_TOMBSTONE;
    sums->value_bytes += cursor->value_size == OOR_TOMBSTONE ? 0 : cursor->value_size;
    sums->last_key.size = 0;
    int rc = oor_buffer_reserve(&sums->last_key, cursor->key_size);
    if (rc < 0) return rc;
    if (cursor->key_size) memcpy(sums->last_key.data, cursor->key, cursor->key_size);
    sums->last_key.size = cursor->key_size;
    return 0;
}

/* Reads a section from the disk again and adds its checksum to the uid. */
static int verify_section(const oor_table *table, uint64_t offset, uint64_t size, tally *sums) {
    if (size == 0) return 0;
    uint8_t *section = malloc((size_t)size);
    if (!section)
        return oor_fail(OOR_E_MEMORY, table->path, "no memory for %llu bytes",
                        (unsigned long long)size);
    int64_t got = oor_io_read(table->fd, table->path, section, (size_t)size, offset);
    int rc = got < 0                 ? (int)got
             : (uint64_t)got != size ? damaged(table, offset, "the file ends early")
                                     : 0;
    size_t payload_size;
    uint32_t codec;
    oor_place place = {table->path, table->props.number, offset};
    if (rc >= 0) rc = oor_section_check(&place, section, (size_t)size, &codec, &payload_size);
    if (rc >= 0) sums->uid = oor_uid_add(sums->uid, oor_load32(section + size - 4));
    free(section);
    return rc;
}

static int verify_footer(const oor_table *table) {
    uint8_t footer[OOR_FOOTER_SIZE];
    uint64_t offset = table->props.file_size - OOR_FOOTER_SIZE;
    int64_t got = oor_io_read(table->fd, table->path, footer, sizeof footer, offset);
    if (got < 0) return (int)got;
    if (got != OOR_FOOTER_SIZE || oor_load32(footer + FOOTER_CRC) != oor_footer_crc(footer) ||
        oor_load64(footer + FOOTER_UID) != table->props.uid)
        return damaged(table, offset, "the footer has changed since the table was opened");
    return 0;
}

static int verify_blocks(oor_table *table, tally *sums) {
    oor_cursor cursor;
    oor_cursor_init(&cursor, &table, 1, 0, OOR_CURSOR_PAST);
    uint32_t counted = UINT32_MAX;
    int rc = oor_cursor_seek(&cursor, NULL, 0);
    while (rc >= 0 && cursor.valid) {
        if (cursor.block_at != counted) {
            const uint8_t *end =
                cursor.ahead + (table->offsets[cursor.block_at + 1] - cursor.ahead_offset);
            sums->uid = oor_uid_add(sums->uid, oor_load32(end - 4));
            counted = cursor.block_at;
        }
        rc = count_entry(table, cursor.block_at, &cursor, sums);
        if (rc >= 0) rc = oor_cursor_next(&cursor);
    }
    oor_cursor_clear(&cursor);
    return rc;
}

static int check_sums(const oor_table *table, const tally *sums) {
    const oor_table_props *props = &table->props;
    uint64_t offset = table->props_offset;
    if (sums->entries != props->entries || sums->tombstones != props->tombstones ||
        sums->key_bytes != props->key_bytes || sums->value_bytes != props->value_bytes)
        return damaged(table, offset, "other counts than the properties say");
    if (oor_compare(sums->last_key.data, sums->last_key.size, props->largest,
                    props->largest_size) != 0)
        return damaged(table, offset, "another largest key than the properties say");
    if (oor_uid_end(sums->uid) != props->uid)
        return damaged(table, offset, "another uid than the footer says");
    return 0;
}

int oor_table_verify(oor_table *table) {
    tally sums = {.uid = oor_uid_start(table->props.number)};
    int rc = verify_blocks(table, &sums);
    if (rc >= 0)
        rc = verify_section(table, table->filter_offset, table->filter_section_size, &sums);
    if (rc >= 0) rc = verify_section(table, table->index_offset, table->index_section_size, &sums);
    if (rc >= 0) rc = verify_section(table, table->props_offset, table->props_section_size, &sums);
    if (rc >= 0) rc = verify_footer(table);
    if (rc >= 0) rc = check_sums(table, &sums);
    oor_buffer_clear(&sums.last_key);
    return rc;
}

int oor_table_block_pairs(oor_table *table, uint64_t at, oor_buffer *out) {
    if (at >= table->block_count)
        return oor_fail(OOR_E_LIMIT, table->path, "block %llu of %u", (unsigned long long)at,
                        table->block_count);
    oor_cached *cached = oor_table_block(table, (uint32_t)at);
    if (!cached) return oor_last_error()->code;
    out->size = 0;
    int rc = oor_buffer_reserve(out, OOR_MARSHAL_FRAME_ROOM);
    if (rc >= 0) oor_marshal_dict_begin(out);
    for (uint32_t i = 0; rc >= 0 && i < cached->block.count; i++) {
        uint8_t key[OOR_KEY_SIZE_MAX];
        oor_entry entry;
        oor_block_entry(&cached->block, i, &entry);
        uint32_t key_size = oor_entry_key_size(&entry);
        int deleted = entry.value_size == OOR_TOMBSTONE;
        rc = oor_buffer_reserve(out, (size_t)key_size + (deleted ? 0 : entry.value_size) +
                                         2 * OOR_MARSHAL_BYTES_ROOM + OOR_MARSHAL_FRAME_ROOM);
        if (rc < 0) break;
        oor_entry_key(&entry, key);
        oor_marshal_bytes(out, key, key_size);
        if (deleted) oor_marshal_none(out);
        else oor_marshal_bytes(out, entry.value, entry.value_size);
    }
    if (rc >= 0) oor_marshal_dict_end(out);
    oor_cached_release(cached);
    return rc < 0 ? rc : 0;
}
