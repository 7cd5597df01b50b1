/* wal_open.c: how a log writer begins and ends.
 *
 * The first segment of an epoch holds, before anything new, copies of the frames that recovery
 * replayed:
 *
 * segment := header copied_frame* jump? frame*          copied_frame keeps its LSNs, salted anew
 *
 * They are written straight to the segment, past the tail: the tail of the epoch before is needed
 * until the manifest names this segment.  Bytes: frame.c. */
#include "wal.h"
#include "walscan.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST_SEGMENT_SIZE = 1 << 20, COPY_ROOM = 1 << 20 };

static int check_options(const char *dir, const oor_wal_options *o) {
    if (o->segment_size % OOR_BLOCK || o->tail_size % OOR_BLOCK || o->tail_size < 4 * OOR_BLOCK ||
        o->segment_size < o->tail_size + OOR_SEGMENT_HEADER_SIZE || o->tail_size > 1u << 28)
        return oor_fail(OOR_E_LIMIT, dir,
                        "a segment of %llu bytes with a tail of %llu: both are multiples of %d, "
                        "the tail at least four and the segment larger than the tail",
                        (unsigned long long)o->segment_size, (unsigned long long)o->tail_size,
                        OOR_BLOCK);
    if (strlen(dir) >= sizeof((oor_wal *)0)->dir - 1)
        return oor_fail(OOR_E_LIMIT, NULL, "the path of the store is too long: %zu bytes",
                        strlen(dir));
    assert(o->next_lsn > 0 && o->first_lsn > 0 && o->first_lsn <= o->next_lsn &&
           o->first_segment > 0);
    return 0;
}

static void init_locks(oor_wal *wal) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&wal->lock, NULL);
    pthread_cond_init(&wal->changed, &monotonic);
    pthread_cond_init(&wal->sync_wanted, &monotonic);
    pthread_cond_init(&wal->prepare_wanted, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int oor_wal_open(const char *dir, const oor_wal_options *options, uint64_t room, oor_wal **out) {
    int rc = check_options(dir, options);
    if (rc < 0) return rc;
    oor_wal *wal = calloc(1, sizeof *wal);
    if (!wal) return oor_fail(OOR_E_MEMORY, dir, "no memory for a log writer");
    wal->options = *options;
    wal->process = getpid();
    wal->tail_fd = wal->copy_fd = wal->notify_fd = -1;
    wal->next_lsn = options->next_lsn;
    wal->expected_lsn = options->first_lsn;
    wal->durable_lsn = options->first_lsn - 1;
    snprintf(wal->dir, sizeof wal->dir, "%s", dir);
    init_locks(wal);
    wal->private_size = oor_round_up(options->tail_size, COPY_ROOM) + OOR_BLOCK;
    wal->private_copy = aligned_alloc(OOR_BLOCK, wal->private_size);
    if (!wal->private_copy)
        rc = oor_fail(OOR_E_MEMORY, dir, "no memory for %zu bytes", wal->private_size);
    uint64_t size =
        options->segment_size < FIRST_SEGMENT_SIZE ? options->segment_size : FIRST_SEGMENT_SIZE;
    uint64_t copies_end = room ? OOR_SEGMENT_HEADER_SIZE + oor_round_up(room, OOR_BLOCK) : 0;
    if (rc >= 0)
        rc = oor_wal_file_make(wal, options->first_segment, copies_end + size, copies_end, NULL,
                               &wal->current);
    if (rc >= 0) {
        oor_wal_grow(wal, wal->current->size);
        wal->current->header.first_lsn = options->first_lsn;
        wal->current->header.new_lsn = options->next_lsn;
        wal->copy_base = OOR_SEGMENT_HEADER_SIZE;
        rc = oor_wal_file_begin(wal, wal->current);
        wal->current->header_written = 1;
    }
    if (rc < 0) {
        oor_error why = *oor_last_error();
        oor_wal_free(wal);
        return oor_fail_again(why.code, &why, "the log could not be opened");
    }
    *out = wal;
    return 0;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* Writes the whole blocks of the copy so far and keeps the rest.  Not durable before finish_copy:
 * many writes that each wait for the device would cost recovery more than all the rest. */
static int flush_copy(oor_wal *wal) {
    uint64_t whole = wal->copy_used / OOR_BLOCK * OOR_BLOCK;
    if (!whole) return 0;
    const char *path = wal->current->path;
    if (wal->copy_fd < 0) {
        uint32_t direct = wal->options.flags & OOR_WAL_BUFFERED ? 0 : OOR_OPEN_DIRECT;
        wal->copy_fd = oor_io_open(path, OOR_OPEN_WRITE | direct);
        if (wal->copy_fd < 0) return wal->copy_fd;
    }
    int rc = oor_io_write(wal->copy_fd, path, wal->private_copy, (size_t)whole, wal->copy_base);
    if (rc < 0) return rc;
    wal->counts.written_bytes += whole;
    memmove(wal->private_copy, wal->private_copy + whole, (size_t)(wal->copy_used - whole));
    wal->copy_base += whole;
    wal->copy_used -= whole;
    return 0;
}

/* Memory for a frame of `need` bytes behind the copy so far, or NULL with the error set. */
static uint8_t *copy_room(oor_wal *wal, uint64_t need) {
    if (wal->copy_base + wal->copy_used + need > wal->current->size) {
        oor_fail(OOR_E_LIMIT, wal->current->path,
                 "more was copied forward than room was asked for");
        return NULL;
    }
    if (wal->copy_used + need + OOR_BLOCK > wal->private_size) {
        if (flush_copy(wal) < 0) return NULL;
        size_t size = (size_t)oor_round_up(wal->copy_used + need + OOR_BLOCK, OOR_BLOCK);
        if (size > wal->private_size) {
            uint8_t *larger = aligned_alloc(OOR_BLOCK, size);
            if (!larger) {
                oor_fail(OOR_E_MEMORY, wal->dir, "no memory for %zu bytes", size);
                return NULL;
            }
            memcpy(larger, wal->private_copy, (size_t)wal->copy_used);
            free(wal->private_copy);
            wal->private_copy = larger;
            wal->private_size = size;
        }
    }
    return wal->private_copy + wal->copy_used;
}

static int copy_note(oor_wal *wal, uint64_t lsn, uint64_t body_size, uint32_t flags) {
    uint64_t need = oor_frame_size(body_size);
    uint8_t *out = copy_room(wal, need);
    if (!out) return oor_last_error()->code;
    memset(out + OOR_FRAME_HEADER_SIZE, 0, body_size);
    oor_frame_finish(out, wal->current->salt, wal->copy_base + wal->copy_used, (uint32_t)body_size,
                     0, lsn, 0, flags);
    wal->copy_used += need;
    if (flags == OOR_FRAME_JUMP) wal->expected_lsn = lsn;
    return 0;
}

int oor_wal_copy(oor_wal *wal, const oor_walscan *scan) {
    assert(!wal->started);
    size_t count;
    const oor_frame *frames = oor_walscan_frames(scan, &count);
    for (size_t i = 0; i < count; i++) {
        const oor_frame *frame = &frames[i];
        if (!frame->op_count) continue;
        assert(frame->first_lsn >= wal->expected_lsn);
        int rc = frame->first_lsn == wal->expected_lsn
                     ? 0
                     : copy_note(wal, frame->first_lsn, 0, OOR_FRAME_JUMP);
        if (rc < 0) return rc;
        uint64_t need = oor_frame_size(frame->body_size);
        uint8_t *out = copy_room(wal, need);
        if (!out) return oor_last_error()->code;
        memcpy(out + OOR_FRAME_HEADER_SIZE, frame->body, frame->body_size);
        oor_frame_finish(out, wal->current->salt, wal->copy_base + wal->copy_used, frame->body_size,
                         frame->op_count, frame->first_lsn, 0, 0);
        wal->copy_used += need;
        wal->expected_lsn = frame->first_lsn + frame->op_count;
        wal->counts.frames++;
        wal->counts.appended_bytes += need;
    }
    return 0;
}

int oor_wal_finish_copy(oor_wal *wal) {
    assert(!wal->started);
    int rc = 0;
    if (wal->expected_lsn != wal->next_lsn) rc = copy_note(wal, wal->next_lsn, 0, OOR_FRAME_JUMP);
    uint64_t gap = wal->options.flags & OOR_WAL_BLOCK_PADDING ? oor_wal_gap(wal->copy_used) : 0;
    if (rc >= 0 && gap)
        rc = copy_note(wal, wal->next_lsn, gap - OOR_FRAME_HEADER_SIZE, OOR_FRAME_FILLER);
    if (rc >= 0) rc = flush_copy(wal);
    if (rc >= 0 && wal->copy_fd >= 0) rc = oor_io_sync(wal->copy_fd, wal->current->path);
    if (rc >= 0 && wal->copy_used) {
        memset(wal->private_copy + wal->copy_used, 0, (size_t)(OOR_BLOCK - wal->copy_used));
        rc = oor_wal_file_write(wal, wal->current, wal->private_copy, OOR_BLOCK, wal->copy_base);
        wal->counts.written_bytes += OOR_BLOCK;
    }
    if (rc >= 0) wal->durable_lsn = wal->next_lsn - 1;
    return rc;
}

/* ---- start, state, end ----------------------------------------------------------------------- */

int oor_wal_start(oor_wal *wal) {
    assert(!wal->started && wal->durable_lsn == wal->next_lsn - 1 && wal->copy_used < OOR_BLOCK);
    int rc = oor_wal_tail_open(wal);
    if (rc < 0) return rc;
    if (wal->copy_fd >= 0) rc = oor_io_close(wal->copy_fd, wal->current->path);
    wal->copy_fd = -1;
    if (rc < 0) return rc;
    oor_wal_tail_begin(wal, &wal->half[0], wal->current, wal->copy_base + wal->copy_used,
                       wal->private_copy);
    wal->sealed = 1;
    wal->started = 1;
    return oor_wal_threads_start(wal);
}

uint64_t oor_wal_position(oor_wal *wal) {
    pthread_mutex_lock(&wal->lock);
    const oor_wal_half *half = &wal->half[wal->active];
    uint64_t position = wal->left_behind + half->base + half->used;
    pthread_mutex_unlock(&wal->lock);
    return position;
}

uint64_t oor_wal_durable(oor_wal *wal) {
    pthread_mutex_lock(&wal->lock);
    uint64_t lsn = wal->durable_lsn;
    pthread_mutex_unlock(&wal->lock);
    return lsn;
}

void oor_wal_read_state(oor_wal *wal, oor_wal_state *out) {
    pthread_mutex_lock(&wal->lock);
    *out = wal->counts;
    const oor_wal_half *half = &wal->half[wal->active];
    out->next_lsn = wal->next_lsn;
    out->durable_lsn = wal->durable_lsn;
    out->segment = wal->current->header.number;
    out->segment_offset = half->base + half->used;
    out->live_bytes = wal->current->size;
    out->segment_count = 1;
    for (const oor_wal_file *file = wal->closed; file; file = file->next) {
        out->live_bytes += file->size;
        out->segment_count++;
    }
    out->failed = wal->failed;
    out->direct = !(wal->options.flags & OOR_WAL_BUFFERED);
    pthread_mutex_unlock(&wal->lock);
}

int64_t oor_wal_segments(oor_wal *wal, oor_wal_segment *out, size_t capacity) {
    size_t count = 0;
    pthread_mutex_lock(&wal->lock);
    for (const oor_wal_file *file = wal->closed; file; file = file->next, count++)
        if (count < capacity)
            out[count] =
                (oor_wal_segment){file->header.number, file->header.first_lsn, file->last_lsn,
                                  file->size, (uint64_t)file->header_written};
    const oor_wal_file *now = wal->current;
    if (count < capacity)
        out[count] = (oor_wal_segment){now->header.number, now->header.first_lsn, 0, now->size,
                                       (uint64_t)now->header_written};
    count++;
    pthread_mutex_unlock(&wal->lock);
    return (int64_t)count;
}

static void close_files(oor_wal_file *file) {
    for (; file; file = file->next) {
        if (file->fd >= 0) oor_io_close(file->fd, file->path);
        file->fd = -1;
    }
}

void oor_wal_close(oor_wal *wal) {
    pthread_mutex_lock(&wal->lock);
    int first = !wal->stopping;
    wal->stopping = 1;
    oor_wal_wake_all(wal);
    while (wal->draining) pthread_cond_wait(&wal->changed, &wal->lock);
    pthread_mutex_unlock(&wal->lock);
    if (!first) return;
    oor_wal_threads_stop(wal);
    oor_wal_tail_close(wal);
    if (wal->copy_fd >= 0) oor_io_close(wal->copy_fd, wal->current->path);
    close_files(wal->closed);
    close_files(wal->spares);
    close_files(wal->ready);
    close_files(wal->current);
}

static void free_list(oor_wal_file *file) {
    while (file) {
        oor_wal_file *next = file->next;
        oor_wal_file_free(file);
        file = next;
    }
}

void oor_wal_free(oor_wal *wal) {
    if (!wal || wal->process != getpid()) return; /* a child's copy: its threads do not exist */
    oor_wal_close(wal);
    free_list(wal->closed);
    free_list(wal->spares);
    free_list(wal->ready);
    free_list(wal->current);
    pthread_cond_destroy(&wal->prepare_wanted);
    pthread_cond_destroy(&wal->sync_wanted);
    pthread_cond_destroy(&wal->changed);
    pthread_mutex_destroy(&wal->lock);
    free(wal->private_copy);
    free(wal->queue);
    free(wal);
}
