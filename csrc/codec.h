/* codec.h: packs and unpacks the blocks of a table with the compression libraries of the system.
 *
 * Ownership: a packer belongs to whoever made it.  Output goes into memory of the caller's.
 * Threads:   a packer has one owner; unpacking is safe for all callers at once, each thread keeps
 *            what its library needs for it until it ends.
 * Invariants:
 * (1) Nothing is packed or unpacked with a library that was not found whole: every function of it
 *     that is used here was there.
 * (2) Unpacking reads nothing past its input and writes nothing past the size that it was told,
 *     whatever a correctly checksummed payload claims. */
#ifndef OOR_CODEC_H
#define OOR_CODEC_H

#include "block.h"

typedef struct oor_packer oor_packer;

/* `level`: how hard zstd tries, 1 to OOR_CODEC_LEVEL_MAX.  OOR_E_CODEC, OOR_E_MEMORY. */
int oor_packer_new(uint32_t codec, uint32_t level, const char *path, oor_packer **out);
void oor_packer_free(oor_packer *packer);
/* Replaces what lies behind `start` of `out` by its packed form where that is smaller by at least
 * an eighth.  The codec that it has now, or an error. */
int oor_packer_pack(oor_packer *packer, oor_buffer *out, size_t start);

/* How many bytes a packed payload says it holds, never more than any block has.  OOR_E_CORRUPT,
 * OOR_E_CODEC.  REQUIRES: its section was verified; codec is not OOR_CODEC_NONE. */
int64_t oor_unpacked_size(const oor_place *place, uint32_t codec, const uint8_t *payload,
                          size_t size);
/* Unpacks it to out[0, out_size).  REQUIRES: oor_unpacked_size gave out_size for it. */
int oor_unpack(const oor_place *place, uint32_t codec, const uint8_t *payload, size_t size,
               uint8_t *out, size_t out_size);

#endif
