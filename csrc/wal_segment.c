/* wal_segment.c: the files behind segments: made ahead, written once, begun, freed, used again.
 *
 * <number>.wal     a segment; until its header is written it holds zeros or the bytes of an
 *                  earlier use, which its salt keeps from ever verifying
 * <number>.spare   a freed segment of this incarnation, waiting to be used again
 *
 * A sync of bytes that were written before has no metadata to journal, so a file is filled with
 * zeros before its first use.  Bytes: frame.c. */
#include "wal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ZERO_CHUNK = 1 << 20 };

uint64_t oor_wal_now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

void oor_wal_file_free(oor_wal_file *file) {
    if (!file) return;
    if (file->fd >= 0) oor_io_close(file->fd, file->path);
    free(file);
}

/* Opens for durable writes: directly where the file system takes it, else through the page cache.
 * */
static int open_file(oor_wal *wal, const char *path, uint32_t extra) {
    if (!(wal->options.flags & OOR_WAL_BUFFERED)) {
        int fd = oor_io_open(path, OOR_OPEN_READ | OOR_OPEN_WRITE | OOR_OPEN_DIRECT |
                                       OOR_OPEN_DSYNC | extra);
        if (fd >= 0 || oor_last_error()->sys_errno != EINVAL) return fd;
        wal->options.flags |= OOR_WAL_BUFFERED;
        /* The refused open may have made the name; that is no obstacle to this one. */
        extra &= ~(uint32_t)OOR_OPEN_EXCLUSIVE;
    }
    return oor_io_open(path, OOR_OPEN_READ | OOR_OPEN_WRITE | extra);
}

int oor_wal_file_write(oor_wal *wal, oor_wal_file *file, const uint8_t *data, size_t size,
                       uint64_t offset) {
    assert(size % OOR_BLOCK == 0 && offset % OOR_BLOCK == 0 && size > 0);
    int rc = oor_io_write(file->fd, file->path, data, size, offset);
    if (rc < 0 && oor_last_error()->sys_errno == EINVAL &&
        !(wal->options.flags & OOR_WAL_BUFFERED)) {
        /* Some file systems take the flag at open and refuse the write. */
        wal->options.flags |= OOR_WAL_BUFFERED;
        int fd = open_file(wal, file->path, 0);
        if (fd < 0) return fd;
        oor_io_close(file->fd, file->path);
        file->fd = fd;
        rc = oor_io_write(file->fd, file->path, data, size, offset);
    }
    if (rc < 0) return rc;
    if (!(wal->options.flags & OOR_WAL_BUFFERED)) return 0;
    rc = oor_io_sync(file->fd, file->path);
    /* What the cache holds after a failed sync is not known to be what the disk has: never "try
     * again". */
    if (rc == OOR_E_FULL)
        return oor_fail(OOR_E_IO, file->path,
                        "a sync failed for want of room; what was written is unknown");
    return rc;
}

/* Writes zeros through `fd`, which does not wait for the device each time. */
static int write_zeros(oor_wal *wal, oor_wal_file *file, int fd, uint64_t from) {
    size_t chunk = file->size < ZERO_CHUNK ? (size_t)file->size : ZERO_CHUNK;
    uint8_t *zeros = aligned_alloc(OOR_BLOCK, chunk);
    if (!zeros) return oor_fail(OOR_E_MEMORY, file->path, "no memory for %zu zeros", chunk);
    memset(zeros, 0, chunk);
    int rc = 0;
    for (uint64_t at = from; rc >= 0 && at < file->size; at += chunk) {
        size_t size = file->size - at < chunk ? (size_t)(file->size - at) : chunk;
        rc = oor_io_write(fd, file->path, zeros, size, at);
        if (rc == OOR_E_IO && oor_last_error()->sys_errno == EINVAL)
            rc = oor_wal_file_write(wal, file, zeros, size, at);
    }
    free(zeros);
    return rc;
}

static int fill_with_zeros(oor_wal *wal, oor_wal_file *file, uint64_t from) {
    int rc = oor_io_allocate(file->fd, file->path, 0, file->size);
    if (rc < 0) return rc;
    uint32_t direct = wal->options.flags & OOR_WAL_BUFFERED ? 0 : OOR_OPEN_DIRECT;
    int fd = oor_io_open(file->path, OOR_OPEN_WRITE | direct);
    if (fd < 0) return fd;
    rc = write_zeros(wal, file, fd, from);
    if (rc >= 0) rc = oor_io_sync(fd, file->path);
    int closed = oor_io_close(fd, file->path);
    return rc < 0 ? rc : closed;
}

static int make_anew(oor_wal *wal, oor_wal_file *file, uint64_t zeros_from) {
    file->fd = open_file(wal, file->path, OOR_OPEN_CREATE | OOR_OPEN_EXCLUSIVE);
    if (file->fd < 0) return file->fd;
    int rc = fill_with_zeros(wal, file, zeros_from);
    if (rc < 0) {
        oor_error why = *oor_last_error();
        oor_io_unlink(file->path);
        return oor_fail_again(why.code, &why, "zeros could not be written");
    }
    return 0;
}

/* ---- the room that files take ---------------------------------------------------------------- */

int oor_wal_is_over_limit(const oor_wal *wal, uint64_t more) {
    uint64_t max = wal->options.max_bytes;
    int may_shrink = wal->closed || wal->spares || wal->retiring;
    return max && may_shrink && wal->counts.disk_bytes + more > max + 2 * wal->options.segment_size;
}

void oor_wal_grow(oor_wal *wal, uint64_t more) {
    wal->counts.disk_bytes += more;
    if (wal->counts.disk_bytes > wal->counts.disk_bytes_max)
        wal->counts.disk_bytes_max = wal->counts.disk_bytes;
}

int oor_wal_drop_spare(oor_wal *wal) {
    oor_wal_file *spare = wal->spares;
    if (!spare) return 0;
    wal->spares = spare->next;
    wal->spare_count--;
    wal->retiring++;
    pthread_mutex_unlock(&wal->lock);
    int rc = oor_io_unlink(spare->path);
    pthread_mutex_lock(&wal->lock);
    wal->retiring--;
    if (rc >= 0) wal->counts.disk_bytes -= spare->size;
    oor_wal_file_free(spare);
    return 1;
}

/* ---- making ---------------------------------------------------------------------------------- */

int oor_wal_file_make(oor_wal *wal, uint64_t number, uint64_t size, uint64_t zeros_from,
                      oor_wal_file *spare, oor_wal_file **out) {
    assert(zeros_from % OOR_BLOCK == 0 && zeros_from <= size);
    assert(size % OOR_BLOCK == 0 && size > OOR_SEGMENT_HEADER_SIZE);
    if (number > OOR_NUMBER_MAX) {
        oor_wal_file_free(spare);
        return oor_fail(OOR_E_LIMIT, wal->dir, "the numbers of segments are used up");
    }
    oor_wal_file *file = spare ? spare : calloc(1, sizeof *file);
    if (!file) return oor_fail(OOR_E_MEMORY, wal->dir, "no memory for a segment");
    char old_path[sizeof file->path];
    memcpy(old_path, file->path, sizeof old_path);
    snprintf(file->path, sizeof file->path, "%s/%012llu.wal", wal->dir, (unsigned long long)number);
    file->next = NULL;
    file->header_written = 0;
    file->last_lsn = 0;
    int rc;
    if (spare) {
        rc = oor_io_rename(old_path, file->path);
    } else {
        file->size = size;
        rc = make_anew(wal, file, zeros_from);
    }
    int named = rc >= 0;
    if (rc >= 0) rc = oor_io_sync_dir(wal->dir);
    if (rc < 0) {
        oor_error why = *oor_last_error();
        /* The name must be free for the next attempt. */
        if (named || spare) oor_io_unlink(named ? file->path : old_path);
        oor_wal_file_free(file);
        return oor_fail_again(why.code, &why, "a segment could not be made");
    }
    file->header = (oor_segment_header){.epoch = wal->options.epoch,
                                        .number = number,
                                        .size = file->size,
                                        .tail_size = wal->options.tail_size};
    file->salt =
        oor_segment_salt(&(oor_segment_id){wal->options.database_id, wal->options.epoch, number});
    *out = file;
    return 0;
}

int oor_wal_file_begin(oor_wal *wal, oor_wal_file *file) {
    uint8_t *block = aligned_alloc(OOR_BLOCK, OOR_SEGMENT_HEADER_SIZE);
    if (!block) return oor_fail(OOR_E_MEMORY, file->path, "no memory for a segment header");
    oor_segment_header_encode(block, wal->options.database_id, &file->header);
    int rc = oor_wal_file_write(wal, file, block, OOR_SEGMENT_HEADER_SIZE, 0);
    free(block);
    return rc;
}

/* Frees one closed segment that was taken off the list. */
static int retire(oor_wal *wal, oor_wal_file *file, int keep) {
    int rc;
    if (keep) {
        char spare_path[sizeof file->path];
        snprintf(spare_path, sizeof spare_path, "%s/%012llu.spare", wal->dir,
                 (unsigned long long)file->header.number);
        rc = oor_io_rename(file->path, spare_path);
        if (rc >= 0) memcpy(file->path, spare_path, sizeof spare_path);
    } else {
        rc = oor_io_unlink(file->path);
        oor_wal_file_free(file);
    }
    return rc;
}

int64_t oor_wal_release(oor_wal *wal, uint64_t lsn) {
    int64_t freed = 0;
    int rc = 0;
    pthread_mutex_lock(&wal->lock);
    while (rc >= 0 && wal->closed && wal->closed->last_lsn <= lsn &&
           wal->closed->last_lsn <= wal->durable_lsn) {
        oor_wal_file *file = wal->closed;
        if (wal->half[0].file == file || wal->half[1].file == file) break;
        /* The one after it says where the log goes on; until that is durable, this one does. */
        if (!(file->next ? file->next : wal->current)->header_written) break;
        wal->closed = file->next;
        int keep = file->size == wal->options.segment_size &&
                   wal->spare_count < wal->options.spare_segments;
        if (keep) wal->spare_count++;
        uint64_t size = file->size;
        wal->retiring++;
        pthread_mutex_unlock(&wal->lock);
        rc = retire(wal, file, keep);
        if (rc < 0 && keep) oor_wal_file_free(file);
        pthread_mutex_lock(&wal->lock);
        wal->retiring--;
        if (rc >= 0 && keep) {
            file->next = wal->spares;
            wal->spares = file;
        } else if (keep) {
            wal->spare_count--;
        }
        if (rc >= 0 && !keep) wal->counts.disk_bytes -= size;
        if (rc >= 0) freed++;
    }
    if (freed && wal->prepare_error.code == OOR_E_STALL) {
        wal->prepare_error.code = 0;
        wal->prepare_asked++;
        pthread_cond_signal(&wal->prepare_wanted);
    }
    pthread_mutex_unlock(&wal->lock);
    if (freed) {
        int synced = oor_io_sync_dir(wal->dir);
        if (rc >= 0) rc = synced;
    }
    return rc < 0 ? rc : freed;
}
