/* wal_sync.c: who waits until something is durable, who leads the sync that makes it so, and the
 * two calls that end with all of the log durable: rotate and seal.  It writes no bytes of its own;
 * formats: frame.c. */
#include "wal.h"

#include <errno.h>

enum { LOOK_AGAIN_NS = 20000000, GATHER_US_MAX = 200, IN_VAIN_MAX = 63 };

static void deadline_after(struct timespec *out, int64_t timeout_us) {
    clock_gettime(CLOCK_MONOTONIC, out);
    int64_t ns = out->tv_nsec + timeout_us % 1000000 * 1000;
    out->tv_sec += timeout_us / 1000000 + ns / 1000000000;
    out->tv_nsec = ns % 1000000000;
}

/* How long who is to lead a sync waits for company.  Without an option that says so: for those whom
 * the last sync served and who, if they do nothing but commit, are back before long; no longer than
 * two syncs take, and after waits in vain not each time.  Those who come back one by one while a
 * device works would else form two groups of half the size. */
static uint64_t patience_us(oor_wal *wal) {
    if (wal->options.commit_delay_us) return wal->options.commit_delay_us;
    if (!wal->returning || wal->draining) return 0;
    if (wal->gathers_left_out) {
        wal->gathers_left_out--;
        wal->returning = 0;
        return 0;
    }
    return 2 * wal->drain_us < GATHER_US_MAX ? 2 * wal->drain_us : GATHER_US_MAX;
}

/* Waits for company, or until somebody else has made `lsn` durable.  Those who come meanwhile wait
 * for this thread. */
static void gather(oor_wal *wal, uint64_t lsn, uint64_t patience) {
    struct timespec deadline;
    deadline_after(&deadline, (int64_t)patience);
    int by_option = wal->options.commit_delay_us != 0;
    wal->gathering = 1;
    while (!wal->failed && !wal->stopping && wal->durable_lsn < lsn &&
           (by_option || wal->returning))
        if (pthread_cond_timedwait(&wal->changed, &wal->lock, &deadline) == ETIMEDOUT) break;
    wal->gathering = 0;
    wal->gathers_in_vain = !by_option && wal->returning ? 2 * wal->gathers_in_vain + 1 : 0;
    if (wal->gathers_in_vain > IN_VAIN_MAX) wal->gathers_in_vain = IN_VAIN_MAX;
    wal->gathers_left_out = wal->gathers_in_vain;
    wal->returning = 0;
    /* Somebody else made the sync: those who came since and count on this thread need another. */
    if (wal->durable_lsn >= lsn) {
        oor_wal_wake_sleepers(wal, OOR_WAL_WAKE_AFTER_DRAIN);
        pthread_cond_broadcast(&wal->changed);
    }
}

static int take_off(oor_wal *wal, const oor_wal_sleeper *sleeper) {
    for (oor_wal_sleeper **at = &wal->sleepers; *at; at = &(*at)->next) {
        if (*at != sleeper) continue;
        *at = sleeper->next;
        return 1;
    }
    return 0;
}

/* Waits to be woken, but for a commit not for ever: should an exception keep whoever was to publish
 * from it, this one looks again.  Returns whether it was woken. */
static int wait_to_be_woken(oor_wal *wal, oor_wal_sleeper *self) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until); /* the clock of sem_timedwait; no decision hangs on it */
    until.tv_nsec += LOOK_AGAIN_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    int timed = self->commits;
    while ((timed ? sem_timedwait(&self->woken, &until) : sem_wait(&self->woken)) < 0) {
        if (errno != ETIMEDOUT) {
            assert(errno == EINTR);
            continue;
        }
        pthread_mutex_lock(&wal->lock);
        if (take_off(wal, self)) return 0;
        pthread_mutex_unlock(&wal->lock);
        timed = 0; /* somebody is about to wake it */
    }
    return 1;
}

/* Sleeps until a sync of somebody else's has ended, or, of a commit, until that is published.  Lock
 * held; returns 1 without it when the caller is served, 0 with it when it is to look again. */
static int sleep_for_sync(oor_wal *wal, uint64_t lsn, int commits) {
    oor_wal_sleeper self = {.next = wal->sleepers, .lsn = lsn, .commits = commits};
    sem_init(&self.woken, 0, 0);
    wal->sleepers = &self;
    pthread_mutex_unlock(&wal->lock);
    int woken = wait_to_be_woken(wal, &self);
    for (int i = 0; i < 2; i++)
        if (self.wakes[i]) sem_post(&self.wakes[i]->woken); /* it waits, as this one did */
    sem_destroy(&self.woken);
    if (woken && !self.served) pthread_mutex_lock(&wal->lock);
    return self.served;
}

static int is_served(const oor_wal *wal, const oor_wal_sleeper *sleeper) {
    return sleeper->lsn <= (sleeper->commits ? wal->published_lsn : wal->durable_lsn);
}

/* A list of sleepers of whom the first one wakes two, they two each, and so on. */
typedef struct {
    oor_wal_sleeper *first, *last, *waker;
} waking;

static void wake_too(waking *all, oor_wal_sleeper *sleeper) {
    sleeper->wakes[0] = sleeper->wakes[1] = sleeper->next = NULL;
    if (!all->first) {
        all->first = all->last = all->waker = sleeper;
        return;
    }
    all->last = all->last->next = sleeper;
    oor_wal_sleeper *waker = all->waker;
    if (waker->wakes[0]) all->waker = waker->next;
    waker->wakes[waker->wakes[0] != NULL] = sleeper;
}

/* Those who are served wake each other: they do not push at the caller's interpreter lock all at
 * once, whoever led the sync makes no system call for each, and where CPUs are short none waits for
 * a chain of all the others to get a turn. */
void oor_wal_wake_sleepers(oor_wal *wal, oor_wal_wake whom) {
    oor_wal_sleeper *leader = NULL, *publisher = NULL;
    waking all = {0};
    for (oor_wal_sleeper **at = &wal->sleepers; *at;) {
        oor_wal_sleeper *sleeper = *at, *next = sleeper->next;
        int served = is_served(wal, sleeper), chosen = 0;
        if (served || whom == OOR_WAL_WAKE_ALL) {
            wake_too(&all, sleeper);
            chosen = 1;
        } else if (whom == OOR_WAL_WAKE_AFTER_DRAIN) {
            oor_wal_sleeper **role = sleeper->lsn > wal->durable_lsn ? &leader : &publisher;
            chosen = !*role && !(role == &publisher && wal->drainer_publishes);
            if (chosen) *role = sleeper;
        }
        sleeper->served = served;
        if (chosen) *at = next;
        else at = &sleeper->next;
    }
    /* From its post on a sleeper may be gone. */
    if (leader) sem_post(&leader->woken);
    if (publisher) sem_post(&publisher->woken);
    if (all.first) sem_post(&all.first->woken);
}

static int lead_drain(oor_wal *wal, int publishes) {
    wal->drainer_publishes = publishes;
    int rc = oor_wal_drain(wal);
    wal->drainer_publishes = 0;
    return rc;
}

int oor_wal_await(oor_wal *wal, uint64_t lsn, int64_t timeout_us, int lead, oor_wal_durables *out) {
    int gathered = 0;
    uint64_t patience;
    struct timespec deadline = {0};
    if (timeout_us >= 0) deadline_after(&deadline, timeout_us);
    int rc = 0;
    pthread_mutex_lock(&wal->lock);
    if (lsn >= wal->next_lsn) lsn = wal->next_lsn - 1;
    while (rc >= 0 && (out ? wal->published_lsn : wal->durable_lsn) < lsn) {
        if (wal->durable_lsn >= lsn) {
            oor_wal_find_durable(wal, out);
            break;
        }
        if (wal->failed || wal->stopping) rc = oor_wal_refuse(wal);
        else if (lead && !wal->gathering && !gathered && (patience = patience_us(wal))) {
            gathered = 1;
            gather(wal, lsn, patience);
        } else if (lead && !wal->gathering && !wal->draining) rc = lead_drain(wal, out != NULL);
        else if (!lead && wal->drain_error.code)
            rc = oor_fail_again(wal->drain_error.code, &wal->drain_error, "the log waits for room");
        else if (timeout_us < 0 && lead && !wal->exclusive) {
            if (sleep_for_sync(wal, lsn, out != NULL)) return 0;
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
    return oor_wal_await(wal, lsn, timeout_us, OOR_WAL_LEAD, NULL);
}

int oor_wal_wait(oor_wal *wal, uint64_t lsn, int64_t timeout_us) {
    return oor_wal_await(wal, lsn, timeout_us, OOR_WAL_FOLLOW, NULL);
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
