/* oor.h: the whole C API of the engine.  Bytes: docs/formats/.
 *
 * Ownership: an object made by X_new or X_open belongs to the caller until X_free or X_close; what
 * a
 *            struct points to belongs to the object that filled it, until the next call on that
 *            object.
 * Threads:   each section says who may call what at once; a call never touches the interpreter, so
 *            the caller holds no interpreter lock meanwhile.
 * Invariants:
 * (1) A function returns >= 0 for an answer and a negative oor_code for a failure; oor_last_error()
 *     of the same thread then says what happened and where.
 * (2) A length read from a disk is used only after the checksum that covers it has been verified.
 * (3) Nothing but io.c makes a system call that touches storage. */
#ifndef OOR_H
#define OOR_H

#include <stddef.h>
#include <stdint.h>

/* The build cuts the declarations between the two marks below into the cffi cdef. */
/* cdef: begin */

/* ---- errors (core.c) ------------------------------------------------------------------------ */

enum oor_code {
    OOR_E_IO = -1, /* the system refused; sys_errno says why */
    /* no room: ENOSPC or EDQUOT; nothing was changed, the call may be repeated */
    OOR_E_FULL = -2,
    OOR_E_CORRUPT = -3,   /* bytes that were promised are not there */
    OOR_E_FORMAT = -4,    /* bytes of a format or version that this build does not read */
    OOR_E_MEMORY = -5,    /* an allocation failed */
    OOR_E_LIMIT = -6,     /* an argument is past a documented limit */
    OOR_E_FAILED = -7,    /* an earlier failure has made this object read-only */
    OOR_E_TIMEOUT = -8,   /* the time given to a wait has passed */
    OOR_E_CANCELLED = -9, /* the caller asked the work to stop */
    OOR_E_CLOSED = -10,   /* the object was closed */
    OOR_E_STALL = -11,    /* it would have to wait, and was asked not to */
    OOR_E_BROKEN = -12,   /* a check found an invariant broken: a fault of the engine itself */
    OOR_E_CODEC = -13     /* the library that unpacks this is not on the machine */
};

/* What the last failed call of this thread found.  Fields that do not apply are 0 or empty. */
typedef struct {
    int32_t code;
    int32_t sys_errno;
    uint64_t segment;
    uint64_t offset;
    uint64_t first_lsn;
    uint64_t last_lsn;
    int32_t placed; /* `offset` says where; 0 is a place too */
    char what[192];
    char path[1024];
} oor_error;

/* Never NULL; valid until this thread's next failed call. */
const oor_error *oor_last_error(void);

/* 1 when asserts are alive in this build: they must be, in every build. */
int oor_asserts_alive(void);

/* Gives what malloc keeps of freed memory back to the system (memory.c); a few ms.  For the end of
 * work that took much of it. */
void oor_memory_trim(void);

/* ---- buffers (core.c): bytes that C fills and the caller reads ------------------------------- */

typedef struct {
    uint8_t *data;
    size_t size;
    size_t capacity;
} oor_buffer;

oor_buffer *oor_buffer_new(void);
/* Puts a copy of `data` behind what is there. */
int oor_buffer_add(oor_buffer *buffer, const uint8_t *data, size_t size);
void oor_buffer_free(oor_buffer *buffer);

/* ---- crc32c (crc32c.c) ----------------------------------------------------------------------- */

/* The CRC32C (Castagnoli) of data behind bytes whose CRC is `crc`; 0 starts one. */
uint32_t oor_crc32c(uint32_t crc, const uint8_t *data, size_t size);
/* The stored form of a CRC: rotated and offset, so that bytes which hold CRCs can be checksummed.
 * */
uint32_t oor_crc32c_mask(uint32_t crc);
/* The implementation in force: "avx512", "sse42", "armv8" or "portable". */
const char *oor_crc32c_name(void);
/* Puts `name` in force; returns 1, or 0 where this build or this CPU does not have it. */
int oor_crc32c_force(const char *name);

/* ---- io: the one door to the disk (io.c) ------------------------------------------------------
 * Threads: all calls are safe at once.  `path` beside an fd is for the error only. */

enum oor_open_flags {
    OOR_OPEN_READ = 1,
    OOR_OPEN_WRITE = 2,
    OOR_OPEN_CREATE = 4,
    OOR_OPEN_EXCLUSIVE = 8,
    OOR_OPEN_TRUNCATE = 16,
    OOR_OPEN_DIRECT = 32, /* O_DIRECT: offset, size and memory aligned to OOR_BLOCK */
    OOR_OPEN_DSYNC = 64   /* each write is durable when it returns */
};
enum { OOR_BLOCK = 4096 };

int oor_io_open(const char *path, uint32_t flags);
int oor_io_close(int fd, const char *path);
int64_t oor_io_size(int fd, const char *path);
/* Reads until `size` bytes or end of file; returns how many. */
int64_t oor_io_read(int fd, const char *path, uint8_t *data, size_t size, uint64_t offset);
/* Writes all of it or fails. */
int oor_io_write(int fd, const char *path, const uint8_t *data, size_t size, uint64_t offset);
int oor_io_sync(int fd, const char *path);
int oor_io_truncate(int fd, const char *path, uint64_t size);
/* Reserves blocks; falls back to nothing where the file system cannot. */
int oor_io_allocate(int fd, const char *path, uint64_t offset, uint64_t size);
int oor_io_rename(const char *from, const char *to);
int oor_io_link(const char *from, const char *to);
int oor_io_unlink(const char *path);
int oor_io_make_dir(const char *path);
int oor_io_sync_dir(const char *path);
/* Takes the exclusive advisory lock of an open file: 1 taken, 0 somebody else has it. */
int oor_io_lock(int fd, const char *path);
/* Names of a directory's entries, each ended by a zero byte, without "." and ".."; returns their
 * count. */
int64_t oor_io_list(const char *path, oor_buffer *out);
/* 1 there, 0 not there. */
int oor_io_exists(const char *path);
/* Maps the first `size` bytes, shared, readable and writable; their blocks must be written before,
 * since a store into a hole of a full disk ends the process. */
int oor_io_map(int fd, const char *path, size_t size, uint8_t **out);
void oor_io_unmap(uint8_t *map, size_t size);
/* Copies bytes into a map.  What stores there by other means calls oor_io_stored (io.h). */
void oor_io_store(uint8_t *map, uint64_t offset, const uint8_t *data, size_t size);

/* The recording and failing table (io_trace.c).  One at a time; for tests and for the crash
 * explorer. */
enum oor_io_op {
    OOR_OP_OPEN = 1,
    OOR_OP_CLOSE = 2,
    OOR_OP_READ = 3,
    OOR_OP_WRITE = 4,
    OOR_OP_SYNC = 5,
    OOR_OP_TRUNCATE = 6,
    OOR_OP_ALLOCATE = 7,
    OOR_OP_RENAME = 8,
    OOR_OP_LINK = 9,
    OOR_OP_UNLINK = 10,
    OOR_OP_MAKE_DIR = 11,
    OOR_OP_SYNC_DIR = 12,
    OOR_OP_LOCK = 13,
    OOR_OP_LIST = 14,
    OOR_OP_SIZE = 15,
    OOR_OP_MAP = 16,
    OOR_OP_STORE = 17,
    OOR_OP_EXISTS = 18,
    OOR_OP_MARK = 19,
    OOR_OP_PROMISE = 20
};
enum oor_fault_how {
    OOR_FAULT_BEFORE = 0,  /* not done, error */
    OOR_FAULT_AFTER = 1,   /* done, error */
    OOR_FAULT_PARTIAL = 2, /* READ, WRITE: a short count of `amount` bytes, no error */
    OOR_FAULT_TORN = 3,    /* READ, WRITE, ALLOCATE: `amount` bytes done, error */
    /* SYNC: not done and no error, and the pages count as written: somebody else was told. */
    OOR_FAULT_SWALLOWED = 4,
    OOR_FAULT_LATE = 5, /* the same; the next SYNC of the file is not done and reports the error */
    /* READ, WRITE: as PARTIAL, and the next call of its kind on the file is interrupted. */
    OOR_FAULT_INTERRUPTED = 6
};
enum {
    OOR_TRACE_PAYLOADS = 1,
    /* Only what rules about the order of operations need: no reads, no bytes of tables, and nothing
     * more once 48 MiB are waiting to be taken. */
    OOR_TRACE_ORDER = 2
};

int oor_trace_install(uint32_t flags);
void oor_trace_remove(void);
/* Puts a note of the caller's between the operations. */
int oor_trace_mark(const char *text);
/* Whether something was left out since then for the sake of memory. */
int oor_trace_is_cut_off(void);
/* Moves the events so far to `out` (grammar: io_trace.c); returns how many. */
int64_t oor_trace_take(oor_buffer *out);
/* The nth (from 1) operation from now on whose bit (1 << op) is in `ops` and whose path contains
 * `path_part` (NULL: any) meets this fault; every later one too if `forever`.  One fault at a time:
 * a new one replaces the last, nth 0 takes it away.  Operations that cannot meet its kind do not
 * count. */
int oor_trace_fault(uint64_t nth, uint32_t ops, const char *path_part, int32_t sys_errno, int how,
                    uint64_t amount, int forever);
/* How many operations have met a fault since the last oor_trace_fault. */
uint64_t oor_trace_faults_met(void);

/* A file system in memory behind the same door (io_memory.c).  Nothing may be open when it comes or
 * goes; a recording is installed after it and removed before it. */
typedef struct {
    uint64_t calls;
    uint64_t bytes_read;
    uint64_t bytes_written;
    uint64_t files; /* open now */
    uint64_t maps;  /* made and not unmapped */
} oor_memory_counts;

int oor_memory_install(void);
void oor_memory_remove(void);
/* Removes every name; what is open lives on until it is closed. */
void oor_memory_clear(void);
/* Makes a file of `whole` bytes: `data`, then zeros.  Its directory must be there. */
int oor_memory_put(const char *path, const uint8_t *data, size_t size, size_t whole);
void oor_memory_read_counts(oor_memory_counts *out);

/* ---- log (frame.c, wal.c, wal_segment.c, wal_tail.c) ------------------------------------------
 * Threads: append, put, copy and mark_* take the log's own lock; sync waits without it. */

enum { OOR_SEGMENT_HEADER_SIZE = 4096, OOR_FRAME_HEADER_SIZE = 40, OOR_OP_HEADER_SIZE = 7 };
enum { OOR_KEY_SIZE_MAX = 65535, OOR_VALUE_SIZE_MAX = 268435456, OOR_FRAME_SIZE_MAX = 1073741824 };
#define OOR_TOMBSTONE 0xFFFFFFFF /* as a value size: this mutation deletes */

enum oor_wal_flags {
    OOR_WAL_BUFFERED = 1,      /* never O_DIRECT: pwrite and fdatasync */
    OOR_WAL_BLOCK_PADDING = 2, /* a block that was synced is never written again */
    /* no thread of its own: whoever needs a segment makes it, and nothing is synced by time */
    OOR_WAL_ALONE = 4
};
enum oor_append_flags {
    OOR_APPEND_STAMP = 1,   /* the first 8 bytes of each value become its LSN */
    OOR_APPEND_NO_WAIT = 2, /* OOR_E_STALL, and nothing logged, where it would have to wait */
    OOR_APPEND_APART = 4,   /* `values` are pointers, one a mutation, to where each value lies */
    OOR_APPEND_OPS = 8      /* `keys` are the operations of a frame; the rest is NULL and 0 */
};
/* The highest LSN and the highest number of a segment that are ever given. */
#define OOR_NUMBER_MAX 0x7FFFFFFFFFFFFFFF

typedef struct {
    uint8_t database_id[16];
    uint64_t epoch;         /* this incarnation's; higher than any before it */
    uint64_t first_segment; /* the number of the first segment to make */
    uint64_t next_lsn;      /* the LSN of the next new mutation */
    /* of the first frame: next_lsn, or less when frames are copied forward */
    uint64_t first_lsn;
    uint64_t segment_size; /* bytes, a multiple of OOR_BLOCK */
    uint64_t tail_size;    /* bytes of each half of the shared tail, a multiple of OOR_BLOCK */
    uint32_t flags;
    uint32_t sync_interval_us;     /* 0: nobody syncs by time */
    uint32_t spare_segments;       /* freed segments kept for reuse */
    uint32_t commit_delay_us;      /* how long who leads a sync waits for company */
    uint64_t max_unsynced_bytes;   /* logged and not durable at any time; 0: no bound */
    uint64_t max_unsynced_records; /* the same in mutations */
    uint64_t max_bytes; /* files of segments take no more than this and two segments; 0: no bound */
} oor_wal_options;

typedef struct {
    uint64_t next_lsn;
    uint64_t durable_lsn;    /* every mutation up to here is on stable storage */
    uint64_t segment;        /* the current one's number */
    uint64_t segment_offset; /* its end of log */
    uint64_t live_bytes;     /* size of all segments that hold frames */
    uint64_t segment_count;
    uint64_t appended_bytes; /* frames made since the start, without padding */
    uint64_t written_bytes;  /* sent to segments, rewritten blocks and headers included */
    uint64_t syncs;
    uint64_t frames;
    uint64_t rotations;
    uint64_t recycled;
    uint64_t stall_us;   /* waited by appends for room in the tail, a segment or a bound */
    uint64_t segment_us; /* of that: for a segment */
    /* appends that waited since more would have been unsynced than may be */
    uint64_t bound_stalls;
    uint64_t window_us_max;    /* the longest that a mutation stayed logged and not durable */
    uint64_t window_bytes_max; /* the most that was logged and not durable at one time */
    uint64_t window_lsns_max;  /* the same in mutations */
    uint64_t disk_bytes;       /* files of segments: in use, made ahead, kept for reuse */
    uint64_t disk_bytes_max;   /* the most it ever was */
    int32_t failed;            /* 0, or the oor_code that ended writing */
    int32_t direct;            /* 1: O_DIRECT | O_DSYNC is in force */
} oor_wal_state;

typedef struct {
    uint64_t number;
    uint64_t first_lsn;
    uint64_t last_lsn; /* 0 while the segment is current */
    uint64_t size;
    uint64_t begun; /* 1: its header is durable, so that recovery can start from it */
} oor_wal_segment;

typedef struct oor_wal oor_wal;
typedef struct oor_walscan oor_walscan;

/* Makes the first segment of an epoch, of at least `room` bytes.  Nothing is appended before
 * oor_wal_start but what oor_wal_copy brings forward. */
int oor_wal_open(const char *dir, const oor_wal_options *options, uint64_t room, oor_wal **out);
/* Appends the frames of the chunk that `scan` returned last, with their LSNs. */
int oor_wal_copy(oor_wal *wal, const oor_walscan *scan);
/* Writes and syncs what was copied; durable when it returns. */
int oor_wal_finish_copy(oor_wal *wal);
/* Opens the log for appends: the shared tail, the timed sync, the next segment made ahead. */
int oor_wal_start(oor_wal *wal);
/* One mutation as one frame.  value_size OOR_TOMBSTONE deletes.  Returns its LSN.  `flags`: of
 * oor_append_flags, but no stamp. */
int64_t oor_wal_put(oor_wal *wal, const uint8_t *key, uint32_t key_size, const uint8_t *value,
                    uint32_t value_size, uint32_t flags);
/* Lets puts go the easy way (native_put.h) whose keys, values and `entry_size` each add up to
 * `size`; returns how much of the allowance before it was used. */
uint64_t oor_wal_allow(oor_wal *wal, uint64_t size, uint64_t entry_size);
/* `count` mutations as one frame, atomic.  Keys and values lie one behind the other.  Returns the
 * LSN of the first.  With OOR_APPEND_STAMP the first 8 bytes of each value become its LSN
 * (little-endian); the values must then be writable memory of the caller's and at least 8 bytes
 * each.  Under a `token`, not 0, the frame stands in the queue of commits that wait (below).
 * OOR_E_STALL without OOR_APPEND_NO_WAIT, and nothing logged: max_bytes leaves no room, and only an
 * oor_wal_release can make some; so do oor_wal_put and the commits below. */
int64_t oor_wal_append(oor_wal *wal, uint64_t count, const uint8_t *keys, size_t keys_size,
                       const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                       const uint32_t *value_sizes, uint32_t flags, uint64_t token);
/* ---- commits that wait (wal_commit.c): the order in which what is durable is to become visible
 * */

/* A frame that somebody waits for under a token of his own. */
typedef struct {
    uint64_t first_lsn;
    uint64_t last_lsn;
    uint64_t token;
} oor_wal_waiting;

enum { OOR_WAL_DURABLE_COUNT = 64 };

/* What a caller is to make visible: the first durable frames of the queue, in LSN order. */
typedef struct {
    uint64_t count;
    oor_wal_waiting frame[OOR_WAL_DURABLE_COUNT];
} oor_wal_durables;

/* oor_wal_put and oor_wal_append, durable when they return; one sync serves all who wait.  The
 * frame stands in the queue under `token`, not 0, from its append until it is published.  A caller
 * to whom `durables` gives frames, between which no LSN is missing, makes them visible, his own
 * among them unless there are too many before it or one that is about to be put into the queue, and
 * publishes them; one to whom it gives none is served: somebody else did.  On a failure behind the
 * append, last error's first_lsn is not 0: the frame is logged and may become durable yet. */
int64_t oor_wal_commit(oor_wal *wal, const uint8_t *key, uint32_t key_size, const uint8_t *value,
                       uint32_t value_size, uint64_t token, oor_wal_durables *durables);
int64_t oor_wal_commit_columns(oor_wal *wal, uint64_t count, const uint8_t *keys, size_t keys_size,
                               const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                               const uint32_t *value_sizes, uint32_t flags, uint64_t token,
                               oor_wal_durables *durables);
/* Puts a frame that is logged already into the queue, in LSN order. */
int oor_wal_enqueue(oor_wal *wal, uint64_t first_lsn, uint64_t last_lsn, uint64_t token);
void oor_wal_peek_durable(oor_wal *wal, oor_wal_durables *out);
/* Takes the frames up to `lsn`, all of them visible, off the queue and lets go of those who wait
 * for them.  Returns oor_wal_position. */
uint64_t oor_wal_publish(oor_wal *wal, uint64_t lsn);

/* Returns 0 when every mutation up to `lsn` is durable; timeout_us < 0 waits for ever. */
int oor_wal_sync(oor_wal *wal, uint64_t lsn, int64_t timeout_us);
/* As oor_wal_sync, but only waits for a sync that somebody else (the timed one) makes. */
int oor_wal_wait(oor_wal *wal, uint64_t lsn, int64_t timeout_us);
/* Asks the log's own thread for a sync of all that is logged, and returns at once: 0, or 1 if all
 * of it is durable already. */
int oor_wal_ask(oor_wal *wal);
/* From now on an eventfd of the caller's counts each change of what is durable, and each failure;
 * -1 ends that.  The caller keeps it open until then. */
void oor_wal_notify(oor_wal *wal, int eventfd);
/* How long the log would be had no segment ever been freed: frames, padding, ends of segments. */
uint64_t oor_wal_position(oor_wal *wal);
/* Every mutation up to here is on stable storage. */
uint64_t oor_wal_durable(oor_wal *wal);
void oor_wal_read_state(oor_wal *wal, oor_wal_state *out);
/* Segments in order, the current one last; returns their count, fills at most `capacity`. */
int64_t oor_wal_segments(oor_wal *wal, oor_wal_segment *out, size_t capacity);
/* Frees (recycles or unlinks) segments whose last LSN is at or below `lsn` and whose successor has
 * begun; returns how many. */
int64_t oor_wal_release(oor_wal *wal, uint64_t lsn);
/* Goes on to the next segment, unless the current one is empty or max_bytes leaves no room for
 * another; everything before it is durable when it returns.  Returns the number of the segment that
 * is current then. */
int64_t oor_wal_rotate(oor_wal *wal);
/* Writes a seal frame, which promises all before it, and syncs. */
int oor_wal_seal(oor_wal *wal);
/* Stops the threads and closes files.  Does not seal or sync.  Other threads may still be in calls:
 * those that wait, and all later ones, get OOR_E_CLOSED. */
void oor_wal_close(oor_wal *wal);
/* Closes and frees.  REQUIRES: no other thread is in a call. */
void oor_wal_free(oor_wal *wal);

/* ---- log reader (walscan.c) -------------------------------------------------------------------
 * Threads: one caller at a time an object.  Reads only. */

enum oor_segment_header_state {
    OOR_HEADER_GOOD = 0,
    OOR_HEADER_BLANK = 1,   /* zeros, or a file too short to hold one */
    OOR_HEADER_OTHER = 2,   /* whole, but of another use of the file: a recycled one, not begun */
    OOR_HEADER_DAMAGED = 3, /* neither; frames_found tells whether frames of this segment follow */
    OOR_HEADER_FORMAT = 4   /* a format version this build does not read */
};
enum oor_segment_end {
    OOR_END_FILE = 0,  /* frames up to the end of the file */
    OOR_END_ZEROS = 1, /* nothing but zeros behind the last frame */
    OOR_END_BAD = 2,   /* bytes behind the last frame that are no frame of this segment */
    OOR_END_SEAL = 3   /* the last frame is a seal */
};

typedef struct {
    uint64_t number;
    uint64_t file_size;
    uint64_t epoch;
    uint64_t first_lsn;         /* as the header says */
    uint64_t previous_segment;  /* 0: none */
    uint64_t previous_last_lsn; /* the last LSN of the one before, as the header says */
    uint64_t end;               /* offset behind the last whole frame */
    uint64_t frames;
    uint64_t records;
    uint64_t last_lsn; /* of the contiguous run; 0: no record */
    uint64_t next_lsn; /* what the next record would have */
    /* the highest durable LSN that any whole frame here states, behind the end too */
    uint64_t promised_lsn;
    uint64_t highest_lsn;   /* the highest LSN of any whole frame, behind the end too */
    uint64_t later_frames;  /* whole frames behind the end */
    uint64_t later_offset;  /* where the first of them is */
    uint64_t tail_frames;   /* of `frames`, those that only the shared tail had */
    uint64_t lsn_bound;     /* no LSN at or above this was ever given in this segment */
    int32_t header;         /* oor_segment_header_state */
    int32_t ended;          /* oor_segment_end */
    int32_t frames_found;   /* with a damaged header: frames of this number and epoch follow it */
    int32_t header_in_tail; /* only the shared tail has its header, which then promises nothing */
} oor_segment_info;

typedef struct oor_tail oor_tail;

/* Reads the shared tail that an incarnation left; an absent or foreign file is an empty tail. */
int oor_tail_read(const char *path, const uint8_t *database_id, uint64_t epoch, oor_tail **out);
void oor_tail_free(oor_tail *tail);

/* Reads one segment whole, verifying each frame; `tail` (NULL: none) continues the newest. */
int oor_walscan_inspect(const char *path, const uint8_t *database_id, uint64_t number,
                        uint64_t epoch, const oor_tail *tail, oor_segment_info *out);

/* What a chunk of redo holds. */
typedef struct {
    uint64_t frames;
    uint64_t records;
    uint64_t bytes;     /* of frames */
    uint64_t first_lsn; /* 0: no record in this chunk */
    uint64_t last_lsn;
    uint64_t offset; /* of the first frame */
    /* salvage: where bytes before this chunk's first frame did not verify; 0: none */
    uint64_t lost_offset;
    uint64_t lost_first_lsn; /* salvage: the LSNs that are missing there; 0: none */
    uint64_t lost_last_lsn;
} oor_walscan_chunk;

/* Reads the records of frames whose last LSN is above `after_lsn`.  With `salvage` it does not stop
 * at bytes that do not verify: it goes on at the next frame that does, and says what is missing. */
int oor_walscan_open(const char *path, const uint8_t *database_id, uint64_t number, uint64_t epoch,
                     const oor_tail *tail, uint64_t after_lsn, int salvage, oor_walscan **out);
/* The same in two steps, for who inspects first and need not read twice: the first reads the file
 * and, unless `info` is NULL, inspects it; the second says where to go on from. */
int oor_walscan_read(const char *path, const uint8_t *database_id, uint64_t number, uint64_t epoch,
                     const oor_tail *tail, oor_segment_info *info, oor_walscan **out);
int oor_walscan_start(oor_walscan *scan, uint64_t after_lsn, int salvage);
/* The next frames, about `bytes` of them, as a marshalled dict key -> value or None in `out`, later
 * records over earlier ones.  Returns 1, or 0 at the end. */
int oor_walscan_next(oor_walscan *scan, size_t bytes, oor_buffer *out, oor_walscan_chunk *chunk);
void oor_walscan_close(oor_walscan *scan);

/* The frame at `offset` of a segment, for people who look. */
typedef struct {
    uint64_t offset;
    uint64_t size; /* with its header and padding */
    uint64_t first_lsn;
    uint64_t durable_lsn;
    uint32_t header_crc;
    uint32_t body_crc;
    uint32_t body_size;
    uint32_t op_count;
    uint32_t flags;
    uint32_t reserved;
} oor_frame_info;
/* Returns 1 and fills `out` when a whole frame of this segment is at `offset`, else 0. */
int oor_frame_inspect(const uint8_t *segment, size_t size, uint64_t offset, oor_frame_info *out);

/* ---- tables (block.c, codec.c, filter.c, table_build.c, table_read.c, cache.c) ----------------
 * Threads: a table, a cache and a version are safe for all callers at once; a run is not. */

enum oor_codec { OOR_CODEC_NONE = 0, OOR_CODEC_ZSTD = 1, OOR_CODEC_LZ4 = 2 };
enum { OOR_CODEC_LEVEL_MAX = 19 };
/* 0 when the codec can be used here; OOR_E_CODEC, which names its library and package, or
 * OOR_E_FORMAT. The first call looks for the libraries.  `path` may be NULL. */
int oor_codec_require(uint32_t codec, const char *path);

typedef struct {
    uint32_t block_size;       /* bytes of a data block before it is closed */
    uint32_t restart_interval; /* entries between whole keys */
    uint32_t filter_bits;      /* a key; 0: no filter */
    /* the filter takes in so many first bytes of each key too; 0: none */
    uint32_t prefix_size;
    uint32_t codec;       /* of data blocks that it makes smaller by an eighth */
    uint32_t codec_level; /* how hard zstd tries: 1 to OOR_CODEC_LEVEL_MAX */
} oor_table_options;

typedef struct {
    uint64_t number;
    uint64_t file_size;
    uint64_t uid; /* of the content: checked against the manifest when the table is opened */
    uint64_t entries;
    uint64_t tombstones;
    uint64_t key_bytes;
    uint64_t value_bytes;
    uint64_t blocks;
    uint64_t first_lsn;
    uint64_t last_lsn;
    const uint8_t *smallest; /* both owned by the object that filled this struct */
    const uint8_t *largest;
    uint32_t smallest_size;
    uint32_t largest_size;
} oor_table_props;

typedef struct oor_cache oor_cache;
typedef struct oor_table oor_table;
typedef struct oor_bulk oor_bulk;
typedef struct oor_run oor_run;
typedef struct oor_version oor_version;
typedef struct oor_merge oor_merge;
typedef struct oor_compaction oor_compaction;

typedef struct {
    uint64_t capacity;
    uint64_t used;
    uint64_t pinned; /* index and filter bytes of open tables */
    uint64_t hits;
    uint64_t misses;
    uint64_t evictions;
    uint64_t filter_checks;
    uint64_t filter_skips;   /* tables not looked into because their filter said no */
    uint64_t filter_misses;  /* looked into for nothing: the filter said maybe */
    uint64_t lookups;        /* keys that were looked up in tables */
    uint64_t tables_touched; /* tables that those looked into */
} oor_cache_stats;

oor_cache *oor_cache_new(uint64_t capacity);
void oor_cache_free(oor_cache *cache); /* after every table that uses it */
void oor_cache_read_stats(oor_cache *cache, oor_cache_stats *out);
/* Holds the invariants of cache.h against what is there: 0 or OOR_E_BROKEN.  For tests. */
int oor_cache_check(oor_cache *cache);

/* ---- columns in memory (bulk.c) -------------------------------------------------------------- */

enum { OOR_BULK_ABSENT = -1, OOR_BULK_DELETED = -2 };
typedef struct {
    const uint8_t *data; /* the bulk's, for as long as it lives */
    int64_t size;        /* or one of the two above */
} oor_bulk_value;

oor_bulk *oor_bulk_new(void);
void oor_bulk_free(oor_bulk *bulk);
/* Takes a copy of the pairs, later ones over earlier ones; readers see all of them or none. */
int oor_bulk_add(oor_bulk *bulk, uint64_t count, const uint8_t *keys, size_t keys_size,
                 const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                 const uint32_t *value_sizes);
/* The same of the operations of a frame.  OOR_E_CORRUPT: they do not fit, or are not `count`; some
 * may have been added. */
int oor_bulk_add_ops(oor_bulk *bulk, uint32_t count, const uint8_t *body, size_t body_size);
/* As oor_walscan_next, with the mutations in `bulk` instead of in a dict. */
int oor_walscan_load(oor_walscan *scan, size_t bytes, oor_bulk *bulk, oor_walscan_chunk *chunk);
oor_bulk_value oor_bulk_get(oor_bulk *bulk, const uint8_t *key, size_t key_size);
/* The same for each of `count` keys, of one moment. */
int oor_bulk_get_many(oor_bulk *bulk, uint64_t count, const uint8_t *keys, size_t keys_size,
                      const uint32_t *key_sizes, oor_bulk_value *out);
/* How many keys it has. */
int64_t oor_bulk_count(oor_bulk *bulk);
/* Its keys in the order in which they came, at most `most` from the one at `from` on, as a
 * marshalled list. */
int oor_bulk_keys(oor_bulk *bulk, uint64_t from, uint64_t most, oor_buffer *out);

/* A run collects pairs in any order, each key once, and writes them as one table. */
oor_run *oor_run_new(void);
void oor_run_free(oor_run *run);
int oor_run_add(oor_run *run, uint64_t count, const uint8_t *keys, size_t keys_size,
                const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                const uint32_t *value_sizes);
/* Adds what a bulk holds but for the `count` keys that are given.  Nothing is copied: nobody may
 * add to the bulk any more, and it must outlive the run. */
int oor_run_add_bulk(oor_run *run, const oor_bulk *bulk, uint64_t count, const uint8_t *keys,
                     size_t keys_size, const uint32_t *key_sizes);
/* Sorts and writes; the file is whole and synced when it returns, its name is not. */
int oor_run_write(oor_run *run, const char *path, uint64_t number, const oor_table_options *options,
                  uint64_t first_lsn, uint64_t last_lsn, oor_table_props *out);

/* Opens a table and verifies footer, properties, index and filter; `uid` 0 takes any. */
int oor_table_open(const char *path, uint64_t number, uint64_t file_size, uint64_t uid,
                   oor_cache *cache, oor_table **out);
void oor_table_close(oor_table *table);
void oor_table_read_props(const oor_table *table, oor_table_props *out);
/* The oor_codec of its packed blocks; OOR_CODEC_NONE: it has none. */
uint32_t oor_table_codec(const oor_table *table);
/* Reads every byte: checksums, key order, counts, filter membership. */
int oor_table_verify(oor_table *table);
/* The pairs of block `at` (the properties count the blocks) as a marshalled dict key -> value or
 * None: what a table still holds when another block of it is damaged. */
int oor_table_block_pairs(oor_table *table, uint64_t at, oor_buffer *out);

/* ---- reads (version.c, merge.c, scan.c) ------------------------------------------------------ */

enum oor_lookup { OOR_ABSENT = 0, OOR_FOUND = 1, OOR_DELETED = 2, OOR_UNREAD = 3 };

typedef struct {
    const uint8_t *data; /* in a block that whoever looked it up holds */
    size_t size;
} oor_value;

/* The tables of level 0 come first, newest first, then each deeper level in key order. */
oor_version *oor_version_new(oor_table *const *tables, const uint32_t *level_counts,
                             uint32_t levels);
void oor_version_free(oor_version *version);
enum oor_read {
    OOR_READ_ABSENT = -1,
    OOR_READ_DELETED = -2,
    OOR_READ_FAILED = -16,      /* and the code, which is negative too */
    OOR_READ_LARGE = -(1 << 20) /* less the size of a value that the room does not hold */
};

/* What a lookup into memory of the caller's needs beside the key; one call at a time uses it. */
typedef struct {
    const oor_version *version;
    char *room;
    size_t capacity;
} oor_reader;

/* The newest value of a key, into the reader's room: its size, else an oor_read.
 * A value that is larger than the room is not copied: the caller asks again with a larger one. */
int64_t oor_read(const oor_reader *reader, const char *key, size_t key_size);
/* Puts `reads_of` into the compiled module: reads_of(address of a version, fail) gives two Python
 * functions that hold the version and call fail(code) to raise, lookup(key) -> bytes | None and
 * scan(low, high, flags, limit, group) -> list of oor_version_scan.  0, or -1 where the interpreter
 * refused.  Written against Python's stable ABI: native.h. */
int oor_python_install(void);
/* Memory that looking up many keys takes, kept from call to call; one call at a time uses it. */
typedef struct oor_lookups oor_lookups;
oor_lookups *oor_lookups_new(void);
void oor_lookups_free(oor_lookups *lookups);
/* A marshalled list of value or None, in the order asked, in `out`; returns how many were found.
 * `keys` is a marshalled list of bytes, of version 2.  OOR_E_LIMIT: it is something else. */
int64_t oor_version_get_many(const oor_version *version, oor_lookups *work, const char *keys,
                             size_t keys_size, oor_buffer *out);

enum oor_merge_flags {
    OOR_MERGE_REVERSE = 1,
    OOR_MERGE_KEYS_ONLY = 2,
    OOR_MERGE_HAS_STOP = 4,
    OOR_MERGE_HAS_START = 8,
    OOR_MERGE_NO_WINDOW = 16, /* there are no newer pairs */
    OOR_MERGE_TUPLES = 32     /* pairs come as tuples of two, not flat */
};

/* Walks start <= key < stop, up or down, over all tables of a version and one run of newer pairs.
 * */
oor_merge *oor_merge_new(const oor_version *version, const uint8_t *start, size_t start_size,
                         const uint8_t *stop, size_t stop_size, uint32_t flags);
void oor_merge_free(oor_merge *merge);
/* Whether the walk's cursors stand in order: 0 or OOR_E_BROKEN.  For tests. */
int oor_merge_check(const oor_merge *merge);
/* The next window of the newer pairs, in walking order, copied; they hide what tables hold.  While
 * `last` is 0 the walk stops at the window's end and asks for more. */
int oor_merge_window(oor_merge *merge, uint64_t count, const uint8_t *keys, size_t keys_size,
                     const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                     const uint32_t *value_sizes, int last);
enum oor_merge_step {
    OOR_MERGE_END = 0,
    OOR_MERGE_MORE = 1,
    OOR_MERGE_NEEDS_WINDOW = 2,
    OOR_MERGE_FULL = 3 /* columns without room for the next pair */
};
/* At most `pairs` pairs as a marshalled list of key, value, key, value ..., of keys or of tuples;
 * returns an oor_merge_step. */
int oor_merge_next(oor_merge *merge, uint32_t pairs, oor_buffer *out);
/* The first `pairs` pairs of a walk without newer pairs, in one call; 1 where the list needed more
 * room, so that `out` is larger and may lie elsewhere, else 0.  With `group` it ends before the
 * first pair that does not share the first `group` bytes, at most OOR_GROUP_MAX, of its key with
 * the first pair. */
enum { OOR_GROUP_MAX = 255 };
int oor_version_scan(const oor_version *version, const char *start, size_t start_size,
                     const char *stop, size_t stop_size, uint32_t flags, uint32_t pairs,
                     uint32_t group, oor_buffer *out);
/* What oor_version_scan gives for each of `count` ranges start <= key < stop, as a marshalled list
 * of lists of tuples.  sizes[2 * i] and sizes[2 * i + 1] are those of its bounds.
 * OOR_E_LIMIT: the sizes do not add up. */
int oor_version_scan_many(const oor_version *version, uint64_t count, const uint8_t *bounds,
                          size_t bounds_size, const uint32_t *sizes, int reverse, uint32_t pairs,
                          uint32_t group, oor_buffer *out);

/* Memory of the caller's that pairs are written to, one behind the other (grammar: sink.h). */
typedef struct {
    uint8_t *keys;
    uint8_t *values;
    uint32_t *key_offsets;   /* pairs_capacity + 1 of them */
    uint32_t *value_offsets; /* the same */
    size_t keys_capacity;    /* both at most INT32_MAX, so that offsets are of either sign */
    size_t values_capacity;
    uint32_t pairs_capacity;
    uint32_t count;      /* pairs written so far */
    uint32_t key_needed; /* after OOR_MERGE_FULL, sizes of the pair that found no room */
    uint32_t value_needed;
} oor_columns;

/* As oor_merge_next, into columns behind what they hold, until they are full. */
int oor_merge_next_columns(oor_merge *merge, oor_columns *out);

/* ---- compaction (compaction.c) --------------------------------------------------------------- */

typedef struct {
    uint64_t entries_in;
    uint64_t entries_out;
    uint64_t shadowed;   /* dropped: a newer entry of the key is in the inputs */
    uint64_t tombstones; /* dropped: nothing below can hold the key */
    uint64_t partial_in; /* of entries_in, those of inputs that are read in part */
    uint64_t bytes_out;
} oor_compaction_counts;

/* Keys to merge, start <= key < stop; NULL: no bound.  The first `count` inputs reach beyond them
 * and are read in part, the others lie inside and are read whole. */
typedef struct {
    const uint8_t *start, *stop;
    size_t start_size, stop_size;
    uint32_t count;
} oor_compaction_part;

/* Where outputs end, and a call. */
typedef struct {
    /* An output ends when its blocks take so many bytes, or three times as many before they were
     * packed. */
    uint64_t size_max;
    uint64_t overlap_max;   /* or when tables of more bytes in the next level lie in its range */
    uint64_t slice_entries; /* a call returns after so many keys, at least 1 */
} oor_compaction_limits;

enum oor_compaction_step {
    OOR_COMPACTION_END = 0,   /* no entry is left, and no output came of this call */
    OOR_COMPACTION_TABLE = 1, /* an output is whole and synced, and described in *out */
    OOR_COMPACTION_SLICE = 2  /* call again, for the same output if one is under way */
};

/* Inputs newest first; `below` are the older tables that overlap them, and the first `next_count`
 * of those are of the level under the outputs', in key order.  `part` NULL: all inputs whole; else
 * its keys are copied. */
oor_compaction *oor_compaction_new(oor_table *const *inputs, uint32_t input_count,
                                   oor_table *const *below, uint32_t below_count,
                                   uint32_t next_count, const oor_compaction_part *part);
void oor_compaction_free(oor_compaction *compaction);
/* Goes on with the next output table: an oor_compaction_step or an error. */
int oor_compaction_next(oor_compaction *compaction, const char *path, uint64_t number,
                        const oor_table_options *options, const oor_compaction_limits *limits,
                        oor_table_props *out);
void oor_compaction_read_counts(const oor_compaction *compaction, oor_compaction_counts *out);
/* From any thread: the running call stops with OOR_E_CANCELLED. */
void oor_compaction_cancel(oor_compaction *compaction);

/* ---- columns (columns.c) --------------------------------------------------------------------- */

/* 0 if none of the `other_count` keys is one of the first `count`, 1 if one is or, once in 2^63,
 * seems to be. */
int oor_columns_share_key(uint64_t count, const uint8_t *keys, size_t keys_size,
                          const uint32_t *key_sizes, uint64_t other_count, const uint8_t *others,
                          size_t others_size, const uint32_t *other_sizes);
/* The pairs as a marshalled dict key -> value or None, later ones over earlier ones. */
int oor_columns_to_dict(uint64_t count, const uint8_t *keys, size_t keys_size,
                        const uint32_t *key_sizes, const uint8_t *values, size_t values_size,
                        const uint32_t *value_sizes, oor_buffer *out);

/* ---- element sets (tle.c) -------------------------------------------------------------------- */
/* tle: begin */
/* Threads: pure functions of their arguments; one caller at a time a state and a batch. */

/* Why bytes of an input are refused.  Quarantine files hold the names: they never change. */
enum oor_tle_rule {
    OOR_TLE_FINE = 0,
    OOR_TLE_LONG_LINE = 1,  /* over OOR_TLE_LINE_MAX; cut into OOR_TLE_PIECEs */
    OOR_TLE_TEXT = 2,       /* neither a name nor an element line */
    OOR_TLE_NAME_ALONE = 3, /* a name line, and no element lines behind it */
    OOR_TLE_LINE_1_MISSING = 4,
    OOR_TLE_LINE_2_MISSING = 5,
    OOR_TLE_BYTE = 6,             /* an element line holds a byte that is not printable ASCII */
    OOR_TLE_LENGTH = 7,           /* an element line is not of 69 columns */
    OOR_TLE_CHECKSUM_MISSING = 8, /* 68 columns: the check digit is not there */
    OOR_TLE_COLUMN = 9,           /* a column holds what its field does not allow */
    OOR_TLE_CHECKSUM = 10,
    OOR_TLE_CATALOG_NUMBER = 11,   /* an Alpha-5 number that begins with I or O */
    OOR_TLE_CATALOG_MISMATCH = 12, /* the two lines are of different objects */
    OOR_TLE_EPOCH = 13,            /* the day of the year is not above 0 and below 367 */
    OOR_TLE_ANGLE = 14,            /* inclination above 180 degrees, or another angle above 360 */
    OOR_TLE_RULE_COUNT = 15
};
enum {
    OOR_TLE_LINE_MAX = 1024, /* bytes of a line, with its end */
    OOR_TLE_SET_MAX = 4096,  /* bytes of a set, with its name line and blank lines inside */
    OOR_TLE_PIECE = 65536,
    OOR_TLE_NEED = 69632, /* PIECE + SET_MAX: a scan of so many bytes always consumes some */
    OOR_TLE_KEY_SIZE = 23,
    OOR_TLE_VALUE_HEADER_SIZE = 10
};
enum oor_tle_flags { OOR_TLE_NAMED = 1 };

typedef struct {
    uint64_t digest;  /* of columns 1 to 68 of both lines (tle_line.c) */
    int64_t epoch_us; /* since 1970-01-01 UTC */
    uint32_t catalog_number;
    uint32_t offset;   /* of the set's first byte in the text of the call */
    uint16_t size;     /* of all its lines with their ends */
    uint16_t line1_at; /* where the element lines begin, from the set's first byte */
    uint16_t line2_at;
    uint16_t flags;
} oor_tle_set;

typedef struct {
    uint64_t offset;     /* of the first byte, in the input */
    uint64_t size;       /* bytes refused */
    uint64_t line;       /* number of the first line refused, from 1 */
    uint64_t fault_line; /* number of the line at fault */
    uint32_t column;     /* at fault, from 1; 0: the line as a whole */
    int32_t rule;
} oor_tle_reject;

/* How far an input has been read; begins as zeros.  Every byte up to `offset` is counted once:
 * offset == set_bytes + reject_bytes + blank_bytes. */
typedef struct {
    uint64_t offset;
    uint64_t lines;
    uint64_t sets;
    uint64_t rejects;
    uint64_t set_bytes;
    uint64_t reject_bytes;
    uint64_t blank_bytes;
    int32_t in_long_line;
    int32_t reserved;
} oor_tle_state;

/* What one call found; the arrays are the caller's.  Both are in the order of the input. */
typedef struct {
    oor_tle_set *sets;
    oor_tle_reject *rejects;
    uint64_t set_capacity;    /* at least 1 */
    uint64_t reject_capacity; /* at least 2 */
    uint64_t set_count;
    uint64_t reject_count;
} oor_tle_batch;

/* Scans `text`, which continues the input behind state->offset, until its end or until an array is
 * full.  Returns how many bytes are done with; the rest (a set that may go on, or what found no
 * room) has to come again in front of the next text.  With at_end nothing comes behind `text`, and
 * calls consume all of it in the end.  OOR_E_LIMIT: `size` above 4 GiB or arrays too small. */
int64_t oor_tle_scan(oor_tle_state *state, const uint8_t *text, size_t size, int at_end,
                     oor_tle_batch *batch);
/* The name of a rule, or NULL past the last. */
const char *oor_tle_rule_name(int rule);
/* Keys and values (grammar: tle_columns.c) of those of `count` sets of `text` for which keep[i] is
 * not 0 (NULL: all).  Each of keys, value_sizes and values may be NULL, and is then not written.
 * Returns the size of all values.  OOR_E_LIMIT: a set outside of `text`, or more than
 * values_capacity. */
int64_t oor_tle_columns(const uint8_t *text, size_t size, uint64_t count, const oor_tle_set *sets,
                        const uint8_t *keep, uint16_t source, uint8_t *keys, uint32_t *value_sizes,
                        uint8_t *values, size_t values_capacity);
enum {
    OOR_TLE_NEWEST_KEY_SIZE = 5,
    OOR_TLE_NEWEST_VALUE_MAX = 191, /* of a set's value that is kept with the newest one */
    OOR_TLE_NEWEST_ROOM = 223,      /* for the value of a newest set's record */
    OOR_TLE_LABELS_ROOM = 160       /* for keys, and again for values, of the labels of one set */
};
/* What one ingest knows of an object (tle_roster.c). */
typedef struct {
    uint64_t digest;     /* of the newest set; of sets of one epoch, of the last stored */
    int64_t epoch_us;    /* of the newest set */
    uint64_t designator; /* the columns met last */
    uint64_t name;       /* digest of the name met last; 0: none yet */
    uint32_t catalog_number;
    uint16_t source;
    uint16_t flags;     /* 0: the slot is free */
    uint8_t value_size; /* of the newest set's value; 0: it is not at hand */
    uint8_t value[OOR_TLE_NEWEST_VALUE_MAX];
} oor_tle_object;
enum oor_tle_object_flags {
    OOR_TLE_MET = 1,
    OOR_TLE_STORED = 2,  /* it has sets: digest, epoch and source are those of the newest */
    OOR_TLE_OURS = 4,    /* no set of that epoch was there before this ingest */
    OOR_TLE_MANY = 8,    /* there is more than one of that epoch, or may be */
    OOR_TLE_CHANGED = 16 /* the index of newest sets is to hear of it */
};
/* A power of two of slots, the caller's; at most half of them are ever used. */
typedef struct {
    oor_tle_object *objects;
    uint64_t slots;
    uint64_t used;
} oor_tle_roster;
enum oor_tle_verdict {
    OOR_TLE_THERE = 0, /* it is stored already */
    OOR_TLE_NEW = 1,
    OOR_TLE_ASK = 2 /* only the store can tell */
};
/* Moves to a larger array of zeros.  OOR_E_LIMIT: it is not larger, or no power of two. */
int64_t oor_tle_roster_grow(oor_tle_roster *roster, oor_tle_object *objects, uint64_t slots);
/* Takes in the objects of sets; returns how many were not met before, with their numbers.
 * OOR_E_LIMIT: fewer than two slots for each that might be used. */
int64_t oor_tle_roster_meet(oor_tle_roster *roster, uint64_t count, const oor_tle_set *sets,
                            uint32_t *numbers);
/* Takes in the keys of the newest sets that the store has of objects that were met; returns how
 * many.  OOR_E_LIMIT: of others, or what are no keys. */
int64_t oor_tle_roster_learn(oor_tle_roster *roster, const uint8_t *keys, size_t size);
/* Says of each set whether it is new, in the order of the input; returns how many only the store
 * can tell of, and in `fresh` how many are new.  The roster counts these as stored. */
int64_t oor_tle_roster_sort_out(oor_tle_roster *roster, uint64_t count, const oor_tle_set *sets,
                                uint16_t source, uint8_t *verdicts, uint64_t *fresh);
/* Takes those sets for which keep[i] is not 0 as stored, after the store was asked. */
int64_t oor_tle_roster_take(oor_tle_roster *roster, uint64_t count, const oor_tle_set *sets,
                            uint16_t source, const uint8_t *keep);
/* Keeps the values of those sets of `text` for which keep[i] is not 0, if they are the newest of
 * their objects and short: they were written with LSNs from `first_lsn` on. */
int64_t oor_tle_roster_keep(oor_tle_roster *roster, const uint8_t *text, size_t size,
                            uint64_t count, const oor_tle_set *sets, uint16_t source,
                            const uint8_t *keep, uint64_t first_lsn);
/* Writes the records of up to `capacity` newest sets that changed, from *slot on, and moves it.
 * Each is told once.  Values take OOR_TLE_NEWEST_ROOM at the most, with their sizes beside them.
 * Returns how many; 0 at the end. */
int64_t oor_tle_roster_changed(oor_tle_roster *roster, uint64_t *slot, uint64_t capacity,
                               uint8_t *keys, uint8_t *values, uint32_t *value_sizes);

/* Records one behind the other; the arrays are the caller's. */
typedef struct {
    uint8_t *keys;
    uint32_t *key_sizes;
    uint8_t *values;
    uint32_t *value_sizes;
    uint64_t count;
    size_t keys_size;
    size_t values_size;
} oor_tle_records;
/* Writes the records (tle_labels.c) of names and designators of sets for which keep[i] is not 0,
 * if they are neither in the roster nor in `known`, a power of two of zeros at first, which may
 * forget.  `out` has room for two records and OOR_TLE_LABELS_ROOM bytes a set.  Returns how many
 * names are left to the caller, which are not ASCII: marks[i] is then 1. */
int64_t oor_tle_labels(oor_tle_roster *roster, uint64_t *known, uint64_t known_slots,
                       const uint8_t *text, size_t size, uint64_t count, const oor_tle_set *sets,
                       const uint8_t *keep, oor_tle_records *out, uint8_t *marks);
/* Columns of fields with a place for each of some sets, memory of the caller's (grammar:
 * tle_elements.c).  Bitmaps begin as zeros; *_ends have one place more than sets; `names` is as
 * large as the values, `designators` has OOR_TLE_DESIGNATOR_ROOM bytes a set. */
enum { OOR_TLE_DESIGNATOR_ROOM = 11 };
typedef struct {
    uint32_t *catalog_number;
    int64_t *epoch_us;
    uint64_t *lsn;
    double *mean_motion;
    double *eccentricity;
    double *inclination;
    double *ra_of_asc_node;
    double *arg_of_pericenter;
    double *mean_anomaly;
    double *bstar;
    double *mean_motion_dot;
    double *mean_motion_ddot;
    uint32_t *element_set_no;
    uint32_t *rev_at_epoch;
    uint8_t *ephemeris_type;
    uint8_t *names;
    int32_t *name_ends;
    uint8_t *designators;
    int32_t *designator_ends;
    uint8_t *classification;
    int32_t *classification_ends;
    uint8_t *named; /* bitmaps */
    uint8_t *designated;
    uint8_t *typed;
    uint8_t *numbered;
    uint8_t *turned;
} oor_tle_elements;
/* Reads `count` sets, given as the keys and values of a store; returns how many were read: it stops
 * before one that is no lines, or has a name of other than printable ASCII.  OOR_E_LIMIT: the sizes
 * do not add up. */
int64_t oor_tle_read_elements(uint64_t count, const uint8_t *keys, size_t keys_size,
                              const uint8_t *values, size_t values_size,
                              const uint32_t *value_sizes, oor_tle_elements *out);
/* SipHash-1-3 of `data` with the key of the element set digest. */
uint64_t oor_tle_digest(const uint8_t *data, size_t size);
/* tle: end */

/* cdef: end */

#endif
