/* pickle.h: writes the few shapes of Python's pickle, protocol 3, that cross the border in bulk.
 *
 * pickle := 0x80 0x03 body '.'
 * dict   := '}' '(' (bytes (bytes | 'N'))* 'u'
 * list   := ']' '(' item* 'e'            item := bytes | 'N' | bytes bytes 0x86
 * bytes  := 'C' size:u8 data | 'B' size:u32 data
 *
 * Source: the opcode table of CPython's pickletools.  A pickle is read with memory that C filled
 * itself; nothing that comes from a disk or a user is ever unpickled as it stands.
 *
 * Ownership: the caller's buffer; the caller has reserved what oor_pickle_bytes_room says.
 * Threads:   pure functions. */
#ifndef OOR_PICKLE_H
#define OOR_PICKLE_H

#include "core.h"

enum { OOR_PICKLE_FRAME_ROOM = 8, OOR_PICKLE_BYTES_ROOM = 6, OOR_PICKLE_TUPLE2 = 0x86 };

static inline void oor_pickle_raw(oor_buffer *out, const char *bytes, size_t size) {
    memcpy(out->data + out->size, bytes, size);
    out->size += size;
}

static inline void oor_pickle_bytes(oor_buffer *out, const uint8_t *data, size_t size) {
    assert(out->capacity - out->size >= size + OOR_PICKLE_BYTES_ROOM);
    uint8_t *p = out->data + out->size;
    if (size < 256) {
        p[0] = 'C';
        p[1] = (uint8_t)size;
        p += 2;
    } else {
        p[0] = 'B';
        oor_store32(p + 1, (uint32_t)size);
        p += 5;
    }
    if (size) memcpy(p, data, size);
    out->size = (size_t)(p - out->data) + size;
}

#endif
