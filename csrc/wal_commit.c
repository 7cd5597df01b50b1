/* wal_commit.c: appends whose caller waits for the device, and the queue that keeps their order.
 *
 * A caller logs and waits in one call, so that it lets go of the interpreter once.  Whoever made
 * the sync comes back first and makes all that is durable visible, in the order of the queue, which
 * is the order of the log.  The others sleep until that is published: they come back to nothing
 * that is left to do, and do not meet at the caller's locks.
 *
 * queue := waiting*           first_lsn rises; a token stands in it once
 *
 * Nothing here is written to disk. */
#include "wal.h"

#include <stdlib.h>

int64_t oor_wal_put(oor_wal *wal, const uint8_t *key, uint32_t key_size, const uint8_t *value,
                    uint32_t value_size, uint32_t flags) {
    return oor_wal_put_as(wal, key, key_size, value, value_size, flags, 0);
}

/* The last error is about these LSNs, whatever others it was about too. */
static int about(uint64_t first_lsn, uint64_t last_lsn) {
    const oor_error *error = oor_last_error();
    return oor_fail_at(error->segment, error->offset, first_lsn, last_lsn);
}

/* Waits for a frame that was just logged. */
static int64_t finish(oor_wal *wal, int64_t first_lsn, uint64_t count, oor_wal_durables *out) {
    out->count = 0;
    if (first_lsn < 0) {
        about(0, 0);
        return first_lsn;
    }
    uint64_t last_lsn = (uint64_t)first_lsn + count - 1;
    int rc = oor_wal_await(wal, last_lsn, -1, OOR_WAL_LEAD, out);
    return rc < 0 ? about((uint64_t)first_lsn, last_lsn) : first_lsn;
}

int64_t oor_wal_commit(oor_wal *wal, const uint8_t *key, uint32_t key_size, const uint8_t *value,
                       uint32_t value_size, uint64_t token, oor_wal_durables *durables) {
    assert(token);
    int64_t first = oor_wal_put_as(wal, key, key_size, value, value_size, OOR_APPEND_WAITS, token);
    return finish(wal, first, 1, durables);
}

int64_t oor_wal_commit_columns(oor_wal *wal, uint64_t count, const uint8_t *keys, size_t keys_size,
                               const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                               const uint32_t *value_sizes, uint32_t flags, uint64_t token,
                               oor_wal_durables *durables) {
    assert(token);
    int64_t first = oor_wal_append(wal, count, keys, keys_size, key_sizes, values, values_size,
                                   value_sizes, flags | OOR_APPEND_WAITS, token);
    return finish(wal, first, count, durables);
}

/* ---- the queue ------------------------------------------------------------------------------- */

int oor_wal_queue_reserve(oor_wal *wal) {
    if (wal->queue_count < wal->queue_room) return 0;
    size_t room = wal->queue_room ? 2 * wal->queue_room : 64;
    oor_wal_waiting *queue = realloc(wal->queue, room * sizeof *queue);
    if (!queue)
        return oor_fail(OOR_E_MEMORY, wal->dir, "no memory for a queue of %zu commits", room);
    wal->queue = queue;
    wal->queue_room = room;
    return 0;
}

void oor_wal_queue_add(oor_wal *wal, const oor_wal_waiting *waiting) {
    assert(wal->queue_count < wal->queue_room);
    size_t at = wal->queue_count++;
    for (; at > 0 && wal->queue[at - 1].first_lsn > waiting->first_lsn; at--)
        wal->queue[at] = wal->queue[at - 1];
    wal->queue[at] = *waiting;
}

int oor_wal_enqueue(oor_wal *wal, uint64_t first_lsn, uint64_t last_lsn, uint64_t token) {
    assert(token && first_lsn <= last_lsn);
    pthread_mutex_lock(&wal->lock);
    int rc = oor_wal_queue_reserve(wal);
    if (rc >= 0) oor_wal_queue_add(wal, &(oor_wal_waiting){first_lsn, last_lsn, token});
    pthread_mutex_unlock(&wal->lock);
    return rc;
}

void oor_wal_find_durable(const oor_wal *wal, oor_wal_durables *out) {
    size_t count = 0;
    while (count < OOR_WAL_DURABLE_COUNT && count < wal->queue_count) {
        const oor_wal_waiting *next = &wal->queue[count];
        /* What is missing between two frames was logged and is about to be put into the queue. */
        int follows = count == 0 || next->first_lsn == next[-1].last_lsn + 1;
        if (!follows || next->last_lsn > wal->durable_lsn) break;
        out->frame[count++] = *next;
    }
    out->count = count;
}

void oor_wal_peek_durable(oor_wal *wal, oor_wal_durables *out) {
    pthread_mutex_lock(&wal->lock);
    oor_wal_find_durable(wal, out);
    pthread_mutex_unlock(&wal->lock);
}

uint64_t oor_wal_publish(oor_wal *wal, uint64_t lsn) {
    pthread_mutex_lock(&wal->lock);
    assert(lsn <= wal->durable_lsn);
    size_t count = 0;
    while (count < wal->queue_count && wal->queue[count].last_lsn <= lsn) count++;
    wal->queue_count -= count;
    /* Before the first commit there is no memory to move anything in. */
    if (count) memmove(wal->queue, wal->queue + count, wal->queue_count * sizeof *wal->queue);
    if (lsn > wal->published_lsn) wal->published_lsn = lsn;
    oor_wal_wake_sleepers(wal, OOR_WAL_WAKE_SERVED);
    const oor_wal_half *half = &wal->half[wal->active];
    uint64_t position = wal->left_behind + half->base + half->used;
    pthread_mutex_unlock(&wal->lock);
    return position;
}
