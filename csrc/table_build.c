/* table_build.c: writes one table from ascending keys.
 *
 * Grammar: table_read.c.  Blocks are closed when they reach block_size; the fence of a block is the
 * shortest prefix of its first key that is above the last key of the block before.  Bytes leave in
 * writes of WRITE_SIZE at multiples of it, so that the file system sees whole, aligned extents. */
#include "build.h"

#include <stdlib.h>

#include "codec.h"
#include "memory.h"
#include "table.h"

enum { WRITE_SIZE = 256 << 10 };

struct oor_builder {
    char *path;
    int fd;
    int order_code;
    uint64_t number;
    oor_table_options options;
    oor_buffer out; /* not yet written; starts at `written` in the file */
    uint64_t written;
    oor_block_writer block;
    int block_open;
    oor_packer *packer; /* NULL: blocks stay as they are */
    int packed;         /* some blocks are */
    oor_buffer index;
    size_t fence_start; /* of the open block, in `index` */
    uint64_t *hashes;
    size_t hashes_capacity;
    size_t hash_count; /* of keys, and of prefixes */
    uint64_t uid;
    oor_buffer smallest, largest;
    oor_table_props props;
};

static int check_options(const oor_table_options *options, const char *path) {
    if (options->block_size < 64 || options->block_size > OOR_ENTRY_OFFSET_MAX + 1 ||
        options->restart_interval < 1 || options->restart_interval > 1 << 16 ||
        options->filter_bits > 64 || options->prefix_size > UINT16_MAX)
        return oor_fail(
            OOR_E_LIMIT, path,
            "table options: block of %u bytes, restart every %u, %u filter bits, prefix of %u",
            options->block_size, options->restart_interval, options->filter_bits,
            options->prefix_size);
    return 0;
}

int oor_builder_open(const char *path, uint64_t number, const oor_table_options *options,
                     int order_code, oor_builder **out) {
    int rc = check_options(options, path);
    if (rc < 0) return rc;
    oor_builder *builder = calloc(1, sizeof *builder);
    if (!builder) return oor_fail(OOR_E_MEMORY, path, "no memory for a table builder");
    builder->fd = -1;
    builder->order_code = order_code;
    builder->number = number;
    builder->options = *options;
    if (options->filter_bits == 0) builder->options.prefix_size = 0;
    builder->uid = oor_uid_start(number);
    builder->path = strdup(path);
    rc = builder->path ? oor_buffer_reserve(&builder->out, WRITE_SIZE + options->block_size + 4096)
                       : oor_fail(OOR_E_MEMORY, path, "no memory for a path");
    if (rc >= 0 && options->codec != OOR_CODEC_NONE)
        rc = oor_packer_new(options->codec, options->codec_level, path, &builder->packer);
    if (rc >= 0) rc = oor_io_open(path, OOR_OPEN_WRITE | OOR_OPEN_CREATE | OOR_OPEN_EXCLUSIVE);
    if (rc < 0) {
        oor_builder_free(builder);
        return rc;
    }
    builder->fd = rc;
    *out = builder;
    return 0;
}

void oor_builder_free(oor_builder *builder) {
    if (!builder) return;
    /* Open only after a failure, which was reported; the file is given up. */
    if (builder->fd >= 0) oor_io_close(builder->fd, builder->path);
    oor_packer_free(builder->packer);
    oor_buffer_clear(&builder->out);
    oor_buffer_clear(&builder->index);
    oor_memory_give(builder->hashes, builder->hashes_capacity * sizeof *builder->hashes);
    oor_buffer_clear(&builder->smallest);
    oor_buffer_clear(&builder->largest);
    free(builder->path);
    free(builder);
}

uint64_t oor_builder_size(const oor_builder *builder) {
    return builder->written + builder->out.size;
}

uint64_t oor_builder_content(const oor_builder *builder) {
    return builder->props.key_bytes + builder->props.value_bytes;
}

/* Sends whole multiples of WRITE_SIZE, or with `all` everything. */
static int write_out(oor_builder *builder, int all) {
    oor_buffer *out = &builder->out;
    size_t size = all ? out->size : out->size / WRITE_SIZE * WRITE_SIZE;
    for (size_t at = 0; at < size; at += WRITE_SIZE) {
        size_t part = size - at < WRITE_SIZE ? size - at : WRITE_SIZE;
        int rc =
            oor_io_write(builder->fd, builder->path, out->data + at, part, builder->written + at);
        if (rc < 0) return rc;
    }
    builder->written += size;
    memmove(out->data, out->data + size, out->size - size);
    out->size -= size;
    return 0;
}

/* Seals what was appended since `start` as a section. */
static int end_section(oor_builder *builder, size_t start, uint32_t codec) {
    uint32_t crc;
    int rc = oor_section_seal(&builder->out, start, builder->number, builder->written + start,
                              codec, &crc);
    if (rc >= 0) builder->uid = oor_uid_add(builder->uid, crc);
    return rc;
}

static int set_key(oor_buffer *to, const uint8_t *key, uint32_t key_size) {
    to->size = 0;
    int rc = oor_buffer_reserve(to, key_size);
    if (rc < 0) return rc;
    if (key_size) memcpy(to->data, key, key_size);
    to->size = key_size;
    return 0;
}

static int begin_block(oor_builder *builder, const uint8_t *key, uint32_t key_size) {
    uint32_t fence_size = 0;
    if (builder->props.blocks > 0) {
        const oor_buffer *last = &builder->largest;
        while (fence_size < last->size && last->data[fence_size] == key[fence_size]) fence_size++;
        fence_size++; /* the byte that puts it above; key is above last, so it has one */
        assert(fence_size <= key_size);
    }
    builder->fence_start = builder->index.size;
    int rc = oor_buffer_reserve(&builder->index, (size_t)OOR_INDEX_ENTRY_SIZE_MIN + fence_size);
    if (rc < 0) return rc;
    uint8_t *p = builder->index.data + builder->index.size;
    oor_store16(p + 4, (uint16_t)fence_size);
    if (fence_size) memcpy(p + OOR_INDEX_ENTRY_SIZE_MIN, key, fence_size);
    builder->index.size += (size_t)OOR_INDEX_ENTRY_SIZE_MIN + fence_size;
    oor_block_begin(&builder->block, &builder->out, builder->options.restart_interval);
    builder->block_open = 1;
    builder->props.blocks++;
    return 0;
}

static int end_block(oor_builder *builder) {
    size_t start = builder->block.start;
    uint32_t codec = OOR_CODEC_NONE;
    int rc = oor_block_end(&builder->block, &builder->out);
    if (rc >= 0 && builder->packer) {
        rc = oor_packer_pack(builder->packer, &builder->out, start);
        codec = rc >= 0 ? (uint32_t)rc : codec;
        builder->packed |= rc > 0;
    }
    if (rc >= 0) rc = end_section(builder, start, codec);
    if (rc < 0) return rc;
    oor_store32(builder->index.data + builder->fence_start, (uint32_t)(builder->out.size - start));
    builder->block_open = 0;
    return builder->out.size >= WRITE_SIZE ? write_out(builder, 0) : 0;
}

static int add_hash(oor_builder *builder, uint64_t hash) {
    if (builder->hash_count == builder->hashes_capacity) {
        size_t capacity = builder->hashes_capacity ? builder->hashes_capacity * 2 : 4096;
        uint64_t *hashes = oor_memory_resize(
            builder->hashes, builder->hashes_capacity * sizeof *hashes, capacity * sizeof *hashes);
        if (!hashes)
            return oor_fail(OOR_E_MEMORY, builder->path, "no memory for %zu hashes", capacity);
        builder->hashes = hashes;
        builder->hashes_capacity = capacity;
    }
    builder->hashes[builder->hash_count++] = hash;
    return 0;
}

/* Notes a key for the filter, and its prefix unless the key before has the same. */
static int add_to_filter(oor_builder *builder, const uint8_t *key, uint32_t key_size) {
    if (builder->options.filter_bits == 0) return 0;
    int rc = add_hash(builder, oor_hash(key, key_size));
    uint32_t size = builder->options.prefix_size;
    if (rc < 0 || size == 0 || key_size < size) return rc;
    const oor_buffer *last = &builder->largest;
    if (builder->props.entries > 0 && last->size >= size && memcmp(last->data, key, size) == 0)
        return 0;
    return add_hash(builder, oor_hash(key, size));
}

int oor_builder_add(oor_builder *builder, const uint8_t *key, uint32_t key_size,
                    const uint8_t *value, uint32_t value_size) {
    oor_table_props *props = &builder->props;
    if (props->entries > 0 &&
        oor_compare(builder->largest.data, builder->largest.size, key, key_size) >= 0)
        return oor_fail(builder->order_code, builder->path,
                        "entry %llu: the key is not above the one before",
                        (unsigned long long)props->entries);
    int rc = builder->block_open ? 0 : begin_block(builder, key, key_size);
    if (rc >= 0) rc = add_to_filter(builder, key, key_size);
    if (rc >= 0)
        rc = oor_block_add(&builder->block, &builder->out, key, key_size, value, value_size);
    if (rc >= 0 && props->entries == 0) rc = set_key(&builder->smallest, key, key_size);
    if (rc >= 0) rc = set_key(&builder->largest, key, key_size);
    if (rc < 0) return rc;
    props->entries++;
    props->key_bytes += key_size;
    if (value_size == OOR_TOMBSTONE) {
        props->tombstones++;
    } else {
        props->value_bytes += value_size;
    }
    return builder->out.size - builder->block.start >= builder->options.block_size
               ? end_block(builder)
               : 0;
}

static int write_filter(oor_builder *builder) {
    oor_buffer *out = &builder->out;
    size_t start = out->size;
    uint32_t lines = oor_filter_lines(builder->hash_count, builder->options.filter_bits);
    uint32_t probes = oor_filter_probes(builder->options.filter_bits);
    size_t size = (size_t)lines * OOR_FILTER_LINE;
    int rc = oor_buffer_reserve(out, size + OOR_FILTER_TAIL_SIZE);
    if (rc < 0) return rc;
    uint8_t *p = out->data + start;
    memset(p, 0, size + OOR_FILTER_TAIL_SIZE);
    for (size_t i = 0; i < builder->hash_count; i++)
        oor_filter_add(p, lines, probes, builder->hashes[i]);
    oor_store32(p + size, lines);
    p[size + 4] = (uint8_t)probes;
    p[size + 5] = OOR_FILTER_HASH;
    oor_store16(p + size + 6, (uint16_t)builder->options.prefix_size);
    out->size += size + OOR_FILTER_TAIL_SIZE;
    return end_section(builder, start, OOR_CODEC_NONE);
}

static int write_index(oor_builder *builder) {
    size_t start = builder->out.size;
    int rc = oor_buffer_reserve(&builder->out, builder->index.size);
    if (rc < 0) return rc;
    memcpy(builder->out.data + start, builder->index.data, builder->index.size);
    builder->out.size += builder->index.size;
    return end_section(builder, start, OOR_CODEC_NONE);
}

static uint32_t version_of(const oor_builder *builder) {
    if (builder->packed) return OOR_TABLE_FORMAT_PACKED;
    return builder->options.prefix_size ? OOR_TABLE_FORMAT_PREFIX : OOR_TABLE_FORMAT;
}

static int write_props(oor_builder *builder) {
    const oor_table_props *props = &builder->props;
    size_t start = builder->out.size, keys = oor_props_keys(version_of(builder));
    size_t size = keys + props->smallest_size + props->largest_size;
    int rc = oor_buffer_reserve(&builder->out, size);
    if (rc < 0) return rc;
    uint8_t *p = builder->out.data + start;
    oor_store64(p + PROPS_ENTRIES, props->entries);
    oor_store64(p + PROPS_TOMBSTONES, props->tombstones);
    oor_store64(p + PROPS_KEY_BYTES, props->key_bytes);
    oor_store64(p + PROPS_VALUE_BYTES, props->value_bytes);
    oor_store64(p + PROPS_BLOCKS, props->blocks);
    oor_store64(p + PROPS_FIRST_LSN, props->first_lsn);
    oor_store64(p + PROPS_LAST_LSN, props->last_lsn);
    oor_store32(p + PROPS_SMALLEST_SIZE, props->smallest_size);
    oor_store32(p + PROPS_LARGEST_SIZE, props->largest_size);
    if (builder->packed) oor_store32(p + PROPS_CODEC, builder->options.codec);
    p += keys;
    if (props->smallest_size) memcpy(p, props->smallest, props->smallest_size);
    if (props->largest_size) memcpy(p + props->smallest_size, props->largest, props->largest_size);
    builder->out.size += size;
    return end_section(builder, start, OOR_CODEC_NONE);
}

/* `ends` are the file offsets behind blocks, filter, index and properties. */
static int write_footer(oor_builder *builder, const uint64_t *ends) {
    int rc = oor_buffer_reserve(&builder->out, OOR_FOOTER_SIZE);
    if (rc < 0) return rc;
    oor_table_props *props = &builder->props;
    props->number = builder->number;
    props->file_size = ends[3] + OOR_FOOTER_SIZE;
    props->uid = oor_uid_end(builder->uid);
    uint8_t *p = builder->out.data + builder->out.size;
    oor_store64(p + FOOTER_FILTER_OFFSET, ends[0]);
    oor_store64(p + FOOTER_FILTER_SIZE, ends[1] - ends[0]);
    oor_store64(p + FOOTER_INDEX_OFFSET, ends[1]);
    oor_store64(p + FOOTER_INDEX_SIZE, ends[2] - ends[1]);
    oor_store64(p + FOOTER_PROPS_OFFSET, ends[2]);
    oor_store64(p + FOOTER_PROPS_SIZE, ends[3] - ends[2]);
    oor_store64(p + FOOTER_NUMBER, props->number);
    oor_store64(p + FOOTER_FILE_SIZE, props->file_size);
    oor_store64(p + FOOTER_UID, props->uid);
    oor_store32(p + FOOTER_VERSION, version_of(builder));
    memcpy(p + FOOTER_MAGIC, OOR_TABLE_MAGIC, sizeof OOR_TABLE_MAGIC);
    oor_store32(p + FOOTER_CRC, oor_footer_crc(p));
    builder->out.size += OOR_FOOTER_SIZE;
    return write_out(builder, 1);
}

int oor_builder_finish(oor_builder *builder, uint64_t first_lsn, uint64_t last_lsn,
                       oor_table_props *out) {
    oor_table_props *props = &builder->props;
    assert(props->entries > 0 && first_lsn <= last_lsn);
    props->first_lsn = first_lsn;
    props->last_lsn = last_lsn;
    props->smallest = builder->smallest.data;
    props->smallest_size = (uint32_t)builder->smallest.size;
    props->largest = builder->largest.data;
    props->largest_size = (uint32_t)builder->largest.size;
    uint64_t ends[4];
    int rc = builder->block_open ? end_block(builder) : 0;
    ends[0] = oor_builder_size(builder);
    if (rc >= 0 && builder->options.filter_bits) rc = write_filter(builder);
    ends[1] = oor_builder_size(builder);
    if (rc >= 0) rc = write_index(builder);
    ends[2] = oor_builder_size(builder);
    if (rc >= 0) rc = write_props(builder);
    ends[3] = oor_builder_size(builder);
    if (rc >= 0) rc = write_footer(builder, ends);
    if (rc >= 0) rc = oor_io_sync(builder->fd, builder->path);
    if (rc < 0) return rc;
    int fd = builder->fd;
    builder->fd = -1;
    rc = oor_io_close(fd, builder->path);
    if (rc >= 0) *out = *props;
    return rc;
}
