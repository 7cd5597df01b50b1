/* table_read.c: opens a table, finds and fetches its blocks, verifies all of it.
 *
 * table      := section(block)+ [section(filter)] section(index) section(properties) footer
 * index      := entry{blocks}        entry := block_size:u32 fence_size:u16 fence
 *               block_size with its trailer; blocks start at 0, one behind the other
 * properties := entries:u64 tombstones:u64 key_bytes:u64 value_bytes:u64 blocks:u64 first_lsn:u64
 *               last_lsn:u64 smallest_size:u32 largest_size:u32 [codec:u32] smallest largest
 *               codec: of packed blocks, in version 3
 * footer     := filter_offset:u64 filter_size:u64 index_offset:u64 index_size:u64 props_offset:u64
 *               props_size:u64 number:u64 file_size:u64 uid:u64 version:u32 crc:u32 "oortable"
 * section, block: block.c; packed blocks: codec.c; filter: filter.c.  footer.crc is a masked CRC32C
 * of the 76 bytes before it and the magic behind it. */
#include "table.h"

#include <stdlib.h>

#include "codec.h"
#include "memory.h"

static int damaged(const oor_table *table, uint64_t offset, const char *what) {
    return oor_fail_damage(table->path, offset, "%s", what);
}

static int no_memory(const oor_table *table, uint64_t size) {
    return oor_fail(OOR_E_MEMORY, table->path, "no memory for %llu bytes",
                    (unsigned long long)size);
}

static int read_whole(const oor_table *table, uint8_t *data, size_t size, uint64_t offset) {
    int64_t got = oor_io_read(table->fd, table->path, data, size, offset);
    if (got < 0) return (int)got;
    if ((uint64_t)got != size)
        return oor_fail_damage(table->path, offset, "the file ends %llu bytes early",
                               (unsigned long long)(size - (uint64_t)got));
    return 0;
}

static int check_footer(const oor_table *table, const uint8_t *footer, uint64_t at) {
    if (memcmp(footer + FOOTER_MAGIC, OOR_TABLE_MAGIC, sizeof OOR_TABLE_MAGIC) != 0)
        return damaged(table, at, "no table: the magic is missing");
    uint32_t stored = oor_load32(footer + FOOTER_CRC), computed = oor_footer_crc(footer);
    if (stored != computed)
        return oor_fail_damage(table->path, at, "footer crc 0x%08x, computed 0x%08x", stored,
                               computed);
    uint32_t version = oor_load32(footer + FOOTER_VERSION);
    if (version < OOR_TABLE_FORMAT || version > OOR_TABLE_FORMAT_PACKED)
        return oor_fail(OOR_E_FORMAT, table->path, "table format %u, this build reads %d to %d",
                        version, OOR_TABLE_FORMAT, OOR_TABLE_FORMAT_PACKED);
    return 0;
}

/* Reads the footer and what it says; the file must be as long as was asked for. */
static int read_footer(oor_table *table, uint64_t number, uint64_t file_size, uint64_t uid) {
    int64_t size = oor_io_size(table->fd, table->path);
    if (size < 0) return (int)size;
    if ((uint64_t)size != file_size || file_size < OOR_FOOTER_SIZE)
        return oor_fail(OOR_E_CORRUPT, table->path,
                        "the file has %lld bytes, the manifest says %llu", (long long)size,
                        (unsigned long long)file_size);
    uint8_t footer[OOR_FOOTER_SIZE];
    uint64_t end = file_size - OOR_FOOTER_SIZE;
    int rc = read_whole(table, footer, sizeof footer, end);
    if (rc >= 0) rc = check_footer(table, footer, end);
    if (rc < 0) return rc;
    table->filter_offset = oor_load64(footer + FOOTER_FILTER_OFFSET);
    table->filter_section_size = oor_load64(footer + FOOTER_FILTER_SIZE);
    table->index_offset = oor_load64(footer + FOOTER_INDEX_OFFSET);
    table->index_section_size = oor_load64(footer + FOOTER_INDEX_SIZE);
    table->props_offset = oor_load64(footer + FOOTER_PROPS_OFFSET);
    table->props_section_size = oor_load64(footer + FOOTER_PROPS_SIZE);
    table->props.number = oor_load64(footer + FOOTER_NUMBER);
    table->props.file_size = oor_load64(footer + FOOTER_FILE_SIZE);
    table->props.uid = oor_load64(footer + FOOTER_UID);
    table->version = oor_load32(footer + FOOTER_VERSION);
    if (table->props.number != number || table->props.file_size != file_size)
        return oor_fail_damage(table->path, end, "this is table %llu of %llu bytes",
                               (unsigned long long)table->props.number,
                               (unsigned long long)table->props.file_size);
    if (uid && table->props.uid != uid)
        return oor_fail_damage(table->path, end, "table uid %016llx, the manifest says %016llx",
                               (unsigned long long)table->props.uid, (unsigned long long)uid);
    if (table->filter_offset > end || table->filter_section_size > end - table->filter_offset ||
        table->filter_offset + table->filter_section_size != table->index_offset ||
        table->index_section_size > end - table->index_offset ||
        table->index_offset + table->index_section_size != table->props_offset ||
        table->props_section_size != end - table->props_offset)
        return damaged(table, end, "footer with sections that do not join");
    return 0;
}

/* Reads one pinned section whole and verifies it; *out is freed with the table. */
static int read_section(oor_table *table, uint64_t offset, uint64_t size, uint8_t **out,
                        size_t *payload) {
    *out = oor_memory_take((size_t)size);
    if (!*out) return no_memory(table, size);
    int rc = read_whole(table, *out, (size_t)size, offset);
    oor_place place = {table->path, table->props.number, offset};
    uint32_t codec = OOR_CODEC_NONE;
    if (rc >= 0) rc = oor_section_check(&place, *out, (size_t)size, &codec, payload);
    return rc >= 0 && codec != OOR_CODEC_NONE
               ? oor_fail(OOR_E_FORMAT, table->path,
                          "offset %llu: codec %u where only blocks are packed",
                          (unsigned long long)offset, codec)
               : rc;
}

/* What is packed must be unpacked one day: better to say now that it cannot be. */
static int open_codec(oor_table *table, const uint8_t *props) {
    if (table->version != OOR_TABLE_FORMAT_PACKED) return 0;
    table->codec = oor_load32(props + PROPS_CODEC);
    if (table->codec == OOR_CODEC_NONE)
        return damaged(table, table->props_offset, "a packed table without a codec");
    return oor_codec_require(table->codec, table->path);
}

static int open_props(oor_table *table) {
    size_t size;
    int rc = read_section(table, table->props_offset, table->props_section_size,
                          &table->props_section, &size);
    if (rc < 0) return rc;
    const uint8_t *p = table->props_section;
    uint32_t keys = oor_props_keys(table->version);
    if (size < keys) return damaged(table, table->props_offset, "properties too short");
    oor_table_props *props = &table->props;
    props->entries = oor_load64(p + PROPS_ENTRIES);
    props->tombstones = oor_load64(p + PROPS_TOMBSTONES);
    props->key_bytes = oor_load64(p + PROPS_KEY_BYTES);
    props->value_bytes = oor_load64(p + PROPS_VALUE_BYTES);
    props->blocks = oor_load64(p + PROPS_BLOCKS);
    props->first_lsn = oor_load64(p + PROPS_FIRST_LSN);
    props->last_lsn = oor_load64(p + PROPS_LAST_LSN);
    props->smallest_size = oor_load32(p + PROPS_SMALLEST_SIZE);
    props->largest_size = oor_load32(p + PROPS_LARGEST_SIZE);
    if (props->smallest_size > OOR_KEY_SIZE_MAX || props->largest_size > OOR_KEY_SIZE_MAX ||
        size != (size_t)keys + props->smallest_size + props->largest_size || props->blocks == 0 ||
        props->entries < props->blocks || props->tombstones > props->entries ||
        props->first_lsn > props->last_lsn)
        return damaged(table, table->props_offset, "properties that contradict themselves");
    props->smallest = p + keys;
    props->largest = props->smallest + props->smallest_size;
    if (oor_compare(props->smallest, props->smallest_size, props->largest, props->largest_size) > 0)
        return damaged(table, table->props_offset, "properties with an inverted key range");
    table->smallest_prefix = oor_key_prefix(props->smallest, props->smallest_size);
    table->largest_prefix = oor_key_prefix(props->largest, props->largest_size);
    return open_codec(table, p);
}

static size_t index_size(uint32_t count) {
    return ((size_t)count * 3 + 1) * sizeof(uint64_t) + (size_t)count * sizeof(uint32_t);
}

static int alloc_index(oor_table *table, uint32_t count) {
    /* Prefixes in one piece with the slots: a lookup touches both, nobody else either. */
    uint64_t *words = oor_memory_take(index_size(count));
    if (!words) return no_memory(table, index_size(count));
    table->prefixes = words;
    table->slots = (oor_slot *)(words + count);
    table->offsets = words + 2 * (size_t)count;
    table->fences = (uint32_t *)(table->offsets + count + 1);
    for (uint32_t i = 0; i < count; i++) atomic_init(&table->slots[i], 0);
    return 0;
}

/* Takes fences and offsets out of the payload; every size is checked against what is left. */
static int parse_index(oor_table *table, const uint8_t *p, size_t size) {
    const uint8_t *start = p, *end = p + size;
    uint64_t offset = 0;
    for (uint32_t i = 0; i < table->block_count; i++) {
        if (end - p < OOR_INDEX_ENTRY_SIZE_MIN)
            return damaged(table, table->index_offset, "index that ends early");
        uint32_t block_size = oor_load32(p), fence_size = oor_load16(p + 4);
        p += OOR_INDEX_ENTRY_SIZE_MIN;
        if ((size_t)(end - p) < fence_size || block_size > table->filter_offset - offset ||
            block_size <= OOR_SECTION_TRAILER_SIZE || (i == 0 && fence_size != 0))
            return damaged(table, table->index_offset, "index with an impossible entry");
        table->fences[i] = (uint32_t)(p - start);
        table->offsets[i] = offset;
        if (i > 0) {
            uint32_t before_size;
            const uint8_t *before = oor_table_fence(table, i - 1, &before_size);
            if (oor_compare(before, before_size, p, fence_size) >= 0)
                return damaged(table, table->index_offset, "index out of order");
        }
        p += fence_size;
        offset += block_size;
    }
    table->offsets[table->block_count] = offset;
    if (p != end || offset != table->filter_offset)
        return damaged(table, table->index_offset, "index that does not cover the blocks");
    return 0;
}

static void index_prefixes(oor_table *table) {
    uint32_t first_size = 0, last_size = 0, common = 0;
    if (table->block_count > 1) {
        const uint8_t *first = oor_table_fence(table, 1, &first_size);
        const uint8_t *last = oor_table_fence(table, table->block_count - 1, &last_size);
        while (common < first_size && common < last_size && first[common] == last[common]) common++;
    }
    table->common_size = common;
    table->prefixes[0] = 0;
    for (uint32_t i = 1; i < table->block_count; i++) {
        uint32_t fence_size;
        const uint8_t *fence = oor_table_fence(table, i, &fence_size);
        table->prefixes[i] = oor_key_prefix(fence + common, fence_size - common);
    }
}

static int open_index(oor_table *table) {
    size_t size;
    int rc = read_section(table, table->index_offset, table->index_section_size,
                          &table->index_section, &size);
    if (rc < 0) return rc;
    if (size > UINT32_MAX || table->props.blocks > size / OOR_INDEX_ENTRY_SIZE_MIN)
        return damaged(table, table->index_offset,
                       "index too short for the blocks of the properties");
    table->index = table->index_section;
    table->block_count = (uint32_t)table->props.blocks;
    rc = alloc_index(table, table->block_count);
    if (rc >= 0) rc = parse_index(table, table->index, size);
    if (rc >= 0) index_prefixes(table);
    return rc;
}

static int open_filter(oor_table *table) {
    if (table->filter_section_size == 0) return 0;
    size_t size;
    int rc = read_section(table, table->filter_offset, table->filter_section_size,
                          &table->filter_section, &size);
    if (rc < 0) return rc;
    if (size < OOR_FILTER_TAIL_SIZE)
        return damaged(table, table->filter_offset, "filter too short");
    const uint8_t *tail = table->filter_section + size - OOR_FILTER_TAIL_SIZE;
    table->filter_lines = oor_load32(tail);
    table->filter_probes = tail[4];
    table->prefix_size = oor_load16(tail + 6);
    if (tail[5] != OOR_FILTER_HASH)
        return oor_fail(OOR_E_FORMAT, table->path, "filter hash %u is not in this build", tail[5]);
    if ((uint64_t)table->filter_lines * OOR_FILTER_LINE != size - OOR_FILTER_TAIL_SIZE ||
        table->filter_lines == 0 || table->filter_probes == 0 ||
        table->filter_probes > OOR_FILTER_PROBES_MAX ||
        (table->version == OOR_TABLE_FORMAT && table->prefix_size > 0) ||
        (table->version == OOR_TABLE_FORMAT_PREFIX && table->prefix_size == 0))
        return damaged(table, table->filter_offset, "filter that contradicts itself");
    table->filter = table->filter_section;
    return 0;
}

int oor_table_open(const char *path, uint64_t number, uint64_t file_size, uint64_t uid,
                   oor_cache *cache, oor_table **out) {
    oor_table *table = calloc(1, sizeof *table);
    if (!table) return oor_fail(OOR_E_MEMORY, path, "no memory for a table");
    table->fd = -1;
    table->path = strdup(path);
    atomic_init(&table->holders, 1);
    int rc = table->path ? oor_io_open(path, OOR_OPEN_READ) : no_memory(table, strlen(path));
    if (rc >= 0) {
        table->fd = rc;
        rc = read_footer(table, number, file_size, uid);
    }
    if (rc >= 0) rc = open_props(table);
    if (rc >= 0) rc = open_index(table);
    if (rc >= 0) rc = open_filter(table);
    if (rc < 0) {
        oor_table_release(table);
        return rc;
    }
    table->cache = cache;
    table->pinned = table->filter_section_size + table->index_section_size +
                    table->props_section_size + index_size(table->block_count) + sizeof *table;
    oor_cache_hold(cache);
    oor_cache_pin(cache, (int64_t)table->pinned);
    *out = table;
    return 0;
}

void oor_table_hold(oor_table *table) { atomic_fetch_add(&table->holders, 1); }

void oor_table_release(oor_table *table) {
    if (!table || atomic_fetch_sub(&table->holders, 1) != 1) return;
    if (table->cache) {
        oor_cache_drop(table->cache, table->slots, table->block_count);
        oor_cache_pin(table->cache, -(int64_t)table->pinned);
        oor_cache_free(table->cache);
    }
    /* Opened to read: a failing close loses nothing. */
    if (table->fd >= 0) oor_io_close(table->fd, table->path);
    oor_memory_give(table->prefixes, index_size(table->block_count));
    oor_memory_give(table->filter_section, table->filter_section_size);
    oor_memory_give(table->index_section, table->index_section_size);
    oor_memory_give(table->props_section, table->props_section_size);
    free(table->path);
    free(table);
}

void oor_table_close(oor_table *table) { oor_table_release(table); }

void oor_table_read_props(const oor_table *table, oor_table_props *out) { *out = table->props; }

uint32_t oor_table_codec(const oor_table *table) { return table->codec; }

/* Fences with the same 8 bytes: whole keys decide which is the last at or below `key`. */
static uint32_t find_among_equals(const oor_table *table, uint32_t at, const uint8_t *key,
                                  size_t key_size) {
    uint32_t low = at, high = at;
    while (low > 1 && table->prefixes[low - 1] == table->prefixes[at]) low--;
    while (low <= high) { /* fences below low are at or below key, those above high are above it */
        uint32_t middle = low + (high - low) / 2, fence_size;
        const uint8_t *fence = oor_table_fence(table, middle, &fence_size);
        if (oor_compare(fence, fence_size, key, key_size) <= 0) {
            low = middle + 1;
        } else {
            high = middle - 1;
        }
    }
    return low - 1;
}

uint32_t oor_table_find_block(const oor_table *table, const uint8_t *key, size_t key_size,
                              uint64_t prefix) {
    uint32_t count = table->block_count, common = table->common_size;
    if (count == 1) return 0;
    if (common) {
        uint32_t first_size;
        const uint8_t *first = oor_table_fence(table, 1, &first_size);
        size_t compared = key_size < common ? key_size : common;
        int order = compared ? memcmp(key, first, compared) : 0;
        if (order < 0 || (order == 0 && key_size < common)) return 0;
        if (order > 0) return count - 1;
        prefix = oor_key_prefix(key + common, key_size - common);
    }
    const uint64_t *base = table->prefixes;
    while (count > 1) {
        uint32_t half = count / 2;
        base = base[half] <= prefix ? base + half : base;
        count -= half;
    }
    uint32_t at = (uint32_t)(base - table->prefixes);
    return *base == prefix && at > 0 ? find_among_equals(table, at, key, key_size) : at;
}

int64_t oor_table_content(const oor_table *table, const oor_place *place, uint32_t codec,
                          const uint8_t *payload, size_t size) {
    if (codec == OOR_CODEC_NONE) return (int64_t)size;
    if (codec != table->codec)
        return oor_fail_damage(place->path, place->offset,
                               "a block of codec %u, the properties say %u", codec, table->codec);
    return oor_unpacked_size(place, codec, payload, size);
}

/* A section read and verified into `room`, which is of its size: the size of its payload. */
static int64_t fetch_section(const oor_table *table, const oor_place *place, uint8_t *room,
                             size_t size, uint32_t *codec) {
    size_t payload_size;
    int rc = read_whole(table, room, size, place->offset);
    if (rc >= 0) rc = oor_section_check(place, room, size, codec, &payload_size);
    return rc < 0 ? rc : (int64_t)payload_size;
}

/* The block of a section as it is on disk, unpacked into memory of the cache: see fetch_block. */
static uint8_t *unpack_block(const oor_table *table, const oor_place *place, size_t size,
                             size_t *content_size, size_t *taken) {
    uint32_t codec = OOR_CODEC_NONE;
    uint8_t *section = malloc(size), *content = NULL;
    int64_t payload =
        section ? fetch_section(table, place, section, size, &codec) : no_memory(table, size);
    int64_t found =
        payload < 0 ? payload : oor_table_content(table, place, codec, section, (size_t)payload);
    if (found >= 0) {
        *content_size = *taken = (size_t)found;
        content = oor_cache_take(table->cache, *taken);
    }
    if (content && codec == OOR_CODEC_NONE) {
        memcpy(content, section, *content_size);
    } else if (content &&
               oor_unpack(place, codec, section, (size_t)payload, content, *content_size) < 0) {
        oor_cache_give(table->cache, content, *taken);
        content = NULL;
    }
    free(section);
    return content;
}

/* A block verified and unpacked, in `taken` bytes of the cache; NULL: an error is set. */
static uint8_t *fetch_block(const oor_table *table, const oor_place *place, size_t size,
                            size_t *content_size, size_t *taken) {
    if (table->codec != OOR_CODEC_NONE)
        return unpack_block(table, place, size, content_size, taken);
    uint32_t codec;
    uint8_t *section = oor_cache_take(table->cache, size);
    if (!section) return NULL;
    int64_t payload = fetch_section(table, place, section, size, &codec);
    if (payload >= 0) payload = oor_table_content(table, place, codec, section, (size_t)payload);
    if (payload >= 0) {
        *content_size = (size_t)payload;
        *taken = size;
        return section;
    }
    oor_cache_give(table->cache, section, size);
    return NULL;
}

oor_cached *oor_table_block_cached(oor_table *table, uint32_t at, atomic_uint_least64_t *counters) {
    oor_cached *cached = oor_slot_acquire(&table->slots[at]);
    if (!cached) return NULL;
    /* Head, tags and offsets lie side by side: their misses overlap. */
    oor_slot_prefetch(&table->slots[at]);
    oor_count(counters, COUNT_HITS);
    oor_cached_visit(cached);
    return cached;
}

oor_cached *oor_table_block_counted(oor_table *table, uint32_t at,
                                    atomic_uint_least64_t *counters) {
    oor_cached *cached = oor_table_block_cached(table, at, counters);
    if (cached) return cached;
    oor_count(counters, COUNT_MISSES);
    oor_place place = oor_table_place(table, at);
    size_t size, taken;
    uint8_t *content =
        fetch_block(table, &place, (size_t)(table->offsets[at + 1] - place.offset), &size, &taken);
    if (!content) return NULL;
    cached = oor_cached_new(table->cache, &place, content, size, taken);
    if (cached) {
        oor_cache_insert(table->cache, &table->slots[at], cached);
    } else {
        oor_cache_give(table->cache, content, taken);
    }
    return cached;
}

oor_cached *oor_table_block(oor_table *table, uint32_t at) {
    return oor_table_block_counted(table, at, oor_cache_counters(table->cache));
}

static int key_equals(const oor_entry *entry, const uint8_t *key, size_t key_size) {
    if (oor_entry_key_size(entry) != key_size) return 0;
    if (entry->suffix_size && memcmp(entry->suffix, key + entry->shared, entry->suffix_size) != 0)
        return 0;
    return entry->shared == 0 || memcmp(entry->prefix, key, entry->shared) == 0;
}

/* Finds a key by its tag: eight entries are ruled out at a time, whole keys decide. */
int oor_cached_find(const oor_cached *cached, const uint8_t *key, size_t key_size, uint64_t hash,
                    oor_value *out) {
    for (uint32_t at = 0; at < cached->block.count; at += 8) {
        for (uint64_t marks = oor_tag_marks(cached, at, hash); marks; marks &= marks - 1) {
            uint32_t candidate = at + (uint32_t)__builtin_ctzll(marks) / 8;
            if (candidate >= cached->block.count) break;
            oor_entry_prefetch(&cached->block, candidate);
            oor_entry entry;
            oor_block_entry(&cached->block, candidate, &entry);
            if (!key_equals(&entry, key, key_size)) continue;
            if (entry.value_size == OOR_TOMBSTONE) return OOR_DELETED;
            *out = (oor_value){entry.value, entry.value_size};
            return OOR_FOUND;
        }
    }
    return OOR_ABSENT;
}
