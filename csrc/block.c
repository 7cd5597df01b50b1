/* block.c: writes and checks sections and data blocks.
 *
 * section := payload codec:u8 crc:u32            crc: masked CRC32C of salt payload codec
 *            payload as codec.c has it
 * salt    := table_number:u64 offset:u64         of the section; not stored
 * block   := entry* count:u32 interval:u32       the content of a data section
 * entry   := shared:varint suffix_size:varint value:varint suffix value_byte*
 *            value is 0 for a tombstone, else the size of the value + 1
 * Every interval-th entry, from the first, is a restart: shared is 0.  The key of another entry is
 * the first `shared` bytes of the key of the restart before it, and its suffix.  So any entry is
 * read without a walk through its neighbours.  No entry starts past byte 65535 of its block.
 * varint: 7 bits a byte, low first, at most 32 bits. */
#include "block.h"

static uint32_t section_crc(uint64_t number, uint64_t offset, const uint8_t *data, size_t size) {
    uint8_t salt[16];
    oor_store64(salt, number);
    oor_store64(salt + 8, offset);
    return oor_crc32c_mask(oor_crc32c(oor_crc32c(0, salt, sizeof salt), data, size));
}

int oor_section_seal(oor_buffer *out, size_t start, uint64_t number, uint64_t offset,
                     uint32_t codec, uint32_t *crc) {
    assert(start <= out->size);
    int rc = oor_buffer_reserve(out, OOR_SECTION_TRAILER_SIZE);
    if (rc < 0) return rc;
    out->data[out->size++] = (uint8_t)codec;
    *crc = section_crc(number, offset, out->data + start, out->size - start);
    oor_store32(out->data + out->size, *crc);
    out->size += 4;
    return 0;
}

int oor_section_check(const oor_place *place, const uint8_t *data, size_t size, uint32_t *codec,
                      size_t *payload_size) {
    if (size < OOR_SECTION_TRAILER_SIZE)
        return oor_fail_damage(place->path, place->offset, "a section of %zu bytes", size);
    uint32_t stored = oor_load32(data + size - 4);
    uint32_t computed = section_crc(place->number, place->offset, data, size - 4);
    if (stored != computed)
        return oor_fail_damage(place->path, place->offset, "section crc 0x%08x, computed 0x%08x",
                               stored, computed);
    *codec = data[size - OOR_SECTION_TRAILER_SIZE];
    *payload_size = size - OOR_SECTION_TRAILER_SIZE;
    return 0;
}

void oor_block_begin(oor_block_writer *writer, const oor_buffer *out, uint32_t interval) {
    assert(interval > 0);
    *writer = (oor_block_writer){.start = out->size, .interval = interval};
}

static uint32_t shared_size(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size) {
    uint32_t limit = a_size < b_size ? a_size : b_size, at = 0;
    while (at < limit && a[at] == b[at]) at++;
    return at;
}

int oor_block_add(oor_block_writer *writer, oor_buffer *out, const uint8_t *key, uint32_t key_size,
                  const uint8_t *value, uint32_t value_size) {
    assert(key_size <= OOR_KEY_SIZE_MAX);
    assert(value_size <= OOR_VALUE_SIZE_MAX || value_size == OOR_TOMBSTONE);
    uint32_t data_size = value_size == OOR_TOMBSTONE ? 0 : value_size;
    int rc = oor_buffer_reserve(out, (size_t)OOR_ENTRY_HEADER_SIZE_MAX + key_size + data_size);
    if (rc < 0) return rc;
    int restart = writer->count++ % writer->interval == 0;
    uint32_t shared = restart ? 0
                              : shared_size(out->data + writer->restart_key,
                                            writer->restart_key_size, key, key_size);
    uint8_t *p = out->data + out->size;
    p = oor_varint_write(p, shared);
    p = oor_varint_write(p, key_size - shared);
    p = oor_varint_write(p, value_size + 1); /* OOR_TOMBSTONE wraps to 0 */
    if (restart) {
        writer->restart_key = (size_t)(p - out->data);
        writer->restart_key_size = key_size;
    }
    if (key_size > shared) memcpy(p, key + shared, key_size - shared);
    p += key_size - shared;
    if (data_size) memcpy(p, value, data_size);
    out->size = (size_t)(p - out->data) + data_size;
    return 0;
}

int oor_block_end(oor_block_writer *writer, oor_buffer *out) {
    int rc = oor_buffer_reserve(out, OOR_BLOCK_TAIL_SIZE);
    if (rc < 0) return rc;
    oor_store32(out->data + out->size, writer->count);
    oor_store32(out->data + out->size + 4, writer->interval);
    out->size += OOR_BLOCK_TAIL_SIZE;
    return 0;
}

static int damaged(const oor_place *place, const char *what) {
    return oor_fail_damage(place->path, place->offset, "block %s", what);
}

int64_t oor_block_count(const oor_place *place, const uint8_t *payload, size_t size) {
    if (size < OOR_BLOCK_TAIL_SIZE || size > UINT32_MAX)
        return damaged(place, "of an impossible size");
    uint32_t count = oor_load32(payload + size - 8);
    if (count == 0 || count > (size - OOR_BLOCK_TAIL_SIZE) / OOR_ENTRY_SIZE_MIN ||
        count > OOR_ENTRY_OFFSET_MAX / OOR_ENTRY_SIZE_MIN + 1)
        return damaged(place, "with an impossible count");
    if (oor_load32(payload + size - 4) == 0) return damaged(place, "without restarts");
    return count;
}

int oor_block_view(const oor_place *place, const uint8_t *payload, size_t size, uint32_t count,
                   uint16_t *offsets, oor_block *out) {
    const uint8_t *p = payload, *end = payload + size - OOR_BLOCK_TAIL_SIZE;
    uint32_t interval = oor_load32(payload + size - 4), restart_key_size = 0, until_restart = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t shared, suffix_size, value;
        if (p - payload > OOR_ENTRY_OFFSET_MAX)
            return damaged(place, "with an entry past its first 64 KiB");
        offsets[i] = (uint16_t)(p - payload);
        if (end - p >= OOR_ENTRY_SIZE_MIN && p[0] < 128 && p[1] < 128 && p[2] < 128) {
            shared = p[0];
            suffix_size = p[1];
            value = p[2];
            p += 3;
        } else {
            p = oor_varint_read(p, end, &shared);
            if (p) p = oor_varint_read(p, end, &suffix_size);
            if (p) p = oor_varint_read(p, end, &value);
            if (!p) return damaged(place, "with a broken entry");
        }
        uint32_t value_size = value ? value - 1 : 0;
        if (shared > OOR_KEY_SIZE_MAX || suffix_size > OOR_KEY_SIZE_MAX - shared ||
            value_size > OOR_VALUE_SIZE_MAX || (size_t)(end - p) < (size_t)suffix_size + value_size)
            return damaged(place, "with an entry past its end");
        if (until_restart == 0) {
            if (shared) return damaged(place, "with a broken restart");
            restart_key_size = suffix_size;
            until_restart = interval;
        }
        if (shared > restart_key_size) return damaged(place, "with a broken prefix");
        until_restart--;
        p += (size_t)suffix_size + value_size;
    }
    if (p != end) return damaged(place, "with bytes behind its entries");
    *out = (oor_block){.data = payload, .offsets = offsets, .count = count, .interval = interval};
    return 0;
}

uint32_t oor_block_seek(const oor_block *block, const uint8_t *key, size_t key_size) {
    uint32_t low = 0, high = block->count;
    /* The first places where a bisection looks, all at once: one wait for memory, not three. */
    for (uint32_t eighth = 1; eighth < 8; eighth++)
        __builtin_prefetch(block->data + block->offsets[high * eighth / 8]);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        oor_entry entry;
        oor_block_entry(block, middle, &entry);
        if (oor_entry_compare(&entry, key, key_size) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
