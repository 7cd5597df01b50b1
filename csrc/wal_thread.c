/* wal_thread.c: what the log does by itself: syncs by time, makes the next segment ahead of its
 * use. It writes no bytes of its own; formats: frame.c. */
#include "wal.h"

#include <errno.h>
#include <stdlib.h>

enum { IDLE_TICK_US = 50000, IDLE_TICKS_TO_SEAL = 20 };

/* Until when the sync thread may sleep: an interval after the oldest mutation that is not durable.
 * */
static uint64_t next_wake_us(const oor_wal *wal) {
    uint64_t interval = wal->options.sync_interval_us;
    if (interval && wal->window_since_us) return wal->window_since_us + interval;
    return oor_wal_now_us() + (interval ? interval : IDLE_TICK_US);
}

static void sleep_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t wake_us) {
    struct timespec deadline = {.tv_sec = (time_t)(wake_us / 1000000u),
                                .tv_nsec = (long)(wake_us % 1000000u * 1000u)};
    pthread_cond_timedwait(cond, lock, &deadline);
}

static int is_due(const oor_wal *wal) {
    if (wal->draining || wal->failed) return 0;
    if (wal->sync_asked) return 1;
    uint64_t interval = wal->options.sync_interval_us;
    return interval && wal->window_since_us && oor_wal_now_us() >= wal->window_since_us + interval;
}

/* Once nothing has been logged for a while, a seal brings the promise up to the last frame. */
static void seal_when_idle(oor_wal *wal, uint64_t *seen_lsn, int *idle_ticks) {
    if (wal->next_lsn != *seen_lsn || wal->draining || wal->durable_lsn != wal->next_lsn - 1) {
        *seen_lsn = wal->next_lsn;
        *idle_ticks = 0;
    } else if (!wal->sealed && ++*idle_ticks == IDLE_TICKS_TO_SEAL) {
        if (oor_wal_append_seal(wal) >= 0 && !wal->draining) oor_wal_drain(wal);
    }
}

static int nothing_to_do(const oor_wal *wal, uint64_t seen_lsn) {
    if (wal->failed) return 1;
    if (wal->next_lsn != seen_lsn) return 0;
    return wal->options.sync_interval_us == 0 || (wal->sealed && !wal->window_since_us);
}

static void *sync_loop(void *argument) {
    oor_wal *wal = argument;
    uint64_t seen_lsn = wal->next_lsn;
    int idle_ticks = 0;
    pthread_mutex_lock(&wal->lock);
    while (!wal->stopping) {
        if (wal->draining) {
            pthread_cond_wait(&wal->changed, &wal->lock);
        } else if (!wal->sync_asked && nothing_to_do(wal, seen_lsn)) {
            wal->sync_sleeps = 1;
            pthread_cond_wait(&wal->sync_wanted, &wal->lock);
            wal->sync_sleeps = 0;
        } else if (!is_due(wal)) {
            sleep_until(&wal->sync_wanted, &wal->lock, next_wake_us(wal));
        }
        if (wal->stopping || wal->failed) continue;
        if (is_due(wal)) {
            wal->sync_asked = 0;
            /* A full disk is told to whoever writes next; here it only means to try again later. */
            if (oor_wal_drain(wal) == OOR_E_FULL && !wal->stopping)
                sleep_until(&wal->sync_wanted, &wal->lock, oor_wal_now_us() + IDLE_TICK_US);
        } else {
            seal_when_idle(wal, &seen_lsn, &idle_ticks);
        }
    }
    pthread_mutex_unlock(&wal->lock);
    return NULL;
}

/* Twice the segment before it, up to the size that all have in the end: the first ones of an
 * incarnation are written with zeros while it fills the few bytes of those before them. */
static uint64_t next_size(const oor_wal *wal) {
    uint64_t whole = wal->options.segment_size, size = wal->current->size;
    uint64_t least = OOR_SEGMENT_HEADER_SIZE + wal->options.tail_size; /* one full half fits */
    if (size >= whole / 2) return whole;
    return 2 * size < least ? least : 2 * size;
}

void oor_wal_prepare(oor_wal *wal) {
    uint64_t ticket = wal->prepare_asked, number = wal->current->header.number + 1;
    uint64_t size = wal->spares ? wal->spares->size : next_size(wal);
    oor_wal_file *spare = wal->spares, *made = NULL;
    if (spare) {
        wal->spares = spare->next;
        wal->spare_count--;
    } else if (oor_wal_is_over_limit(wal, size)) {
        oor_fail(OOR_E_STALL, wal->dir,
                 "segments take %llu bytes; another waits until a flush frees one",
                 (unsigned long long)wal->counts.disk_bytes);
        wal->prepare_error = *oor_last_error();
        wal->prepare_done = ticket;
        pthread_cond_broadcast(&wal->changed);
        return;
    } else {
        oor_wal_grow(wal, size);
    }
    wal->preparing = 1;
    pthread_mutex_unlock(&wal->lock);
    int rc = oor_wal_file_make(wal, number, size, 0, spare, &made);
    pthread_mutex_lock(&wal->lock);
    wal->preparing = 0;
    if (rc < 0) {
        wal->counts.disk_bytes -= size;
        wal->prepare_error = *oor_last_error();
        /* What a failed sync left is not known; without room or memory it may be tried again. */
        if (rc != OOR_E_FULL && rc != OOR_E_MEMORY) (void)oor_wal_fail(wal);
    } else {
        wal->prepare_error.code = 0;
        wal->ready = made;
        if (spare) wal->counts.recycled++;
    }
    wal->prepare_done = ticket;
    pthread_cond_broadcast(&wal->changed);
}

static void *prepare_loop(void *argument) {
    oor_wal *wal = argument;
    pthread_mutex_lock(&wal->lock);
    while (!wal->stopping) {
        if (wal->ready || wal->prepare_done == wal->prepare_asked || wal->failed) {
            if (wal->ready) wal->prepare_done = wal->prepare_asked;
            pthread_cond_wait(&wal->prepare_wanted, &wal->lock);
            continue;
        }
        oor_wal_prepare(wal);
    }
    pthread_mutex_unlock(&wal->lock);
    return NULL;
}

int oor_wal_threads_start(oor_wal *wal) {
    if (wal->options.flags & OOR_WAL_ALONE) return 0;
    int rc = pthread_create(&wal->sync_thread, NULL, sync_loop, wal);
    if (rc) return oor_fail_errno(rc, wal->dir, "the sync thread could not be started");
    wal->threads = 1;
    rc = pthread_create(&wal->prepare_thread, NULL, prepare_loop, wal);
    if (rc) return oor_fail_errno(rc, wal->dir, "the segment thread could not be started");
    wal->threads = 2;
    return 0;
}

void oor_wal_threads_stop(oor_wal *wal) {
    pthread_mutex_lock(&wal->lock);
    wal->stopping = 1;
    pthread_cond_broadcast(&wal->sync_wanted);
    pthread_cond_broadcast(&wal->prepare_wanted);
    oor_wal_wake_all(wal);
    pthread_mutex_unlock(&wal->lock);
    if (wal->threads > 0) pthread_join(wal->sync_thread, NULL);
    if (wal->threads > 1) pthread_join(wal->prepare_thread, NULL);
    wal->threads = 0;
}
