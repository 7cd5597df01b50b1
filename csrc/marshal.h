/* marshal.h: the few shapes of Python's marshal that cross the border in bulk, written and read.
 *
 * object := list | dict
 * list   := '[' count:u32 item*                  item := bytes | 'N' | pair | list
 * dict   := '{' (bytes (bytes | 'N'))* '0'
 * pair   := ')' 2:u8 bytes bytes
 * bytes  := 's' size:u32 data
 *
 * Source: r_object in CPython's Python/marshal.c; these types are the same in all its versions
 * since 3.4, and oor/native.py tries them at its import.  An object is read from memory that C
 * filled itself; nothing that comes from a disk or a user is ever read as one as it stands.
 *
 * Ownership: the caller's buffer, with room reserved for what is written.
 * Threads:   pure functions. */
#ifndef OOR_MARSHAL_H
#define OOR_MARSHAL_H

#include "core.h"

enum {
    OOR_MARSHAL_FRAME_ROOM = 8, /* around a list or a dict */
    OOR_MARSHAL_BYTES_ROOM = 5, /* before the data */
    OOR_MARSHAL_PAIR_ROOM = 2 + 2 * OOR_MARSHAL_BYTES_ROOM
};

static inline void oor_marshal_code(oor_buffer *out, char code) {
    out->data[out->size++] = (uint8_t)code;
}

/* Where a list begins: oor_marshal_list_end takes it. */
static inline size_t oor_marshal_list_begin(oor_buffer *out) {
    oor_marshal_code(out, '[');
    out->size += 4;
    return out->size - 4;
}

static inline void oor_marshal_list_end(oor_buffer *out, size_t begun, size_t count) {
    assert(count <= INT32_MAX);
    oor_store32(out->data + begun, (uint32_t)count);
}

static inline void oor_marshal_dict_begin(oor_buffer *out) { oor_marshal_code(out, '{'); }
static inline void oor_marshal_dict_end(oor_buffer *out) { oor_marshal_code(out, '0'); }
static inline void oor_marshal_none(oor_buffer *out) { oor_marshal_code(out, 'N'); }

/* What stands before `size` bytes of data, at p; returns where they go. */
static inline uint8_t *oor_marshal_bytes_at(uint8_t *p, uint32_t size) {
    p[0] = 's';
    oor_store32(p + 1, size);
    return p + OOR_MARSHAL_BYTES_ROOM;
}

static inline void oor_marshal_bytes(oor_buffer *out, const uint8_t *data, size_t size) {
    assert(out->capacity - out->size >= size + OOR_MARSHAL_BYTES_ROOM && size <= INT32_MAX);
    uint8_t *p = oor_marshal_bytes_at(out->data + out->size, (uint32_t)size);
    if (size) memcpy(p, data, size);
    out->size += size + OOR_MARSHAL_BYTES_ROOM;
}

/* Reads `code` and the number behind it at p; NULL where something else stands there. */
static inline const uint8_t *oor_marshal_head_read(const uint8_t *p, const uint8_t *end, char code,
                                                   uint32_t *number) {
    if (end - p < OOR_MARSHAL_BYTES_ROOM || p[0] != (uint8_t)code) return NULL;
    *number = oor_load32(p + 1);
    return p + OOR_MARSHAL_BYTES_ROOM;
}

/* Where the items of a list begin; NULL: it is none. */
static inline const uint8_t *oor_marshal_list_read(const uint8_t *p, const uint8_t *end,
                                                   uint32_t *count) {
    p = oor_marshal_head_read(p, end, '[', count);
    return p && *count <= INT32_MAX ? p : NULL;
}

/* Where the data of bytes begins, all of which lies before `end`; NULL: they are none. */
static inline const uint8_t *oor_marshal_bytes_read(const uint8_t *p, const uint8_t *end,
                                                    uint32_t *size) {
    p = oor_marshal_head_read(p, end, 's', size);
    return p && *size <= (size_t)(end - p) ? p : NULL;
}

#endif
