/* wal.h: what the eight files of the log writer share.
 *
 * wal.c          appends: the order of things
 * wal_drain.c    from the tail to segments, and who is told
 * wal_sync.c     waits until something is durable, leads syncs, leaves a segment
 * wal_commit.c   appends that wait, and the queue of those who do
 * wal_segment.c  makes, frees and reuses the files
 * wal_tail.c     the shared tail: two halves of one mapped file
 * wal_thread.c   the two threads: sync by time, the next segment ahead of time
 * wal_open.c     start and end: the first segment, what is copied forward into it, state, close
 *
 * Ownership: the oor_wal owns every fd, map and thread below it.
 * Threads:   fields are read and written under `lock`, but for those marked otherwise.  I/O is done
 *            without it; `draining` lets one thread at a time write to segments.
 * Invariants:
 * (1) An LSN is given in the order in which frames stand in the log, and never twice.
 * (2) A segment's header is written only when every frame of the segment before is durable.
 * (3) The bytes of a half in [drained, used) are in no segment yet; those in [0, drained) are.
 * (4) At most one half is behind the active one, and it is drained first.
 * (5) After `failed` is set no byte is written and durable_lsn does not move. */
#ifndef OOR_WAL_H
#define OOR_WAL_H

#include <pthread.h>
#include <semaphore.h>
#include <sys/types.h>

#include "frame.h"
#include "io.h"

typedef struct oor_wal_file {
    struct oor_wal_file *next; /* in the list of closed segments, oldest first */
    oor_segment_header header;
    uint64_t last_lsn; /* set when closed */
    uint64_t size;     /* of the file, bytes */
    uint32_t salt;
    int fd;
    int header_written; /* durable; written by the thread that drains, under the lock */
    char path[1024];
} oor_wal_file;

/* A thread that waits for a sync; on its stack.  Woken through a semaphore of its own, it need not
 * queue for the lock behind all the others that were woken with it. */
typedef struct oor_wal_sleeper {
    struct oor_wal_sleeper *next;
    uint64_t lsn;
    int commits; /* it waits until its LSN is published; else until it is durable */
    int served;  /* it is; else it is to look again */
    struct oor_wal_sleeper *wakes[2]; /* in turn; NULL: nobody */
    sem_t woken;
} oor_wal_sleeper;

typedef struct {
    uint8_t *head;      /* in the map: the block that says what this half holds */
    uint8_t *data;      /* in the map: tail_size bytes */
    oor_wal_file *file; /* whose bytes these are; NULL: this half is free */
    uint64_t base;      /* offset in the segment of data[0], a multiple of OOR_BLOCK */
    uint64_t used;      /* end of the last frame, from data[0] */
    uint64_t drained;   /* of used, how much the segment has */
    uint64_t end_lsn;   /* the LSN behind the last frame here */
} oor_wal_half;

struct oor_wal {
    pthread_mutex_t lock;
    /* somebody waits for: a free half, a prepared segment, an end of exclusive use */
    pthread_cond_t changed;
    oor_wal_sleeper *sleepers; /* list: those who wait for a sync that somebody else makes */
    oor_wal_options options;   /* constant; dir points to `dir` */
    char dir[960];
    uint64_t next_lsn;
    uint64_t expected_lsn; /* what a reader of the frames so far would expect next */
    uint64_t durable_lsn;
    uint64_t left_behind; /* size of all segments before the current one, since the start */
    oor_wal_half half[2];
    int active;
    oor_wal_file *current; /* the active half's file, or the copy's before start */
    oor_wal_file *ready;   /* made ahead; NULL: not yet */
    oor_wal_file *closed;  /* list */
    oor_wal_file *spares;  /* list: freed files kept for reuse */
    uint32_t spare_count;
    pid_t process; /* who made it; constant */
    pthread_t last_appender;
    int draining;
    int exclusive; /* a frame larger than the tail is being written: nobody else appends */
    int refused;   /* a frame found no room; all of it may stand behind the end all the same */
    int started;
    int stopping;
    int failed;
    oor_error failure;      /* what oor_last_error said then */
    uint64_t prepare_asked; /* attempts asked for and made, for those who wait for one */
    uint64_t prepare_done;
    int preparing;            /* somebody makes the next segment */
    int retiring;             /* somebody frees a segment that is in no list any more */
    oor_error prepare_error;  /* of the last attempt; code 0: it worked */
    oor_error drain_error;    /* of the last drain that may be repeated; code 0: none */
    uint64_t window_since_us; /* when the oldest mutation that is not durable was logged; 0: none */
    uint8_t *private_copy;    /* aligned; what a direct write sends; the draining thread's */
    size_t private_size;
    uint8_t *map;
    size_t map_size;
    int tail_fd;
    char tail_path[1024];
    /* before start: offset in the segment of private_copy[0], and how much is there */
    uint64_t copy_base;
    uint64_t copy_used;
    int copy_fd; /* of the same file, for writes that one sync makes durable; -1: none */
    pthread_t sync_thread;
    pthread_t prepare_thread;
    pthread_cond_t sync_wanted;
    pthread_cond_t prepare_wanted;
    int threads;    /* how many of the two run */
    int sync_asked; /* drain now, whatever the time */
    int gathering;  /* somebody leads the next sync and waits for company */
    /* commits that the last drains served, less those that came since */
    size_t returning;
    uint64_t drain_us; /* how long a drain takes */
    /* after a wait for company in vain the next ones are left out, more of them each time */
    uint32_t gathers_in_vain, gathers_left_out;
    int notify_fd;   /* an eventfd that counts changes of what is durable; -1: none */
    int sync_sleeps; /* the sync thread waits without a deadline: an append must wake it */
    int sealed;      /* the last frame is a seal */
    /* what oor_wal_put_begin may still allow, how much it was given, and what it counts for a
     * mutation besides key and value */
    uint64_t allowance;
    uint64_t allowance_given;
    uint64_t allowance_entry;
    uint64_t published_lsn; /* every frame of the queue up to here has been made visible */
    int drainer_publishes;  /* who drains will make visible what the drain makes durable */
    /* in LSN order: logged, waited for, and not yet published by the caller */
    oor_wal_waiting *queue;
    size_t queue_count;
    size_t queue_room;
    oor_wal_state counts; /* the counters of oor_wal_state; its other fields are made when asked */
};

/* wal_segment.c */
/* Makes a file for segment `number`, durable with its name, from a spare (taken, freed on failure)
 * or anew; then it is written once with zeros from `zeros_from` on. */
int oor_wal_file_make(oor_wal *wal, uint64_t number, uint64_t size, uint64_t zeros_from,
                      oor_wal_file *spare, oor_wal_file **out);
/* Whether `more` bytes of files must wait until a segment is freed.  A log of one segment may
 * always grow: nothing could be freed for it.  REQUIRES: lock held. */
int oor_wal_is_over_limit(const oor_wal *wal, uint64_t more);
/* Accounts for files that grew.  REQUIRES: lock held. */
void oor_wal_grow(oor_wal *wal, uint64_t more);
/* Removes one spare file, if there is one; returns whether.  REQUIRES: lock held, which is released
 * meanwhile. */
int oor_wal_drop_spare(oor_wal *wal);
/* Writes and syncs the header block.  REQUIRES: everything before it in the log is durable. */
int oor_wal_file_begin(oor_wal *wal, oor_wal_file *file);
/* Writes whole blocks; durable when it returns.  REQUIRES: aligned offset, size and memory. */
int oor_wal_file_write(oor_wal *wal, oor_wal_file *file, const uint8_t *data, size_t size,
                       uint64_t offset);
/* Closes without an opinion on what is in it. */
void oor_wal_file_free(oor_wal_file *file);

/* wal_tail.c */
int oor_wal_tail_open(oor_wal *wal);
void oor_wal_tail_close(oor_wal *wal);
/* Makes `half` hold `file` from `offset` on; the bytes of the block before it are in `partial`. */
void oor_wal_tail_begin(oor_wal *wal, oor_wal_half *half, oor_wal_file *file, uint64_t offset,
                        const uint8_t *partial);

/* wal_commit.c.  REQUIRES: lock held. */
/* Makes sure that the next oor_wal_queue_add has room. */
int oor_wal_queue_reserve(oor_wal *wal);
void oor_wal_queue_add(oor_wal *wal, const oor_wal_waiting *waiting);
void oor_wal_find_durable(const oor_wal *wal, oor_wal_durables *out);

/* A flag of an append beside those of oor.h: its caller holds no lock and waits for the device in
 * this very call. */
#define OOR_APPEND_WAITS (1U << 31)

/* wal.c: as oor_wal_put, with the token of a caller who waits; 0: none does. */
int64_t oor_wal_put_as(oor_wal *wal, const uint8_t *key, uint32_t key_size, const uint8_t *value,
                       uint32_t value_size, uint32_t flags, uint64_t token);

/* wal.c, for native_put.h: a put in two steps, between which it may still be given up. */
enum { OOR_EASY_SIZE = 64 << 10 };
/* The LSN that the put has, with the log's lock held until oor_wal_put_end; 0, without it, where it
 * would have to wait, or is larger than OOR_EASY_SIZE. */
int64_t oor_wal_put_begin(oor_wal *wal, size_t key_size, size_t value_size);
/* Logs the put that was begun, with the sizes it was begun with; `key` NULL: nothing. */
void oor_wal_put_end(oor_wal *wal, const uint8_t *key, uint32_t key_size, const uint8_t *value,
                     uint32_t value_size);

/* wal_thread.c */
int oor_wal_threads_start(oor_wal *wal);
void oor_wal_threads_stop(oor_wal *wal);
/* Makes the next segment, or notes why not.  REQUIRES: lock held, which is released meanwhile. */
void oor_wal_prepare(oor_wal *wal);

/* wal_drain.c and wal.c, for the threads and wal_sync.c.  REQUIRES: lock held; where they wait or
 * write it is released meanwhile and held again on return. */
int oor_wal_drain(oor_wal *wal);
int oor_wal_wait_for_drain(oor_wal *wal);
int oor_wal_wait_for_segment(oor_wal *wal);
/* Writes the header of the current segment, durably.  REQUIRES: nothing is drained, and everything
 * before the segment is durable. */
int oor_wal_begin_current(oor_wal *wal);
/* Makes the segment that is ready the current one. */
void oor_wal_go_on(oor_wal *wal);
/* After a large frame that found no room, whose LSNs are given again: makes sure that none of it
 * verifies, before anything is appended or the segment is left.  REQUIRES: refused, and nobody
 * writes.  Lock held; released while the device works. */
int oor_wal_blank_refused(oor_wal *wal);
/* The failure of a call on a log that has failed or was closed. */
int oor_wal_refuse(const oor_wal *wal);
/* Appends a seal frame, unless the last frame is one.  REQUIRES: lock held. */
int oor_wal_append_seal(oor_wal *wal);
/* wal_sync.c.  After a drain one sleeper is woken to make the next, and one to publish unless who
 * drained does.  REQUIRES: lock held. */
typedef enum { OOR_WAL_WAKE_SERVED, OOR_WAL_WAKE_AFTER_DRAIN, OOR_WAL_WAKE_ALL } oor_wal_wake;
void oor_wal_wake_sleepers(oor_wal *wal, oor_wal_wake whom);
/* Waits until `lsn` is durable; OOR_WAL_LEAD: makes the sync itself if nobody else does.  With
 * `out`, until it is published, or until this caller is to publish what `out` then holds. */
enum { OOR_WAL_FOLLOW = 0, OOR_WAL_LEAD = 1 };
int oor_wal_await(oor_wal *wal, uint64_t lsn, int64_t timeout_us, int lead, oor_wal_durables *out);
/* Wakes everybody, whatever they wait for.  REQUIRES: lock held. */
void oor_wal_wake_all(oor_wal *wal);
/* Remembers this thread's last error as the end of writing, and returns OOR_E_FAILED: whoever meets
 * it first is told what all later ones are told.  REQUIRES: lock held. */
int oor_wal_fail(oor_wal *wal);

/* Fills up the last block, so that it is not written again.  REQUIRES: lock held. */
void oor_wal_pad_to_block(oor_wal *wal);

/* Bytes of the log that are in no segment yet, those that a drain in flight sends included. */
static inline uint64_t oor_wal_unsynced_bytes(const oor_wal *wal) {
    return wal->half[0].used - wal->half[0].drained + (wal->half[1].used - wal->half[1].drained);
}

/* How long a filler frame at `offset` is that ends at a block's end; 0 at a block's start. */
uint64_t oor_wal_gap(uint64_t offset);

uint64_t oor_wal_now_us(void);

#endif
