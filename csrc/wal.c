/* wal.c: the log writer: appends go to the shared tail, from where drains bring them to segments.
 *
 * log     := segment*         numbers rise by one; LSNs go on from one to the next; bytes: frame.c
 * append  := make room in the active half (switch halves, go on to the next segment), then encode
 *
 * A frame never spans two segments, and two halves neither: one that is larger than a half is
 * written past the tail, straight to its segment, and is durable when its append returns. */
#include "wal.h"

#include <stdlib.h>

enum { STRAIGHT_SIZE = 256 << 10 };

typedef struct {
    uint64_t count;
    const uint8_t *keys;
    const uint32_t *key_sizes;
    const uint8_t *values;
    const uint32_t *value_sizes;
    uint64_t body_size;
    uint64_t token; /* of the caller who waits for it; 0: nobody does */
    uint32_t flags; /* oor_append_flags */
} batch;

/* ---- room ------------------------------------------------------------------------------------ */

/* Its header is written by the drain that first writes to it. */
void oor_wal_go_on(oor_wal *wal) {
    oor_wal_file *old = wal->current, *next = wal->ready;
    old->last_lsn = wal->next_lsn - 1;
    oor_wal_file **last = &wal->closed;
    while (*last) last = &(*last)->next;
    *last = old;
    next->header.first_lsn = next->header.new_lsn = wal->next_lsn;
    next->header.previous_segment = old->header.number;
    next->header.previous_last_lsn = wal->next_lsn - 1;
    next->header.size = next->size;
    wal->current = next;
    wal->ready = NULL;
    wal->left_behind += old->size;
    wal->counts.rotations++;
}

/* Waits until the other thread has made the next segment, or has failed to since we asked. */
int oor_wal_wait_for_segment(oor_wal *wal) {
    uint64_t ticket = ++wal->prepare_asked;
    uint64_t since = oor_wal_now_us();
    pthread_cond_signal(&wal->prepare_wanted);
    if (wal->options.flags & OOR_WAL_ALONE && !wal->preparing) oor_wal_prepare(wal);
    while (!wal->ready && wal->prepare_done < ticket && !wal->failed && !wal->stopping)
        pthread_cond_wait(&wal->changed, &wal->lock);
    wal->counts.stall_us += oor_wal_now_us() - since;
    wal->counts.segment_us += oor_wal_now_us() - since;
    if (wal->failed || wal->stopping) return oor_wal_refuse(wal);
    if (wal->ready) return 0;
    return oor_fail_again(wal->prepare_error.code, &wal->prepare_error, "there is no next segment");
}

int oor_wal_wait_for_drain(oor_wal *wal) {
    uint64_t since = oor_wal_now_us();
    int rc = 0;
    if (wal->draining) pthread_cond_wait(&wal->changed, &wal->lock);
    else rc = oor_wal_drain(wal);
    wal->counts.stall_us += oor_wal_now_us() - since;
    return rc;
}

/* The other half takes over, in the same segment or at the start of the next. */
static void switch_halves(oor_wal *wal, int same_segment) {
    oor_wal_half *half = &wal->half[wal->active], *other = &wal->half[!wal->active];
    assert(!other->file);
    /* The block that this half ends in is not written again by the other. */
    if (same_segment && wal->options.flags & OOR_WAL_BLOCK_PADDING) oor_wal_pad_to_block(wal);
    uint64_t at = half->base + half->used;
    if (same_segment) {
        oor_wal_tail_begin(wal, other, wal->current, at,
                           half->data + (at / OOR_BLOCK * OOR_BLOCK - half->base));
    } else {
        oor_wal_go_on(wal);
        oor_wal_tail_begin(wal, other, wal->current, OOR_SEGMENT_HEADER_SIZE, NULL);
    }
    wal->active = !wal->active;
    if (half->used == half->drained) half->file = NULL;
    wal->sync_asked = 1;
    pthread_cond_signal(&wal->sync_wanted);
}

/* With padding, what fills up the last block needs room behind the frame too. */
static uint64_t padding_room(const oor_wal *wal) {
    return wal->options.flags & OOR_WAL_BLOCK_PADDING ? 2 * OOR_BLOCK : 0;
}

/* Whether `count` mutations of `size` bytes more would be more than may be unsynced at one time. */
static int is_over_bound(const oor_wal *wal, uint64_t count, uint64_t size) {
    uint64_t bytes_max = wal->options.max_unsynced_bytes,
             lsns_max = wal->options.max_unsynced_records;
    return (lsns_max && wal->next_lsn - 1 - wal->durable_lsn + count > lsns_max) ||
           (bytes_max && oor_wal_unsynced_bytes(wal) + size > bytes_max);
}

/* Gets going what an append would have to wait for, instead of waiting. */
static int would_wait(oor_wal *wal) {
    if (!wal->ready && wal->prepare_asked == wal->prepare_done) {
        wal->prepare_asked++;
        pthread_cond_signal(&wal->prepare_wanted);
    }
    wal->sync_asked = 1;
    pthread_cond_signal(&wal->sync_wanted);
    return oor_fail(OOR_E_STALL, wal->dir, "the log has no room before the next sync");
}

int oor_wal_blank_refused(oor_wal *wal) {
    assert(wal->refused && !wal->exclusive && !wal->draining);
    const oor_wal_half *half = &wal->half[wal->active];
    uint64_t start = half->used / OOR_BLOCK * OOR_BLOCK;
    size_t lead = (size_t)(half->used - start);
    wal->exclusive = wal->draining = 1;
    memcpy(wal->private_copy, half->data + start, lead);
    memset(wal->private_copy + lead, 0, OOR_BLOCK - lead);
    pthread_mutex_unlock(&wal->lock);
    int rc =
        oor_wal_file_write(wal, wal->current, wal->private_copy, OOR_BLOCK, half->base + start);
    pthread_mutex_lock(&wal->lock);
    wal->exclusive = wal->draining = 0;
    if (rc >= 0) wal->refused = 0;
    else if (rc != OOR_E_FULL) rc = oor_wal_fail(wal);
    oor_wal_wake_all(wal);
    return rc;
}

/* Returns 0 when the active half has room for a frame of `count` mutations and `need` bytes.  Waits
 * for that, unless the flags say not to. */
static int make_room(oor_wal *wal, uint64_t count, uint64_t need, uint32_t flags) {
    int bounded = 0;
    need += padding_room(wal);
    for (;;) {
        if (wal->failed || wal->stopping) return oor_wal_refuse(wal);
        oor_wal_half *half = &wal->half[wal->active], *other = &wal->half[!wal->active];
        int fits = half->base + half->used + need <= wal->current->size;
        int over = count && is_over_bound(wal, count, need), rc = 0;
        int open = !wal->exclusive && !wal->refused;
        if (open && !over && fits && half->used + need <= wal->options.tail_size) return 0;
        if (open && !over && !other->file && (fits || wal->ready)) {
            switch_halves(wal, fits);
            continue;
        }
        if (flags & OOR_APPEND_NO_WAIT) return would_wait(wal);
        if (wal->exclusive) pthread_cond_wait(&wal->changed, &wal->lock);
        else if (wal->draining && wal->refused) rc = oor_wal_wait_for_drain(wal);
        else if (wal->refused) rc = oor_wal_blank_refused(wal);
        else if (over || other->file) rc = oor_wal_wait_for_drain(wal);
        else rc = oor_wal_wait_for_segment(wal);
        if (over && !bounded++) wal->counts.bound_stalls++;
        if (rc < 0) return rc;
    }
}

/* Asks for the next segment once a quarter of this one is used, and for a timed sync.  While they
 * grow the next is twice as long and has to be written in the time that this one takes to fill. */
static void wake_threads(oor_wal *wal, uint64_t at) {
    uint64_t size = wal->current->size;
    if (!wal->ready && wal->prepare_asked == wal->prepare_done && !wal->prepare_error.code &&
        at > (size < wal->options.segment_size ? size / 16 : size / 4)) {
        wal->prepare_asked++;
        pthread_cond_signal(&wal->prepare_wanted);
    }
    if (wal->sync_sleeps) pthread_cond_signal(&wal->sync_wanted);
}

/* ---- append ---------------------------------------------------------------------------------- */

static void encode_body(uint8_t *out, const batch *b, uint64_t first_lsn) {
    if (b->flags & OOR_APPEND_OPS) {
        memcpy(out, b->keys, b->body_size);
        return;
    }
    const uint8_t *key = b->keys, *value = b->values;
    const uint8_t *const *apart = (const void *)b->values;
    for (uint64_t i = 0; i < b->count; i++) {
        uint32_t value_size = b->value_sizes[i];
        if (b->flags & OOR_APPEND_APART) value = apart[i];
        if (b->flags & OOR_APPEND_STAMP && value_size != OOR_TOMBSTONE)
            oor_store64((uint8_t *)(uintptr_t)value, first_lsn + i);
        out = oor_op_encode(out, key, b->key_sizes[i], value, value_size);
        key += b->key_sizes[i];
        if (value_size != OOR_TOMBSTONE) value += value_size;
    }
}

/* Accounts for a frame of `count` mutations that was just put behind all others. */
static void note_frame(oor_wal *wal, uint64_t count, uint64_t size) {
    wal->next_lsn += count;
    wal->expected_lsn = wal->next_lsn;
    wal->half[wal->active].end_lsn = wal->next_lsn;
    wal->counts.frames++;
    wal->counts.appended_bytes += size;
    wal->sealed = 0;
}

/* A frame without ops. */
static void append_note(oor_wal *wal, uint32_t body_size, uint32_t flags) {
    oor_wal_half *half = &wal->half[wal->active];
    uint64_t need = oor_frame_size(body_size);
    uint8_t *out = half->data + half->used;
    memset(out + OOR_FRAME_HEADER_SIZE, 0, body_size);
    oor_frame_finish(out, wal->current->salt, half->base + half->used, body_size, 0, wal->next_lsn,
                     wal->durable_lsn, flags);
    oor_io_stored(wal->map, (uint64_t)(out - wal->map), need);
    half->used += need;
}

uint64_t oor_wal_gap(uint64_t offset) {
    if (offset % OOR_BLOCK == 0) return 0;
    uint64_t gap = OOR_BLOCK - offset % OOR_BLOCK;
    return gap < OOR_FRAME_HEADER_SIZE ? gap + OOR_BLOCK : gap;
}

void oor_wal_pad_to_block(oor_wal *wal) {
    oor_wal_half *half = &wal->half[wal->active];
    uint64_t gap = oor_wal_gap(half->used);
    if (half->used == half->drained || !gap) return;
    assert(half->used + gap <= wal->options.tail_size &&
           half->base + half->used + gap <= wal->current->size);
    append_note(wal, (uint32_t)(gap - OOR_FRAME_HEADER_SIZE), OOR_FRAME_FILLER);
}

static void append_to_tail(oor_wal *wal, const batch *b, uint64_t need) {
    oor_wal_half *half = &wal->half[wal->active];
    uint8_t *out = half->data + half->used;
    uint64_t at = half->base + half->used;
    encode_body(out + OOR_FRAME_HEADER_SIZE, b, wal->next_lsn);
    oor_frame_finish(out, wal->current->salt, at, (uint32_t)b->body_size, (uint32_t)b->count,
                     wal->next_lsn, wal->durable_lsn, 0);
    oor_io_stored(wal->map, (uint64_t)(out - wal->map), need);
    half->used += need;
    if (!wal->window_since_us) wal->window_since_us = oor_wal_now_us();
    note_frame(wal, b->count, need);
    /* Half-way to a bound is early enough for most writers not to meet it. */
    if (!wal->sync_asked && is_over_bound(wal, (wal->options.max_unsynced_records + 1) / 2,
                                          (wal->options.max_unsynced_bytes + 1) / 2)) {
        wal->sync_asked = 1;
        pthread_cond_signal(&wal->sync_wanted);
    }
    wake_threads(wal, at);
}

/* Makes the current segment, which is empty, one of `size` bytes.  Lock held. */
static int enlarge_segment(oor_wal *wal, uint64_t size) {
    oor_wal_file *file = wal->current;
    uint64_t more = size - file->size;
    if (oor_wal_is_over_limit(wal, more)) {
        if (oor_wal_drop_spare(wal)) return 0;
        /* What is before it can be freed only once it has begun. */
        int rc = file->header_written ? 0 : oor_wal_begin_current(wal);
        if (rc < 0) return rc;
        return oor_fail(OOR_E_STALL, wal->dir,
                        "a batch of %llu bytes waits until a flush frees segments",
                        (unsigned long long)more);
    }
    int rc = oor_io_allocate(file->fd, file->path, file->size, more);
    if (rc < 0) return rc;
    oor_wal_grow(wal, more);
    file->size = file->header.size = size;
    return 0;
}

/* Makes the current segment one that has room for `need` bytes behind all that is durable. */
static int make_large_room(oor_wal *wal, uint64_t need) {
    for (;;) {
        if (wal->failed || wal->stopping) return oor_wal_refuse(wal);
        oor_wal_half *half = &wal->half[wal->active], *other = &wal->half[!wal->active];
        int rc = 0;
        if (wal->exclusive) pthread_cond_wait(&wal->changed, &wal->lock);
        else if (wal->draining || other->file || half->used != half->drained)
            rc = oor_wal_wait_for_drain(wal);
        else if (wal->refused) rc = oor_wal_blank_refused(wal);
        else if (half->base + half->used + need <= wal->current->size) return 0;
        else if (half->base + half->used == OOR_SEGMENT_HEADER_SIZE) {
            rc = enlarge_segment(wal, OOR_SEGMENT_HEADER_SIZE + oor_round_up(need, OOR_BLOCK));
        } else if (!wal->ready) rc = oor_wal_wait_for_segment(wal);
        else {
            oor_wal_go_on(wal);
            half->file = NULL;
            oor_wal_tail_begin(wal, half, wal->current, OOR_SEGMENT_HEADER_SIZE, NULL);
        }
        if (rc < 0) return rc;
    }
}

/* Writes a frame that no half or no bound can hold.  Lock held; released while the device works. */
static int append_large(oor_wal *wal, const batch *b, uint64_t need) {
    int rc = make_large_room(wal, need + padding_room(wal));
    if (rc < 0) return rc;
    oor_wal_half *half = &wal->half[wal->active];
    oor_wal_file *file = wal->current;
    uint64_t at = half->base + half->used, start = at / OOR_BLOCK * OOR_BLOCK;
    uint64_t gap = padding_room(wal) ? oor_wal_gap(at + need) : 0;
    size_t lead = (size_t)(at - start), whole = (size_t)oor_round_up(lead + need + gap, OOR_BLOCK);
    /* What a drain sends is not in use: nobody drains. */
    uint8_t *own = whole > wal->private_size ? aligned_alloc(OOR_BLOCK, whole) : NULL;
    uint8_t *out = own ? own : wal->private_copy;
    if (!own && whole > wal->private_size)
        return oor_fail(OOR_E_MEMORY, file->path, "no memory for a frame of %zu bytes", whole);
    wal->exclusive = wal->draining = 1;
    int begins = !file->header_written;
    uint64_t first_lsn = wal->next_lsn, durable = wal->durable_lsn;
    memcpy(out, half->data + (start - half->base), lead);
    pthread_mutex_unlock(&wal->lock);
    encode_body(out + lead + OOR_FRAME_HEADER_SIZE, b, first_lsn);
    oor_frame_finish(out + lead, file->salt, at, (uint32_t)b->body_size, (uint32_t)b->count,
                     first_lsn, durable, 0);
    memset(out + lead + need, 0, whole - lead - (size_t)need);
    if (gap)
        oor_frame_finish(out + lead + need, file->salt, at + need,
                         (uint32_t)(gap - OOR_FRAME_HEADER_SIZE), 0, first_lsn + b->count, durable,
                         OOR_FRAME_FILLER);
    if (begins) rc = oor_wal_file_begin(wal, file);
    int begun = rc >= 0;
    if (begun) rc = oor_wal_file_write(wal, file, out, whole, start);
    pthread_mutex_lock(&wal->lock);
    wal->exclusive = wal->draining = 0;
    if (begun) file->header_written = 1;
    if (rc >= 0) {
        note_frame(wal, b->count, need);
        wal->durable_lsn = wal->next_lsn - 1;
        oor_io_promised(wal->dir, wal->durable_lsn);
        wal->counts.syncs++;
        wal->counts.written_bytes += whole;
        uint64_t end = at + need + gap;
        half->file = NULL;
        half->drained = half->used;
        oor_wal_tail_begin(wal, half, file, end, out + (end / OOR_BLOCK * OOR_BLOCK - start));
        wake_threads(wal, end);
    } else if (rc == OOR_E_FULL) {
        wal->refused = begun;
    } else {
        rc = oor_wal_fail(wal);
    }
    oor_wal_wake_all(wal);
    free(own);
    return rc;
}

/* Whether a frame cannot go through the tail: too large for it, or by itself more than a bound lets
 * be unsynced.  It is durable when its append returns. */
static int is_large(const oor_wal *wal, const batch *b, uint64_t need) {
    uint64_t room = need + padding_room(wal);
    return room > wal->options.tail_size - OOR_BLOCK ||
           (wal->options.max_unsynced_records && b->count > wal->options.max_unsynced_records) ||
           (wal->options.max_unsynced_bytes && room > wal->options.max_unsynced_bytes);
}

/* Whether a frame that its caller waits for anyway had better go straight to its segment, saved a
 * copy, since nobody else would share its sync or have to wait behind it. */
static int is_alone(const oor_wal *wal, const batch *b, uint64_t need) {
    const oor_wal_half *half = &wal->half[wal->active];
    return b->flags & OOR_APPEND_WAITS && need >= STRAIGHT_SIZE && !wal->draining &&
           !wal->exclusive && !wal->sleepers && half->used == half->drained &&
           !wal->half[!wal->active].file && pthread_equal(wal->last_appender, pthread_self());
}

static int log_batch(oor_wal *wal, const batch *b, uint64_t need) {
    if (wal->next_lsn > OOR_NUMBER_MAX || b->count > OOR_NUMBER_MAX - wal->next_lsn + 1)
        return oor_fail(OOR_E_LIMIT, wal->dir, "the LSNs are used up");
    int rc = b->token ? oor_wal_queue_reserve(wal) : 0;
    if (rc < 0) return rc;
    if (is_large(wal, b, need))
        return b->flags & OOR_APPEND_NO_WAIT ? would_wait(wal) : append_large(wal, b, need);
    if (is_alone(wal, b, need)) return append_large(wal, b, need);
    rc = make_room(wal, b->count, need, b->flags);
    if (rc >= 0) append_to_tail(wal, b, need);
    return rc;
}

static int64_t append(oor_wal *wal, const batch *b) {
    uint64_t need = oor_frame_size(b->body_size);
    if (need > OOR_FRAME_SIZE_MAX)
        return oor_fail(OOR_E_LIMIT, wal->dir, "a batch of %llu bytes is over the limit of %d",
                        (unsigned long long)need, OOR_FRAME_SIZE_MAX);
    pthread_mutex_lock(&wal->lock);
    int rc = log_batch(wal, b, need);
    wal->last_appender = pthread_self();
    uint64_t first = wal->next_lsn - b->count;
    if (rc >= 0 && b->token)
        oor_wal_queue_add(wal, &(oor_wal_waiting){first, wal->next_lsn - 1, b->token});
    if (rc >= 0 && b->token && wal->returning && --wal->returning == 0 && wal->gathering)
        pthread_cond_broadcast(&wal->changed);
    pthread_mutex_unlock(&wal->lock);
    return rc < 0 ? rc : (int64_t)first;
}

int64_t oor_wal_put_as(oor_wal *wal, const uint8_t *key, uint32_t key_size, const uint8_t *value,
                       uint32_t value_size, uint32_t flags, uint64_t token) {
    uint32_t room = value_size == OOR_TOMBSTONE ? 0 : value_size;
    if (key_size > OOR_KEY_SIZE_MAX || room > OOR_VALUE_SIZE_MAX)
        return oor_fail(OOR_E_LIMIT, wal->dir,
                        "a key of %u and a value of %u bytes: the limits are %d and %d", key_size,
                        room, OOR_KEY_SIZE_MAX, OOR_VALUE_SIZE_MAX);
    assert(!(flags & (OOR_APPEND_STAMP | OOR_APPEND_APART)));
    batch b = {.count = 1,
               .keys = key,
               .key_sizes = &key_size,
               .values = value,
               .value_sizes = &value_size,
               .flags = flags,
               .token = token,
               .body_size = (uint64_t)OOR_OP_HEADER_SIZE + key_size + room};
    return append(wal, &b);
}

/* Whether a frame of one mutation finds room with nothing to wait for or to switch, and overtakes
 * nobody who waits. */
static int is_easy(const oor_wal *wal, uint64_t cost, uint64_t need) {
    const oor_wal_half *half = &wal->half[wal->active];
    need += padding_room(wal);
    return cost <= wal->allowance && !wal->queue_count && !wal->failed && !wal->stopping &&
           !wal->exclusive && !wal->refused && wal->next_lsn <= OOR_NUMBER_MAX &&
           half->used + need <= wal->options.tail_size &&
           half->base + half->used + need <= wal->current->size && !is_over_bound(wal, 1, need);
}

int64_t oor_wal_put_begin(oor_wal *wal, size_t key_size, size_t value_size) {
    if (key_size > OOR_KEY_SIZE_MAX || value_size > OOR_EASY_SIZE) return 0;
    if (pthread_mutex_trylock(&wal->lock) != 0) return 0;
    uint64_t body_size = (uint64_t)OOR_OP_HEADER_SIZE + key_size + value_size;
    if (is_easy(wal, wal->allowance_entry + key_size + value_size, oor_frame_size(body_size)))
        return (int64_t)wal->next_lsn;
    pthread_mutex_unlock(&wal->lock);
    return 0;
}

void oor_wal_put_end(oor_wal *wal, const uint8_t *key, uint32_t key_size, const uint8_t *value,
                     uint32_t value_size) {
    if (key) {
        batch b = {.count = 1,
                   .keys = key,
                   .key_sizes = &key_size,
                   .values = value,
                   .value_sizes = &value_size,
                   .body_size = (uint64_t)OOR_OP_HEADER_SIZE + key_size + value_size};
        wal->allowance -= wal->allowance_entry + key_size + value_size;
        append_to_tail(wal, &b, oor_frame_size(b.body_size));
        wal->last_appender = pthread_self();
    }
    pthread_mutex_unlock(&wal->lock);
}

uint64_t oor_wal_allow(oor_wal *wal, uint64_t size, uint64_t entry_size) {
    pthread_mutex_lock(&wal->lock);
    uint64_t used = wal->allowance_given - wal->allowance;
    wal->allowance = wal->allowance_given = size;
    wal->allowance_entry = entry_size;
    pthread_mutex_unlock(&wal->lock);
    return used;
}

int64_t oor_wal_append(oor_wal *wal, uint64_t count, const uint8_t *keys, size_t keys_size,
                       const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                       const uint32_t *value_sizes, uint32_t flags, uint64_t token) {
    int are_ops = (flags & OOR_APPEND_OPS) != 0;
    assert(!are_ops || (!values && !(flags & OOR_APPEND_STAMP)));
    int rc = are_ops ? oor_ops_check(count, keys, keys_size)
                     : oor_columns_check(count, keys_size, key_sizes, values_size, value_sizes);
    if (rc < 0) return rc;
    if (count == 0 || count > UINT32_MAX)
        return oor_fail(OOR_E_LIMIT, wal->dir, "a batch holds 1 to %u mutations, not %llu",
                        UINT32_MAX, (unsigned long long)count);
    for (uint64_t i = 0; flags & OOR_APPEND_STAMP && i < count; i++)
        if (value_sizes[i] < 8)
            return oor_fail(OOR_E_LIMIT, wal->dir, "a value of %u bytes has no room for its LSN",
                            value_sizes[i]);
    batch b = {.count = count,
               .keys = keys,
               .key_sizes = key_sizes,
               .values = values,
               .value_sizes = value_sizes,
               .token = token,
               .flags = flags,
               .body_size = (are_ops ? 0 : count * OOR_OP_HEADER_SIZE) + keys_size + values_size};
    return append(wal, &b);
}

int oor_wal_append_seal(oor_wal *wal) {
    int rc = make_room(wal, 0, OOR_FRAME_HEADER_SIZE, 0);
    if (rc < 0 || wal->sealed) return rc;
    append_note(wal, 0, OOR_FRAME_SEAL);
    wal->sealed = 1;
    return 0;
}
