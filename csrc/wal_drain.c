/* wal_drain.c: brings what the shared tail holds to segments, and tells those who wait.
 *
 * drain   := for the half behind and then the active one: the segment's header if it has none yet,
 *            the blocks from the first one not yet written whole to the end of the last frame
 *
 * Bytes of frames and headers: frame.c. */
#include "wal.h"

#include <sys/eventfd.h>

static void notify(const oor_wal *wal) {
    if (wal->notify_fd >= 0)
        (void)eventfd_write(wal->notify_fd, 1); /* it fails only past 2^64 changes */
}

void oor_wal_wake_all(oor_wal *wal) {
    pthread_cond_broadcast(&wal->changed);
    oor_wal_wake_sleepers(wal, OOR_WAL_WAKE_ALL);
    notify(wal);
}

int oor_wal_fail(oor_wal *wal) {
    wal->failure = *oor_last_error();
    wal->failed = wal->failure.code;
    oor_wal_wake_all(wal);
    return oor_wal_refuse(wal);
}

int oor_wal_refuse(const oor_wal *wal) {
    if (!wal->failed) return oor_fail(OOR_E_CLOSED, wal->dir, "the log is closed");
    oor_fail_again(OOR_E_FAILED, &wal->failure, "the log takes no more writes since");
    return oor_fail_at(wal->current->header.number, wal->failure.offset, wal->durable_lsn + 1,
                       wal->next_lsn - 1);
}

typedef struct {
    oor_wal_half *half;
    oor_wal_file *file;
    uint64_t base, from, to;
    uint64_t end_lsn;
    int begins; /* the segment has no header yet */
} region;

static int write_region(oor_wal *wal, const region *r) {
    int rc = r->begins ? oor_wal_file_begin(wal, r->file) : 0;
    if (rc < 0) return rc;
    uint64_t first = r->from / OOR_BLOCK * OOR_BLOCK;
    uint64_t end = oor_round_up(r->to, OOR_BLOCK);
    assert(end - first <= wal->private_size);
    /* A copy, since appends go on behind r->to, and bytes that change while a device takes them
     * would break the checksums of file systems that keep some. */
    memcpy(wal->private_copy, r->half->data + first, (size_t)(r->to - first));
    memset(wal->private_copy + (r->to - first), 0, (size_t)(end - r->to));
    return oor_wal_file_write(wal, r->file, wal->private_copy, (size_t)(end - first),
                              r->base + first);
}

static void plan_half(oor_wal_half *half, region *regions, int *count) {
    if (!half->file || half->used == half->drained) return;
    int begins = !half->file->header_written && (*count == 0 || regions[0].file != half->file);
    regions[(*count)++] = (region){.half = half,
                                   .file = half->file,
                                   .base = half->base,
                                   .from = half->drained,
                                   .to = half->used,
                                   .end_lsn = half->end_lsn,
                                   .begins = begins};
}

/* Notes how long and how much was logged and not durable: at its most just before a drain takes
 * effect, since what was logged while the device worked counts too. */
static void note_window(oor_wal *wal, uint64_t since_us) {
    if (!since_us) return;
    uint64_t window = oor_wal_now_us() - since_us, bytes = oor_wal_unsynced_bytes(wal);
    uint64_t lsns = wal->next_lsn - 1 - wal->durable_lsn;
    if (window > wal->counts.window_us_max) wal->counts.window_us_max = window;
    if (bytes > wal->counts.window_bytes_max) wal->counts.window_bytes_max = bytes;
    if (lsns > wal->counts.window_lsns_max) wal->counts.window_lsns_max = lsns;
}

/* After a drain: those whom it served go on, and one of those who came meanwhile makes the next.
 * Waking them all would only have them wait again. */
static void hand_over(oor_wal *wal) {
    oor_wal_wake_sleepers(wal, OOR_WAL_WAKE_AFTER_DRAIN);
    pthread_cond_broadcast(&wal->changed);
    notify(wal);
}

int oor_wal_drain(oor_wal *wal) {
    assert(!wal->draining && wal->started);
    if (wal->failed || wal->stopping) return oor_wal_refuse(wal);
    if (wal->options.flags & OOR_WAL_BLOCK_PADDING) oor_wal_pad_to_block(wal);
    region regions[2];
    int count = 0, done = 0, rc = 0;
    plan_half(&wal->half[!wal->active], regions, &count);
    plan_half(&wal->half[wal->active], regions, &count);
    uint64_t target = wal->next_lsn - 1, since = wal->window_since_us;
    uint64_t before = wal->durable_lsn, began = oor_wal_now_us();
    wal->draining = 1;
    wal->window_since_us = 0;
    pthread_mutex_unlock(&wal->lock);
    while (done < count && (rc = write_region(wal, &regions[done])) >= 0) done++;
    pthread_mutex_lock(&wal->lock);
    wal->draining = 0;
    if (rc >= 0) note_window(wal, since);
    for (int i = 0; i < done; i++) {
        oor_wal_half *half = regions[i].half;
        wal->counts.written_bytes +=
            oor_round_up(regions[i].to, OOR_BLOCK) - regions[i].from / OOR_BLOCK * OOR_BLOCK;
        half->drained = regions[i].to;
        regions[i].file->header_written = 1;
        if (half != &wal->half[wal->active] && half->drained == half->used) half->file = NULL;
        if (regions[i].end_lsn - 1 > wal->durable_lsn) wal->durable_lsn = regions[i].end_lsn - 1;
    }
    if (done) oor_io_promised(wal->dir, wal->durable_lsn);
    wal->counts.syncs += (uint64_t)done;
    wal->drain_us = (7 * wal->drain_us + (oor_wal_now_us() - began)) / 8;
    for (size_t i = 0; i < wal->queue_count && wal->queue[i].last_lsn <= wal->durable_lsn; i++)
        wal->returning += wal->queue[i].last_lsn > before;
    if (rc >= 0) {
        assert(count == 0 || wal->durable_lsn == target);
        wal->drain_error.code = 0;
    } else {
        wal->window_since_us = since;
        /* Without room nothing was promised and the same bytes may be written again; all else is
         * final. */
        if (rc == OOR_E_FULL) wal->drain_error = *oor_last_error();
        else rc = oor_wal_fail(wal);
    }
    hand_over(wal);
    return rc;
}
