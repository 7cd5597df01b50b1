/* wal_sync.c: who waits until something is durable, who leads the sync that makes it so, and the
 * two calls that end with all of the log durable: rotate and seal.  It writes no bytes of its own;
 * formats: frame.c. */
#include "wal.h"

#include <errno.h>

static void deadline_after(struct timespec *out, int64_t timeout_us) {
    clock_gettime(CLOCK_MONOTONIC, out);
    int64_t ns = out->tv_nsec + timeout_us % 1000000 * 1000;
    out->tv_sec += timeout_us / 1000000 + ns / 1000000000;
    out->tv_nsec = ns % 1000000000;
}

/* Waits for company, as long as the options say or until somebody else has made `lsn` durable.
 * Those who come meanwhile wait for this thread. */
static void gather(oor_wal *wal, uint64_t lsn) {
    struct timespec deadline;
    deadline_after(&deadline, wal->options.commit_delay_us);
    wal->gathering = 1;
    while (!wal->failed && !wal->stopping && wal->durable_lsn < lsn)
        if (pthread_cond_timedwait(&wal->changed, &wal->lock, &deadline) == ETIMEDOUT) break;
    wal->gathering = 0;
    oor_wal_wake_all(wal);
}

/* Sleeps until a sync of somebody else's has ended.  Lock held; returns 1 without it when `lsn` is
 * durable, 0 with it when the caller is to look again. */
static int sleep_for_sync(oor_wal *wal, uint64_t lsn) {
    oor_wal_sleeper self = {.next = wal->sleepers, .lsn = lsn};
    sem_init(&self.woken, 0, 0);
    wal->sleepers = &self;
    pthread_mutex_unlock(&wal->lock);
    while (sem_wait(&self.woken) < 0) assert(errno == EINTR);
    if (self.after) sem_post(&self.after->woken); /* it waits, as this one did */
    sem_destroy(&self.woken);
    if (!self.served) pthread_mutex_lock(&wal->lock);
    return self.served;
}

/* Of those who are served each wakes the next: threads that come back one by one do not push at the
 * caller's interpreter lock all at once, and whoever led the sync makes no system call for each. */
void oor_wal_wake_sleepers(oor_wal *wal, int all) {
    oor_wal_sleeper *first = NULL, *leader = NULL;
    for (oor_wal_sleeper **at = &wal->sleepers; *at;) {
        oor_wal_sleeper *sleeper = *at;
        int served = sleeper->lsn <= wal->durable_lsn;
        if (!served && !all && leader) {
            at = &sleeper->next;
            continue;
        }
        *at = sleeper->next;
        sleeper->served = served;
        if (served || all) {
            sleeper->after = first;
            first = sleeper;
        } else {
            leader = sleeper;
        }
    }
    /* From its post on a sleeper may be gone. */
    if (leader) sem_post(&leader->woken);
    if (first) sem_post(&first->woken);
}

static int wait_durable(oor_wal *wal, uint64_t lsn, int64_t timeout_us, int lead) {
    int gathered = wal->options.commit_delay_us == 0;
    struct timespec deadline = {0};
    if (timeout_us >= 0) deadline_after(&deadline, timeout_us);
    int rc = 0;
    pthread_mutex_lock(&wal->lock);
    if (lsn >= wal->next_lsn) lsn = wal->next_lsn - 1;
    while (rc >= 0 && wal->durable_lsn < lsn) {
        if (wal->failed || wal->stopping) rc = oor_wal_refuse(wal);
        else if (lead && !wal->gathering && !gathered++) gather(wal, lsn);
        else if (lead && !wal->gathering && !wal->draining) rc = oor_wal_drain(wal);
        else if (!lead && wal->drain_error.code)
            rc = oor_fail_again(wal->drain_error.code, &wal->drain_error, "the log waits for room");
        else if (timeout_us < 0 && lead && !wal->exclusive) {
            if (sleep_for_sync(wal, lsn)) return 0;
        } else if (timeout_us < 0) pthread_cond_wait(&wal->changed, &wal->lock);
        else if (pthread_cond_timedwait(&wal->changed, &wal->lock, &deadline) == ETIMEDOUT &&
                 wal->durable_lsn < lsn)
            rc = oor_fail(OOR_E_TIMEOUT, wal->dir, "LSN %llu was not durable in time",
                          (unsigned long long)lsn);
    }
    pthread_mutex_unlock(&wal->lock);
    return rc;
}

int oor_wal_sync(oor_wal *wal, uint64_t lsn, int64_t timeout_us) {
    return wait_durable(wal, lsn, timeout_us, 1);
}

int oor_wal_wait(oor_wal *wal, uint64_t lsn, int64_t timeout_us) {
    return wait_durable(wal, lsn, timeout_us, 0);
}

int oor_wal_ask(oor_wal *wal) {
    int rc = 0;
    pthread_mutex_lock(&wal->lock);
    if (wal->durable_lsn == wal->next_lsn - 1) {
        rc = 1;
    } else if (wal->failed || wal->stopping) {
        rc = oor_wal_refuse(wal);
    } else {
        wal->sync_asked = 1;
        pthread_cond_signal(&wal->sync_wanted);
    }
    pthread_mutex_unlock(&wal->lock);
    return rc;
}

void oor_wal_notify(oor_wal *wal, int eventfd) {
    pthread_mutex_lock(&wal->lock);
    wal->notify_fd = eventfd;
    pthread_mutex_unlock(&wal->lock);
}

int oor_wal_begin_current(oor_wal *wal) {
    oor_wal_file *file = wal->current;
    wal->exclusive = wal->draining = 1;
    pthread_mutex_unlock(&wal->lock);
    int rc = oor_wal_file_begin(wal, file);
    pthread_mutex_lock(&wal->lock);
    wal->exclusive = wal->draining = 0;
    file->header_written = rc >= 0;
    if (rc < 0 && rc != OOR_E_FULL) rc = oor_wal_fail(wal);
    oor_wal_wake_all(wal);
    return rc;
}

/* Leaves the current segment, all of it durable, for the next one.  Lock held. */
static int leave_segment(oor_wal *wal) {
    oor_wal_half *half = &wal->half[wal->active];
    oor_wal_go_on(wal);
    half->file = NULL;
    oor_wal_tail_begin(wal, half, wal->current, OOR_SEGMENT_HEADER_SIZE, NULL);
    return oor_wal_begin_current(wal);
}

int64_t oor_wal_rotate(oor_wal *wal) {
    int rc = 0;
    pthread_mutex_lock(&wal->lock);
    uint64_t before = wal->current->header.number;
    /* Writers may fill the segment and leave it while this waits: that is as good. */
    while (rc >= 0 && wal->current->header.number == before) {
        oor_wal_half *half = &wal->half[wal->active], *other = &wal->half[!wal->active];
        if (wal->failed || wal->stopping) rc = oor_wal_refuse(wal);
        else if (half->base + half->used == OOR_SEGMENT_HEADER_SIZE) break;
        else if (wal->exclusive) pthread_cond_wait(&wal->changed, &wal->lock);
        else if (wal->draining || other->file || half->used != half->drained)
            rc = oor_wal_wait_for_drain(wal);
        else if (wal->refused) rc = oor_wal_blank_refused(wal);
        else if (!wal->ready) rc = oor_wal_wait_for_segment(wal);
        else rc = leave_segment(wal);
        /* Where there is no room for another segment, staying in this one is the answer. */
        if (rc == OOR_E_STALL) break;
    }
    if (rc == OOR_E_STALL) rc = 0;
    int64_t number = (int64_t)wal->current->header.number;
    pthread_mutex_unlock(&wal->lock);
    return rc < 0 ? rc : number;
}

int oor_wal_seal(oor_wal *wal) {
    int rc = oor_wal_sync(wal, UINT64_MAX, -1);
    pthread_mutex_lock(&wal->lock);
    if (rc >= 0) rc = oor_wal_append_seal(wal);
    const oor_wal_half *half = &wal->half[wal->active];
    while (rc >= 0 && half->used != half->drained) {
        if (wal->draining) pthread_cond_wait(&wal->changed, &wal->lock);
        else rc = oor_wal_drain(wal);
    }
    pthread_mutex_unlock(&wal->lock);
    return rc;
}
