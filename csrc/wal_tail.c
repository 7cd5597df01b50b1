/* wal_tail.c: the shared tail, the newest bytes of the log in a file that is mapped and shared.
 *
 * An append is a copy into the map.  The kernel keeps the map when the process dies, so a killed
 * process loses nothing; only what a segment has counts as durable.
 *
 * tail := half half
 * half := head:4096 data:tail_size                      all integers little-endian
 * head := magic:8 version:u32 data_size:u32 database_id:16 epoch:u64 number:u64 base:u64 start:u64
 *         first_lsn:u64 new_lsn:u64 previous_segment:u64 previous_last_lsn:u64 segment_size:u64
 *         crc:u32
 *
 * data mirrors the segment `number` from offset `base`; the first frame that begins here is at
 * `start`. The frames are as in frame.c, salt and offset included, so those of an earlier use never
 * verify. */
#include "wal.h"
#include "tail.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TAIL_MAGIC = 0,
    TAIL_VERSION = TAIL_MAGIC + 8,
    TAIL_SIZE = TAIL_VERSION + 4,
    TAIL_ID = TAIL_SIZE + 4,
    TAIL_EPOCH = TAIL_ID + 16,
    TAIL_NUMBER = TAIL_EPOCH + 8,
    TAIL_BASE = TAIL_NUMBER + 8,
    TAIL_START = TAIL_BASE + 8,
    TAIL_FIRST_LSN = TAIL_START + 8,
    TAIL_NEW_LSN = TAIL_FIRST_LSN + 8,
    TAIL_PREVIOUS = TAIL_NEW_LSN + 8,
    TAIL_PREVIOUS_LAST = TAIL_PREVIOUS + 8,
    TAIL_SEGMENT_SIZE = TAIL_PREVIOUS_LAST + 8,
    TAIL_CRC = TAIL_SEGMENT_SIZE + 8,
    TAIL_END = TAIL_CRC + 4,
    TAIL_HEAD = OOR_BLOCK
};
_Static_assert(TAIL_END == 108, "docs/formats/segment.md promises 108 bytes");

static const uint8_t tail_magic[8] = {'O', 'O', 'R', 'T', 'A', 'I', 'L', 1};
enum { TAIL_FORMAT = 1 };
/* The largest half that a reader will take memory for. */
enum { TAIL_SIZE_MAX = 1 << 28 };

/* Whether a tail of the right size is there already. */
static int is_there(oor_wal *wal) {
    int rc = oor_io_exists(wal->tail_path);
    if (rc <= 0) return rc;
    int fd = oor_io_open(wal->tail_path, OOR_OPEN_READ);
    if (fd < 0) return fd;
    int64_t size = oor_io_size(fd, wal->tail_path);
    oor_io_close(fd, wal->tail_path);
    return size < 0 ? (int)size : (uint64_t)size == wal->map_size;
}

/* Every block is written before the file is mapped, so that no store into the map can meet a full
 * disk.  The file gets its name only then: a power loss in between leaves no tail with holes. */
static int make_whole(oor_wal *wal) {
    char made_path[sizeof wal->tail_path];
    snprintf(made_path, sizeof made_path, "%s/TAIL.tmp", wal->dir);
    uint8_t *zeros = calloc(1, wal->map_size);
    if (!zeros) return oor_fail(OOR_E_MEMORY, made_path, "no memory for %zu zeros", wal->map_size);
    int fd = oor_io_open(made_path, OOR_OPEN_WRITE | OOR_OPEN_CREATE | OOR_OPEN_TRUNCATE);
    int rc = fd < 0 ? fd : oor_io_write(fd, made_path, zeros, wal->map_size, 0);
    free(zeros);
    if (rc >= 0) rc = oor_io_sync(fd, made_path);
    int closed = fd < 0 ? 0 : oor_io_close(fd, made_path);
    if (rc >= 0) rc = closed;
    if (rc >= 0) rc = oor_io_rename(made_path, wal->tail_path);
    return rc < 0 ? rc : oor_io_sync_dir(wal->dir);
}

int oor_wal_tail_open(oor_wal *wal) {
    snprintf(wal->tail_path, sizeof wal->tail_path, "%s/TAIL", wal->dir);
    wal->map_size = 2 * (TAIL_HEAD + (size_t)wal->options.tail_size);
    int rc = is_there(wal);
    if (rc == 0) rc = make_whole(wal);
    if (rc < 0) return rc;
    wal->tail_fd = oor_io_open(wal->tail_path, OOR_OPEN_READ | OOR_OPEN_WRITE);
    if (wal->tail_fd < 0) return wal->tail_fd;
    rc = oor_io_map(wal->tail_fd, wal->tail_path, wal->map_size, &wal->map);
    if (rc < 0) return rc;
    for (int i = 0; i < 2; i++) {
        wal->half[i] = (oor_wal_half){0};
        wal->half[i].head = wal->map + (size_t)i * (TAIL_HEAD + (size_t)wal->options.tail_size);
        wal->half[i].data = wal->half[i].head + TAIL_HEAD;
        memset(wal->half[i].head, 0, TAIL_END);
        oor_io_stored(wal->map, (uint64_t)(wal->half[i].head - wal->map), TAIL_END);
    }
    return 0;
}

void oor_wal_tail_close(oor_wal *wal) {
    if (wal->map) oor_io_unmap(wal->map, wal->map_size);
    if (wal->tail_fd >= 0) oor_io_close(wal->tail_fd, wal->tail_path);
    wal->map = NULL;
    wal->tail_fd = -1;
}

void oor_wal_tail_begin(oor_wal *wal, oor_wal_half *half, oor_wal_file *file, uint64_t offset,
                        const uint8_t *partial) {
    assert(half->used == half->drained && offset % OOR_FRAME_ALIGN == 0);
    uint64_t base = offset / OOR_BLOCK * OOR_BLOCK;
    uint8_t *head = half->head;
    /* The old head goes first: until the new one is whole, this half says nothing. */
    memset(head, 0, TAIL_END);
    oor_io_stored(wal->map, (uint64_t)(head - wal->map), TAIL_END);
    if (offset > base) {
        memcpy(half->data, partial, (size_t)(offset - base));
        oor_io_stored(wal->map, (uint64_t)(half->data - wal->map), (size_t)(offset - base));
    }
    memcpy(head + TAIL_MAGIC, tail_magic, sizeof tail_magic);
    oor_store32(head + TAIL_VERSION, TAIL_FORMAT);
    oor_store32(head + TAIL_SIZE, (uint32_t)wal->options.tail_size);
    memcpy(head + TAIL_ID, wal->options.database_id, 16);
    oor_store64(head + TAIL_EPOCH, file->header.epoch);
    oor_store64(head + TAIL_NUMBER, file->header.number);
    oor_store64(head + TAIL_BASE, base);
    oor_store64(head + TAIL_START, offset);
    oor_store64(head + TAIL_FIRST_LSN, file->header.first_lsn);
    oor_store64(head + TAIL_NEW_LSN, file->header.new_lsn);
    oor_store64(head + TAIL_PREVIOUS, file->header.previous_segment);
    oor_store64(head + TAIL_PREVIOUS_LAST, file->header.previous_last_lsn);
    oor_store64(head + TAIL_SEGMENT_SIZE, file->header.size);
    oor_store32(head + TAIL_CRC, oor_crc32c_mask(oor_crc32c(0, head, TAIL_CRC)));
    oor_io_stored(wal->map, (uint64_t)(head - wal->map), TAIL_END);
    half->file = file;
    half->base = base;
    half->used = half->drained = offset - base;
    half->end_lsn = wal->next_lsn;
}

/* ---- what an incarnation left, for recovery -------------------------------------------------- */

static int read_half(int fd, const char *path, uint64_t at, uint64_t data_size,
                     const uint8_t *database_id, uint64_t epoch, oor_tail_half *out) {
    uint8_t head[TAIL_END];
    int64_t got = oor_io_read(fd, path, head, sizeof head, at);
    if (got < 0) return (int)got;
    if (got < TAIL_END || memcmp(head, tail_magic, sizeof tail_magic)) return 0;
    if (oor_load32(head + TAIL_CRC) != oor_crc32c_mask(oor_crc32c(0, head, TAIL_CRC))) return 0;
    if (oor_load32(head + TAIL_VERSION) != TAIL_FORMAT ||
        oor_load32(head + TAIL_SIZE) != data_size || memcmp(head + TAIL_ID, database_id, 16) ||
        oor_load64(head + TAIL_EPOCH) != epoch)
        return 0;
    out->header = (oor_segment_header){.epoch = epoch,
                                       .number = oor_load64(head + TAIL_NUMBER),
                                       .first_lsn = oor_load64(head + TAIL_FIRST_LSN),
                                       .new_lsn = oor_load64(head + TAIL_NEW_LSN),
                                       .previous_segment = oor_load64(head + TAIL_PREVIOUS),
                                       .previous_last_lsn = oor_load64(head + TAIL_PREVIOUS_LAST),
                                       .size = oor_load64(head + TAIL_SEGMENT_SIZE),
                                       .tail_size = data_size};
    out->base = oor_load64(head + TAIL_BASE);
    out->start = oor_load64(head + TAIL_START);
    out->data = malloc(data_size);
    if (!out->data)
        return oor_fail(OOR_E_MEMORY, path, "no memory for %llu bytes of tail",
                        (unsigned long long)data_size);
    got = oor_io_read(fd, path, out->data, data_size, at + TAIL_HEAD);
    if (got < 0) return (int)got;
    out->size = (uint64_t)got;
    return 0;
}

int oor_tail_read(const char *path, const uint8_t *database_id, uint64_t epoch, oor_tail **out) {
    oor_tail *tail = calloc(1, sizeof *tail);
    if (!tail) return oor_fail(OOR_E_MEMORY, path, "no memory for a tail");
    int rc = oor_io_exists(path);
    if (rc == 1) {
        int fd = oor_io_open(path, OOR_OPEN_READ);
        int64_t size = fd < 0 ? fd : oor_io_size(fd, path);
        rc = size < 0 ? (int)size : 0;
        /* The file is two equal halves; a size that is not has been cut, and what it holds is
         * unknown. */
        if (rc >= 0 && size % (2 * OOR_BLOCK) == 0 && size / 2 > TAIL_HEAD &&
            size / 2 <= TAIL_SIZE_MAX)
            for (int i = 0; rc >= 0 && i < 2; i++)
                rc = read_half(fd, path, (uint64_t)(size / 2 * i), (uint64_t)(size / 2) - TAIL_HEAD,
                               database_id, epoch, &tail->half[i]);
        if (fd >= 0) oor_io_close(fd, path);
    }
    if (rc < 0) {
        oor_tail_free(tail);
        return rc;
    }
    *out = tail;
    return 0;
}

void oor_tail_free(oor_tail *tail) {
    if (!tail) return;
    free(tail->half[0].data);
    free(tail->half[1].data);
    free(tail);
}

const oor_segment_header *oor_tail_header(const oor_tail *tail, uint64_t number) {
    for (int i = 0; tail && i < 2; i++)
        if (tail->half[i].data && tail->half[i].header.number == number)
            return &tail->half[i].header;
    return NULL;
}

const uint8_t *oor_tail_at(const oor_tail *tail, uint64_t number, uint64_t offset, size_t *size) {
    const oor_tail_half *best = NULL;
    for (int i = 0; tail && i < 2; i++) {
        const oor_tail_half *half = &tail->half[i];
        if (!half->data || half->header.number != number) continue;
        if (offset < half->start || offset < half->base || offset - half->base >= half->size)
            continue;
        /* Behind its last frame a half holds bytes of its earlier uses; the later half has the
         * frames. */
        if (!best || half->start > best->start) best = half;
    }
    if (!best) return NULL;
    *size = (size_t)(best->size - (offset - best->base));
    return best->data + (offset - best->base);
}
