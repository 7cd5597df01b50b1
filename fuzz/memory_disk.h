/* memory_disk.h: a table of csrc/io.h whose files are byte arrays, so that a target reads no disk.
 *
 * Ownership: a file's bytes belong to whoever put them, until the next put of that name.
 * Threads:   one.
 * Invariants: reads past the end are short, as the kernel's are; every write is refused. */
#ifndef OOR_FUZZ_MEMORY_DISK_H
#define OOR_FUZZ_MEMORY_DISK_H

#include "io.h"

/* Puts the table in force; once a process. */
void memory_disk_install(void);
/* The file `path` holds data[0 .. size) from now on; NULL: there is no such file. */
void memory_disk_put(const char *path, const uint8_t *data, size_t size);

/* Ends the process with a message: what a target promises is not so. */
#define REQUIRE(what)                                                                              \
    do {                                                                                           \
        if (!(what)) memory_disk_broken(#what, __FILE__, __LINE__);                                \
    } while (0)
void memory_disk_broken(const char *what, const char *file, int line);

/* What libFuzzer, or replay.c, calls with one input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes bytes off the front of an input; what is not there reads as zeros. */
typedef struct {
    const uint8_t *data;
    size_t size;
} input;

static inline uint64_t take(input *in, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && in->size; i++, in->data++, in->size--)
        value |= (uint64_t)*in->data << (8 * i);
    return value;
}

static inline const uint8_t *take_span(input *in, size_t *size) {
    if (*size > in->size) *size = in->size;
    const uint8_t *span = in->data;
    in->data += *size;
    in->size -= *size;
    return span;
}

#endif
