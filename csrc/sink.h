/* sink.h: where a walk puts the pairs it finds: a list for Python, columns, or whoever is called.
 *
 * list    := of key value, one behind the other, of pairs, or of keys, as in marshal.h
 * columns := keys: bytes*  key_offsets: u32{n + 1}  values: bytes*  value_offsets: u32{n + 1}
 *            pair i is keys[key_offsets[i], key_offsets[i + 1]), and its value likewise
 *
 * Ownership: the caller's memory; a sink points to it for one call.
 * Threads:   one caller at a time.
 * Invariants:
 * (1) A pair is taken whole or not at all. */
#ifndef OOR_SINK_H
#define OOR_SINK_H

#include "block.h"
#include "marshal.h"

enum oor_sink_kind { /* lists first */
                     OOR_SINK_PAIRS,
                     OOR_SINK_TUPLES,
                     OOR_SINK_KEYS,
                     OOR_SINK_COLUMNS,
                     OOR_SINK_CALL
};

typedef struct {
    enum oor_sink_kind kind;
    oor_buffer *out;                                    /* of a list */
    size_t items;                                       /* in the list so far */
    oor_columns *columns;                               /* of columns */
    int (*take)(void *context, const oor_entry *entry); /* of a call: 1, or an error */
    void *context;
} oor_sink;

/* Appends key and value to the list: 1, or an error. */
static inline int oor_sink_list(oor_sink *sink, const oor_entry *entry) {
    oor_buffer *out = sink->out;
    uint32_t key_size = oor_entry_key_size(entry), value_size = entry->value_size;
    int pairs = sink->kind != OOR_SINK_KEYS;
    size_t room = (size_t)key_size + (pairs ? value_size : 0) + OOR_MARSHAL_PAIR_ROOM;
    if (out->capacity - out->size < room) {
        int rc = oor_buffer_reserve(out, room);
        if (rc < 0) return rc;
    }
    uint8_t *p = out->data + out->size;
    sink->items++;
    if (sink->kind == OOR_SINK_TUPLES) {
        p[0] = ')';
        p[1] = 2;
        p += 2;
    } else if (pairs) {
        sink->items++;
    }
    p = oor_marshal_bytes_at(p, key_size);
    oor_entry_key(entry, p);
    p += key_size;
    if (pairs) {
        p = oor_marshal_bytes_at(p, value_size);
        if (value_size) memcpy(p, entry->value, value_size);
        p += value_size;
    }
    out->size = (size_t)(p - out->data);
    return 1;
}

/* Appends key and value to the columns: 1, or 0 where they have no room for it. */
static inline int oor_sink_column(oor_columns *to, const oor_entry *entry) {
    uint32_t key_size = oor_entry_key_size(entry), value_size = entry->value_size;
    uint32_t key_at = to->key_offsets[to->count], value_at = to->value_offsets[to->count];
    if (to->count == to->pairs_capacity || to->keys_capacity - key_at < key_size ||
        to->values_capacity - value_at < value_size) {
        to->key_needed = key_size;
        to->value_needed = value_size;
        return 0;
    }
    oor_entry_key(entry, to->keys + key_at);
    if (value_size) memcpy(to->values + value_at, entry->value, value_size);
    to->count++;
    to->key_offsets[to->count] = key_at + key_size;
    to->value_offsets[to->count] = value_at + value_size;
    return 1;
}

/* 1: the pair was taken; 0: there is no room, the walk must not step over it; or an error.
 * REQUIRES: no tombstone. */
static inline int oor_sink_take(oor_sink *sink, const oor_entry *entry) {
    if (sink->kind < OOR_SINK_COLUMNS) return oor_sink_list(sink, entry);
    return sink->kind == OOR_SINK_COLUMNS ? oor_sink_column(sink->columns, entry)
                                          : sink->take(sink->context, entry);
}

#endif
