/* build.h: writes one table from ascending keys; runs and compaction feed it.
 *
 * Ownership: a builder belongs to whoever opened it; the file it wrote belongs to the file system,
 *            whole or in part, and is the caller's to unlink after a failure.
 * Threads:   one caller at a time.
 * Invariants:
 * (1) Keys ascend strictly; one that does not is refused before a byte of it is written.
 * (2) oor_builder_finish returns 0 only after the file was synced and closed without an error. */
#ifndef OOR_BUILD_H
#define OOR_BUILD_H

#include "core.h"

typedef struct oor_builder oor_builder;

/* Creates the file, which must not be there.  `order_code` is what a key out of order is answered
 * with. */
int oor_builder_open(const char *path, uint64_t number, const oor_table_options *options,
                     int order_code, oor_builder **out);
void oor_builder_free(oor_builder *builder);
int oor_builder_add(oor_builder *builder, const uint8_t *key, uint32_t key_size,
                    const uint8_t *value, uint32_t value_size);
/* Bytes of data blocks so far. */
uint64_t oor_builder_size(const oor_builder *builder);
/* Bytes of keys and values so far, as they were before blocks were packed. */
uint64_t oor_builder_content(const oor_builder *builder);
/* Writes filter, index, properties and footer; syncs; closes.  Keys in *out are the builder's. */
int oor_builder_finish(oor_builder *builder, uint64_t first_lsn, uint64_t last_lsn,
                       oor_table_props *out);

#endif
