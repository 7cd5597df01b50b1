/* bulk.h: the pairs of a memtable that came as columns, as the writer of a table takes them.
 *
 * Ownership: entries and what they point to are the bulk's, and stay where they are until it is
 *            freed.
 * Threads:   oor_bulk_entries only while nobody adds: of a memtable that is being flushed. */
#ifndef OOR_BULK_H
#define OOR_BULK_H

#include "core.h"
#include "frame.h"

/* One key and its newest value. */
typedef struct {
    const uint8_t *key;
    const uint8_t *value;
    uint32_t key_size;
    uint32_t value_size; /* OOR_TOMBSTONE: deleted */
} oor_bulk_entry;

/* All entries, in the order in which their keys came. */
const oor_bulk_entry *oor_bulk_entries(const oor_bulk *bulk, size_t *count);
/* As oor_bulk_get where nobody else has its lock; 0: somebody has. */
int oor_bulk_try_get(oor_bulk *bulk, const uint8_t *key, size_t key_size, oor_bulk_value *out);
/* The place of a key among them, or -1. */
int64_t oor_bulk_place(const oor_bulk *bulk, const uint8_t *key, size_t key_size);

#endif
