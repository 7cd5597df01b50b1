/* codec.c: packed payloads, and the libraries that make them.
 *
 * payload := content                  codec 0
 *          | size:u32 frame           codec 1: one Zstandard frame (RFC 8878) of `size` bytes
 *          | size:u32 block           codec 2: one LZ4 block of `size` bytes
 * The numbers of the codecs are on disks: they never change, and none is used twice.
 *
 * The libraries are opened by the name of their stable interface when they are first needed, so
 * that no build needs their headers and no start of the process needs the libraries.  The few
 * functions declared here have had these prototypes since version 1.4 of zstd and 1.7 of lz4, and
 * the parameters their numbers. */
#include "codec.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    SIZE_FIELD = 4,
    WORTH_SHIFT = 3, /* what saves less than an eighth is not worth the work of unpacking it */
    /* One byte of a stream of a codec stands for so many bytes of content at the most. */
    ZSTD_RATIO_MAX = 1 << 15,
    LZ4_RATIO_MAX = 256,
    UNPACKED_MAX = OOR_ENTRY_OFFSET_MAX + OOR_ENTRY_HEADER_SIZE_MAX + OOR_KEY_SIZE_MAX +
                   OOR_VALUE_SIZE_MAX + OOR_BLOCK_TAIL_SIZE
};

/* ---- the libraries -------------------------------------------------------------------------- */

typedef struct {
    void *(*new_packer)(void);
    size_t (*free_packer)(void *);
    size_t (*set)(void *, int, int);
    size_t (*pack)(void *, void *, size_t, const void *, size_t);
    size_t (*bound)(size_t);
    void *(*new_unpacker)(void);
    size_t (*free_unpacker)(void *);
    size_t (*unpack)(void *, void *, size_t, const void *, size_t);
    unsigned (*is_error)(size_t);
} zstd_library;

typedef struct {
    int (*pack)(const char *, char *, int, int);
    int (*bound)(int);
    int (*unpack)(const char *, char *, int, int);
} lz4_library;

typedef struct {
    const char *name, *soname, *package;
} codec_facts;

static const codec_facts facts[] = {[OOR_CODEC_ZSTD] = {"zstd", "libzstd.so.1", "libzstd1"},
                                    [OOR_CODEC_LZ4] = {"lz4", "liblz4.so.1", "liblz4-1"}};
enum { CODECS = sizeof facts / sizeof facts[0] };

static zstd_library zstd;
static lz4_library lz4;
static int found[CODECS];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t unpacker_key; /* a thread's own unpacker of zstd */

static void free_unpacker(void *unpacker) { zstd.free_unpacker(unpacker); }

/* Copies the address: C has no cast from an object pointer to a function pointer. */
static int take(void *library, const char *name, void *to, size_t to_size) {
    void *address = library ? dlsym(library, name) : NULL;
    assert(to_size == sizeof address);
    memcpy(to, &address, sizeof address);
    return address != NULL;
}
#define TAKE(library, name, field) take(library, name, &(field), sizeof(field))

/* The libraries stay open: what they gave out is used until the process ends. */
static void find_libraries(void) {
    void *library = dlopen(facts[OOR_CODEC_ZSTD].soname, RTLD_NOW | RTLD_LOCAL);
    found[OOR_CODEC_ZSTD] = TAKE(library, "ZSTD_createCCtx", zstd.new_packer) &&
                            TAKE(library, "ZSTD_freeCCtx", zstd.free_packer) &&
                            TAKE(library, "ZSTD_CCtx_setParameter", zstd.set) &&
                            TAKE(library, "ZSTD_compress2", zstd.pack) &&
                            TAKE(library, "ZSTD_compressBound", zstd.bound) &&
                            TAKE(library, "ZSTD_createDCtx", zstd.new_unpacker) &&
                            TAKE(library, "ZSTD_freeDCtx", zstd.free_unpacker) &&
                            TAKE(library, "ZSTD_decompressDCtx", zstd.unpack) &&
                            TAKE(library, "ZSTD_isError", zstd.is_error) &&
                            pthread_key_create(&unpacker_key, free_unpacker) == 0;
    library = dlopen(facts[OOR_CODEC_LZ4].soname, RTLD_NOW | RTLD_LOCAL);
    found[OOR_CODEC_LZ4] = TAKE(library, "LZ4_compress_default", lz4.pack) &&
                           TAKE(library, "LZ4_compressBound", lz4.bound) &&
                           TAKE(library, "LZ4_decompress_safe", lz4.unpack);
}

int oor_codec_require(uint32_t codec, const char *path) {
    if (codec == OOR_CODEC_NONE) return 0;
    pthread_once(&once, find_libraries);
    if (codec < CODECS && found[codec]) return 0;
    if (codec >= CODECS)
        return oor_fail(OOR_E_FORMAT, path, "codec %u is not in this build", codec);
    return oor_fail(OOR_E_CODEC, path,
                    "codec %u (%s) needs %s, which is not on this machine: install the package %s",
                    codec, facts[codec].name, facts[codec].soname, facts[codec].package);
}

/* ---- packing -------------------------------------------------------------------------------- */

struct oor_packer {
    uint32_t codec;
    void *zstd;
    uint8_t *room;
    size_t room_size;
};

/* Level 1 is asked for where packing is in the way of writing, so it takes a fifth less time than
 * zstd's own, for a hundredth of room: of blocks of records, short matches are hardly worth their
 * encoding, and it looks at every other place for one.  Literals are packed all the same, which
 * zstd leaves out with such a stride; a library that will not is left as it is. */
static int set_up(void *packer, int level) {
    enum { LEVEL = 100, MATCH_MIN = 105, STRIDE = 106, PACK_LITERALS = 1002 };
    if (zstd.is_error(zstd.set(packer, LEVEL, level))) return -1;
    if (level == 1 && !zstd.is_error(zstd.set(packer, PACK_LITERALS, 1))) {
        (void)zstd.set(packer, MATCH_MIN, 6);
        (void)zstd.set(packer, STRIDE, 2);
    }
    return 0;
}

int oor_packer_new(uint32_t codec, uint32_t level, const char *path, oor_packer **out) {
    assert(codec != OOR_CODEC_NONE);
    int rc = oor_codec_require(codec, path);
    if (rc < 0) return rc;
    if (level < 1 || level > OOR_CODEC_LEVEL_MAX)
        return oor_fail(OOR_E_LIMIT, path, "compression level %u, allowed are 1 to %d", level,
                        OOR_CODEC_LEVEL_MAX);
    oor_packer *packer = calloc(1, sizeof *packer);
    if (packer && codec == OOR_CODEC_ZSTD) packer->zstd = zstd.new_packer();
    if (!packer ||
        (codec == OOR_CODEC_ZSTD && (!packer->zstd || set_up(packer->zstd, (int)level) < 0))) {
        oor_packer_free(packer);
        return oor_fail(OOR_E_MEMORY, path, "no memory to pack blocks");
    }
    packer->codec = codec;
    *out = packer;
    return 0;
}

void oor_packer_free(oor_packer *packer) {
    if (!packer) return;
    if (packer->zstd) zstd.free_packer(packer->zstd);
    free(packer->room);
    free(packer);
}

static int reserve_room(oor_packer *packer, size_t size) {
    if (size <= packer->room_size) return 0;
    free(packer->room);
    packer->room = malloc(size);
    packer->room_size = packer->room ? size : 0;
    return packer->room ? 0 : oor_fail(OOR_E_MEMORY, NULL, "no memory for %zu bytes", size);
}

/* The size of the stream in packer->room; 0 where the library would not. */
static size_t make_stream(oor_packer *packer, const uint8_t *data, size_t size) {
    if (packer->codec == OOR_CODEC_LZ4) {
        int made =
            lz4.pack((const char *)data, (char *)packer->room, (int)size, (int)packer->room_size);
        return made > 0 ? (size_t)made : 0;
    }
    size_t made = zstd.pack(packer->zstd, packer->room, packer->room_size, data, size);
    return zstd.is_error(made) ? 0 : made;
}

int oor_packer_pack(oor_packer *packer, oor_buffer *out, size_t start) {
    size_t size = out->size - start;
    assert(start <= out->size && size <= UNPACKED_MAX);
    int rc = reserve_room(packer, packer->codec == OOR_CODEC_LZ4 ? (size_t)lz4.bound((int)size)
                                                                 : zstd.bound(size));
    if (rc < 0) return rc;
    size_t made = make_stream(packer, out->data + start, size);
    if (made == 0 || SIZE_FIELD + made > size - (size >> WORTH_SHIFT)) return OOR_CODEC_NONE;
    oor_store32(out->data + start, (uint32_t)size);
    memcpy(out->data + start + SIZE_FIELD, packer->room, made);
    out->size = start + SIZE_FIELD + made;
    return (int)packer->codec;
}

/* ---- unpacking ------------------------------------------------------------------------------ */

static int damaged(const oor_place *place, uint32_t codec, const char *what) {
    return oor_fail_damage(place->path, place->offset, "a block packed with %s %s",
                           facts[codec].name, what);
}

int64_t oor_unpacked_size(const oor_place *place, uint32_t codec, const uint8_t *payload,
                          size_t size) {
    assert(codec != OOR_CODEC_NONE);
    int rc = oor_codec_require(codec, place->path);
    if (rc < 0) return rc;
    if (size <= SIZE_FIELD) return damaged(place, codec, "is too short to hold any");
    uint64_t content = oor_load32(payload), stream = size - SIZE_FIELD;
    uint64_t ratio = codec == OOR_CODEC_LZ4 ? LZ4_RATIO_MAX : ZSTD_RATIO_MAX;
    if (content == 0 || content > UNPACKED_MAX || content > stream * ratio)
        return damaged(place, codec, "claims a size that it cannot have");
    return (int64_t)content;
}

/* This thread's own; NULL: no memory. */
static void *own_unpacker(void) {
    void *own = pthread_getspecific(unpacker_key);
    if (own) return own;
    own = zstd.new_unpacker();
    if (own && pthread_setspecific(unpacker_key, own) != 0) {
        zstd.free_unpacker(own);
        return NULL;
    }
    return own;
}

int oor_unpack(const oor_place *place, uint32_t codec, const uint8_t *payload, size_t size,
               uint8_t *out, size_t out_size) {
    const uint8_t *stream = payload + SIZE_FIELD;
    size_t stream_size = size - SIZE_FIELD, made = 0;
    if (codec == OOR_CODEC_LZ4) {
        if (stream_size > INT32_MAX) return damaged(place, codec, "is too long");
        int got = lz4.unpack((const char *)stream, (char *)out, (int)stream_size, (int)out_size);
        made = got > 0 ? (size_t)got : 0;
    } else {
        void *unpacker = own_unpacker();
        if (!unpacker) return oor_fail(OOR_E_MEMORY, place->path, "no memory to unpack a block");
        made = zstd.unpack(unpacker, out, out_size, stream, stream_size);
        if (zstd.is_error(made)) made = 0;
    }
    return made == out_size ? 0 : damaged(place, codec, "does not unpack to the size it claims");
}
