/* block.h: sections of a table file (payload, codec, checksum) and the data block, one kind of
 * payload.
 *
 * Ownership: a block view points into memory of whoever read it; a writer appends to the caller's
 *            buffer.
 * Threads:   pure functions; a writer has one owner.
 * Invariants:
 * (1) Nothing inside a section is looked at before its checksum has been verified.
 * (2) A block view exists only for a payload whose every entry was checked to lie inside it, so
 *     that reading through a view needs no more checks, whatever a correctly checksummed block
 *     claims. */
#ifndef OOR_BLOCK_H
#define OOR_BLOCK_H

#include "core.h"

enum {
    OOR_SECTION_TRAILER_SIZE = 5, /* codec:u8 crc:u32 */
    OOR_BLOCK_TAIL_SIZE = 8,      /* count:u32 interval:u32 */
    OOR_ENTRY_SIZE_MIN = 3,       /* three varints of one byte */
    OOR_ENTRY_OFFSET_MAX = 65535, /* no entry starts further into its block */
    OOR_ENTRY_HEADER_SIZE_MAX = 3 + 3 + 5,
    OOR_VARINT_SIZE_MAX = 5
};

/* Where a section lies; it salts the checksum, so that bytes of elsewhere never verify here. */
typedef struct {
    const char *path;
    uint64_t number; /* of the table */
    uint64_t offset; /* of the section */
} oor_place;

/* Appends codec and checksum behind the payload that starts at `start` of `out`; *crc is as
 * stored. */
int oor_section_seal(oor_buffer *out, size_t start, uint64_t number, uint64_t offset,
                     uint32_t codec, uint32_t *crc);
/* Verifies a section as read and says how long its payload is, and how that is packed.
 * OOR_E_CORRUPT. */
int oor_section_check(const oor_place *place, const uint8_t *data, size_t size, uint32_t *codec,
                      size_t *payload_size);

/* One data block being written, behind `start` of a caller's buffer. */
typedef struct {
    size_t start;
    size_t restart_key; /* where the last whole key lies in the buffer */
    uint32_t restart_key_size;
    uint32_t count;
    uint32_t interval;
} oor_block_writer;

void oor_block_begin(oor_block_writer *writer, const oor_buffer *out, uint32_t interval);
/* value_size OOR_TOMBSTONE: a deletion.  REQUIRES: ascending keys within the limits. */
int oor_block_add(oor_block_writer *writer, oor_buffer *out, const uint8_t *key, uint32_t key_size,
                  const uint8_t *value, uint32_t value_size);
int oor_block_end(oor_block_writer *writer, oor_buffer *out);

typedef struct {
    const uint8_t *data;
    const uint16_t *offsets; /* of each entry */
    uint32_t count;
    uint32_t interval;
} oor_block;

typedef struct {
    const uint8_t *prefix; /* key := prefix[0, shared) suffix */
    const uint8_t *suffix;
    const uint8_t *value;
    uint32_t shared;
    uint32_t suffix_size;
    uint32_t value_size; /* OOR_TOMBSTONE: a deletion */
} oor_entry;

/* How many entries a payload says it has; never more than its size allows.  OOR_E_CORRUPT. */
int64_t oor_block_count(const oor_place *place, const uint8_t *payload, size_t size);
/* Walks a payload, checks every entry, fills offsets[count] and the view.
 * REQUIRES: oor_block_count gave `count` for this payload. */
int oor_block_view(const oor_place *place, const uint8_t *payload, size_t size, uint32_t count,
                   uint16_t *offsets, oor_block *out);
/* The first entry whose key is at or above `key`; block->count if there is none. */
uint32_t oor_block_seek(const oor_block *block, const uint8_t *key, size_t key_size);

/* Reads at most OOR_VARINT_SIZE_MAX bytes and none at or past `end`; NULL when there is no
 * varint. */
static inline const uint8_t *oor_varint_read(const uint8_t *p, const uint8_t *end, uint32_t *out) {
    uint32_t value = 0;
    for (uint32_t shift = 0; p < end && shift < 35; shift += 7) {
        uint32_t byte = *p++;
        if (shift == 28 && byte > 15) return NULL;
        value |= (byte & 127) << shift;
        if (byte < 128) {
            *out = value;
            return p;
        }
    }
    return NULL;
}

/* The same where a view has promised that a whole varint is there. */
static inline const uint8_t *oor_varint_read_checked(const uint8_t *p, uint32_t *out) {
    uint32_t value = *p++;
    if (value >= 128) {
        value &= 127;
        for (uint32_t shift = 7;; shift += 7) {
            uint32_t byte = *p++;
            value |= (byte & 127) << shift;
            if (byte < 128) break;
        }
    }
    *out = value;
    return p;
}

static inline uint8_t *oor_varint_write(uint8_t *p, uint32_t value) {
    while (value >= 128) {
        *p++ = (uint8_t)(value | 128);
        value >>= 7;
    }
    *p++ = (uint8_t)value;
    return p;
}

/* Fills all of `out` but the prefix, which is the suffix of the restart entry before. */
static inline void oor_entry_read(const uint8_t *p, oor_entry *out) {
    uint32_t value;
    p = oor_varint_read_checked(p, &out->shared);
    p = oor_varint_read_checked(p, &out->suffix_size);
    p = oor_varint_read_checked(p, &value);
    out->suffix = p;
    out->value = p + out->suffix_size;
    out->value_size = value - 1; /* 0 wraps to OOR_TOMBSTONE */
}

static inline void oor_block_entry(const oor_block *block, uint32_t at, oor_entry *out) {
    oor_entry_read(block->data + block->offsets[at], out);
    out->prefix = out->suffix;
    if (out->shared) {
        oor_entry restart;
        oor_entry_read(block->data + block->offsets[at - at % block->interval], &restart);
        out->prefix = restart.suffix;
    }
}

/* Order of an entry's key against `key`: < 0, 0 or > 0. */
static inline int oor_entry_compare(const oor_entry *entry, const uint8_t *key, size_t key_size) {
    if (key_size <= entry->shared) {
        int order = key_size ? memcmp(entry->prefix, key, key_size) : 0;
        return order ? order : entry->shared + entry->suffix_size > key_size;
    }
    int order = entry->shared ? memcmp(entry->prefix, key, entry->shared) : 0;
    if (order) return order;
    return oor_compare(entry->suffix, entry->suffix_size, key + entry->shared,
                       key_size - entry->shared);
}

static inline uint32_t oor_entry_key_size(const oor_entry *entry) {
    return entry->shared + entry->suffix_size;
}

/* memcpy for parts of keys: a call costs more than copying so few bytes. */
static inline void oor_copy_short(uint8_t *to, const uint8_t *from, uint32_t size) {
    if (size > 16) {
        memcpy(to, from, size);
    } else if (size >= 8) {
        uint64_t head, tail;
        memcpy(&head, from, 8);
        memcpy(&tail, from + size - 8, 8);
        memcpy(to, &head, 8);
        memcpy(to + size - 8, &tail, 8);
    } else if (size >= 4) {
        uint32_t head, tail;
        memcpy(&head, from, 4);
        memcpy(&tail, from + size - 4, 4);
        memcpy(to, &head, 4);
        memcpy(to + size - 4, &tail, 4);
    } else {
        for (uint32_t i = 0; i < size; i++) to[i] = from[i];
    }
}

static inline void oor_entry_key(const oor_entry *entry, uint8_t *out) {
    oor_copy_short(out, entry->prefix, entry->shared);
    oor_copy_short(out + entry->shared, entry->suffix, entry->suffix_size);
}

/* The first 8 bytes of a key as a number of the same order; shorter keys are padded with zeros. */
static inline uint64_t oor_key_prefix(const uint8_t *key, size_t size) {
    uint64_t prefix = 0;
    if (size >= 8) {
        memcpy(&prefix, key, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        prefix = __builtin_bswap64(prefix);
#endif
        return prefix;
    }
    for (size_t i = 0; i < size; i++) prefix |= (uint64_t)key[i] << (56 - 8 * i);
    return prefix;
}

#endif
