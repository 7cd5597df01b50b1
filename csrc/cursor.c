/* cursor.c: walks tables block by block, reading ahead.  The bytes: table_read.c and block.c. */
#include "cursor.h"

#include <stdlib.h>

#include "codec.h"
#include "memory.h"

enum { CACHED_BLOCKS = 4, AHEAD_FIRST = 32 << 10, AHEAD_MAX = 256 << 10, KEPT_SPARE = 8192 };

/* A compaction has a cursor on each of its tables, which may be many. */
enum { AHEAD_UNCACHED = 64 << 10 };

void oor_cursor_init(oor_cursor *cursor, oor_table *const *tables, uint32_t count, int reverse,
                     oor_cursor_mode mode) {
    *cursor =
        (oor_cursor){.tables = tables, .table_count = count, .reverse = reverse, .mode = mode};
}

static void let_go(oor_cursor *cursor) {
    if (cursor->held) oor_cached_release(cursor->held);
    cursor->held = NULL;
}

void oor_cursor_clear(oor_cursor *cursor) {
    let_go(cursor);
    oor_memory_give(cursor->ahead, cursor->ahead_capacity);
    oor_buffer_clear(&cursor->plain);
    free(cursor->offsets);
    oor_buffer_clear(&cursor->key_buffer);
    *cursor = (oor_cursor){0};
}

/* Reads block `block_at` and its followers in walking order, as many as fit into `want` bytes. */
static int read_ahead(oor_cursor *cursor, const oor_table *table, uint64_t want) {
    uint32_t first = cursor->block_at, last = cursor->block_at;
    const uint64_t *offsets = table->offsets;
    if (cursor->reverse) {
        while (first > 0 && offsets[last + 1] - offsets[first - 1] <= want) first--;
    } else {
        while (last + 1 < table->block_count && offsets[last + 2] - offsets[first] <= want) last++;
    }
    uint64_t offset = offsets[first];
    size_t size = (size_t)(offsets[last + 1] - offset);
    cursor->ahead_size = 0;
    if (size > cursor->ahead_capacity) {
        oor_memory_give(cursor->ahead, cursor->ahead_capacity);
        cursor->ahead = oor_memory_take(size);
        cursor->ahead_capacity = cursor->ahead ? size : 0;
        if (!cursor->ahead)
            return oor_fail(OOR_E_MEMORY, table->path, "no memory for %zu bytes", size);
    }
    int64_t got = oor_io_read(table->fd, table->path, cursor->ahead, size, offset);
    if (got < 0) return (int)got;
    if ((uint64_t)got != size) return oor_fail_damage(table->path, offset, "the file ends early");
    cursor->ahead_size = size;
    cursor->ahead_offset = offset;
    cursor->ahead_table = cursor->table_at;
    return 0;
}

static int reserve_offsets(oor_cursor *cursor, const oor_place *place, uint32_t count) {
    if (count <= cursor->offsets_capacity) return 0;
    free(cursor->offsets);
    cursor->offsets = malloc((size_t)count * sizeof *cursor->offsets);
    cursor->offsets_capacity = cursor->offsets ? count : 0;
    return cursor->offsets ? 0
                           : oor_fail(OOR_E_MEMORY, place->path, "no memory for %u offsets", count);
}

/* Keeps what was read ahead where the cache has room for it and need not evict; the spare room is
 * for heads, and for the first blocks of the next walk. */
static oor_cached *keep_block(oor_cursor *cursor, oor_table *table, const oor_place *place,
                              const uint8_t *content, size_t size) {
    if (cursor->mode == OOR_CURSOR_PAST || !oor_cache_has_room(table->cache, size + KEPT_SPARE))
        return NULL;
    uint8_t *copy = oor_cache_take(table->cache, size);
    if (!copy) return NULL;
    memcpy(copy, content, size);
    oor_cached *cached = oor_cached_new(table->cache, place, copy, size, size);
    if (!cached) {
        oor_cache_give(table->cache, copy, size);
        return NULL;
    }
    oor_cache_insert(table->cache, &table->slots[cursor->block_at], cached);
    return cached;
}

/* Verifies a section and points at its content, there or in `plain`: its size, or an error. */
static int64_t open_section(oor_cursor *cursor, const oor_table *table, const oor_place *place,
                            const uint8_t *section, size_t size, const uint8_t **content) {
    size_t payload_size;
    uint32_t codec;
    int rc = oor_section_check(place, section, size, &codec, &payload_size);
    int64_t found = rc < 0 ? rc : oor_table_content(table, place, codec, section, payload_size);
    *content = section;
    if (found < 0 || codec == OOR_CODEC_NONE) return found;
    cursor->plain.size = 0;
    rc = oor_buffer_reserve(&cursor->plain, (size_t)found);
    if (rc >= 0)
        rc = oor_unpack(place, codec, section, payload_size, cursor->plain.data, (size_t)found);
    *content = cursor->plain.data;
    return rc < 0 ? rc : found;
}

/* The current block out of the bytes read ahead, which are fetched when it is not among them. */
static int load_past_cache(oor_cursor *cursor, oor_table *table) {
    oor_place place = oor_table_place(table, cursor->block_at);
    size_t size = (size_t)(table->offsets[cursor->block_at + 1] - place.offset);
    int inside = cursor->ahead_table == cursor->table_at && cursor->ahead_size >= size &&
                 place.offset >= cursor->ahead_offset &&
                 place.offset - cursor->ahead_offset <= cursor->ahead_size - size;
    if (!inside) {
        uint64_t want = cursor->mode == OOR_CURSOR_PAST ? AHEAD_UNCACHED
                        : cursor->walked > 32           ? AHEAD_MAX
                                                        : AHEAD_FIRST;
        int rc = read_ahead(cursor, table, want);
        if (rc < 0) return rc;
    }
    const uint8_t *content;
    int64_t found =
        open_section(cursor, table, &place, cursor->ahead + (place.offset - cursor->ahead_offset),
                     size, &content);
    if (found < 0) return (int)found;
    size_t content_size = (size_t)found;
    cursor->held = keep_block(cursor, table, &place, content, content_size);
    if (cursor->held) {
        cursor->block = cursor->held->block;
        return 0;
    }
    int64_t count = oor_block_count(&place, content, content_size);
    if (count < 0) return (int)count;
    int rc = reserve_offsets(cursor, &place, (uint32_t)count);
    if (rc < 0) return rc;
    return oor_block_view(&place, content, content_size, (uint32_t)count, cursor->offsets,
                          &cursor->block);
}

/* The walk looks into the head of the next block when it begins with this one. */
OOR_FETCHES void fetch_next_head(const oor_cursor *cursor, const oor_table *table) {
    uint32_t at = cursor->block_at;
    if (cursor->reverse ? at > 0 : at + 1 < table->block_count)
        oor_slot_prefetch(&table->slots[cursor->reverse ? at - 1 : at + 1]);
}

static int load_block(oor_cursor *cursor) {
    oor_table *table = cursor->tables[cursor->table_at];
    let_go(cursor);
    cursor->walked++;
    if (cursor->mode != OOR_CURSOR_PAST) {
        if (cursor->walked <= CACHED_BLOCKS && cursor->mode == OOR_CURSOR_INSIDE) {
            cursor->held =
                oor_table_block_cached(table, cursor->block_at, oor_cache_counters(table->cache));
        } else if (cursor->walked <= CACHED_BLOCKS) {
            cursor->held = oor_table_block(table, cursor->block_at);
            if (!cursor->held) return oor_last_error()->code;
        } else {
            cursor->held = oor_slot_acquire(&table->slots[cursor->block_at]);
        }
        if (cursor->held) {
            cursor->block = cursor->held->block;
            fetch_next_head(cursor, table);
            return 0;
        }
    }
    return cursor->mode == OOR_CURSOR_INSIDE ? OOR_UNREAD_BLOCK : load_past_cache(cursor, table);
}

/* Makes the current entry's key whole. */
static int load_entry(oor_cursor *cursor) {
    oor_entry entry;
    oor_block_entry(&cursor->block, cursor->entry_at, &entry);
    uint32_t key_size = oor_entry_key_size(&entry);
    if (entry.shared == 0) {
        cursor->key = entry.suffix;
    } else if (key_size <= OOR_NEAR_KEY) {
        oor_entry_key(&entry, cursor->near_key);
        cursor->key = cursor->near_key;
    } else {
        cursor->key_buffer.size = 0;
        int rc = oor_buffer_reserve(&cursor->key_buffer, key_size);
        if (rc < 0) return rc;
        oor_entry_key(&entry, cursor->key_buffer.data);
        cursor->key = cursor->key_buffer.data;
    }
    cursor->key_size = key_size;
    cursor->prefix = oor_key_prefix(cursor->key, key_size);
    cursor->value = entry.value;
    cursor->value_size = entry.value_size;
    cursor->entries++;
    cursor->valid = 1;
    return 0;
}

/* Behind the last entry nothing is needed any more; many cursors end long before their walk. */
static int end_walk(oor_cursor *cursor) {
    let_go(cursor);
    oor_memory_give(cursor->ahead, cursor->ahead_capacity);
    cursor->ahead = NULL;
    cursor->ahead_size = cursor->ahead_capacity = 0;
    oor_buffer_clear(&cursor->plain);
    return 0;
}

/* To the next block in walking order, over the borders of tables; valid is 0 behind the last. */
static int next_block(oor_cursor *cursor) {
    if (cursor->reverse) {
        if (cursor->block_at > 0) {
            cursor->block_at--;
        } else if (cursor->table_at > 0) {
            cursor->block_at = cursor->tables[--cursor->table_at]->block_count - 1;
        } else {
            return end_walk(cursor);
        }
    } else if (cursor->block_at + 1 < cursor->tables[cursor->table_at]->block_count) {
        cursor->block_at++;
    } else if (cursor->table_at + 1 < cursor->table_count) {
        cursor->table_at++;
        cursor->block_at = 0;
    } else {
        return end_walk(cursor);
    }
    int rc = load_block(cursor);
    if (rc < 0) return rc;
    cursor->entry_at = cursor->reverse ? cursor->block.count - 1 : 0;
    return load_entry(cursor);
}

int oor_cursor_next(oor_cursor *cursor) {
    assert(cursor->valid);
    cursor->valid = 0;
    if (cursor->reverse ? cursor->entry_at > 0 : cursor->entry_at + 1 < cursor->block.count) {
        cursor->entry_at = cursor->reverse ? cursor->entry_at - 1 : cursor->entry_at + 1;
        return load_entry(cursor);
    }
    return next_block(cursor);
}

oor_cached *oor_cursor_peek(const oor_cursor *cursor) {
    const oor_table *table = cursor->tables[cursor->table_at];
    uint32_t end = cursor->reverse ? 0 : table->block_count - 1;
    if (!cursor->held || cursor->block_at == end) return NULL;
    return oor_slot_acquire(
        &table->slots[cursor->reverse ? cursor->block_at - 1 : cursor->block_at + 1]);
}

int oor_cursor_move(oor_cursor *cursor, uint32_t last) {
    assert(cursor->valid && last < cursor->block.count);
    assert(cursor->reverse ? last <= cursor->entry_at : last >= cursor->entry_at);
    cursor->entries += cursor->reverse ? cursor->entry_at - last : last - cursor->entry_at;
    cursor->entry_at = last;
    return oor_cursor_next(cursor);
}

static int seek_end(oor_cursor *cursor) {
    cursor->table_at = cursor->reverse ? cursor->table_count - 1 : 0;
    cursor->block_at = cursor->reverse ? cursor->tables[cursor->table_at]->block_count - 1 : 0;
    int rc = load_block(cursor);
    if (rc < 0) return rc;
    cursor->entry_at = cursor->reverse ? cursor->block.count - 1 : 0;
    return load_entry(cursor);
}

/* The first table whose largest key is at or above `key`. */
static uint32_t find_table(const oor_cursor *cursor, const uint8_t *key, size_t key_size) {
    uint32_t low = 0, high = cursor->table_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const oor_table_props *props = &cursor->tables[middle]->props;
        if (oor_compare(props->largest, props->largest_size, key, key_size) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int oor_cursor_seek(oor_cursor *cursor, const uint8_t *key, size_t key_size) {
    cursor->valid = 0;
    cursor->walked = 0;
    if (cursor->table_count == 0) return 0;
    if (!key) return seek_end(cursor);
    uint32_t table_at = find_table(cursor, key, key_size);
    if (table_at == cursor->table_count) return cursor->reverse ? seek_end(cursor) : 0;
    cursor->table_at = table_at;
    const oor_table *table = cursor->tables[table_at];
    cursor->block_at = oor_table_find_block(table, key, key_size, oor_key_prefix(key, key_size));
    int rc = load_block(cursor);
    if (rc < 0) return rc;
    uint32_t at = oor_block_seek(&cursor->block, key, key_size);
    if (cursor->reverse) {
        cursor->entry_at = at;
        return at > 0 ? (cursor->entry_at--, load_entry(cursor)) : next_block(cursor);
    }
    /* Past the block's last entry: the first of the next block is above the key. */
    cursor->entry_at = at;
    return at < cursor->block.count ? load_entry(cursor) : next_block(cursor);
}
