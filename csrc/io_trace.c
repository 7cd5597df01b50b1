/* io_trace.c: the table that records every operation and can make one of them fail.
 *
 * stream  := event*                                     what oor_trace_take fills, oldest end first
 * event   := op:u32 fd:i32 flags:u32 path_size:u32 other_size:u32 zero:u32 payload_size:u64
 *            begin:u64 end:u64 thread:u64 object:u64 offset:u64 length:u64 effect:u64 result:i64
 *            path other payload                         all integers little-endian
 * begin   := when it began, and
 * end     := when it ended, on one counter for all events.  They differ for SYNC and SYNC_DIR,
 *            which run beside other operations; all others happen one at a time, at `end`
 * object  := the file or directory itself, numbered from 1 in order of appearance, whatever names
 *            it has: that of the fd, of the map, or what `path` named; 0: unknown, or none
 * flags   := of open(2)                                 OPEN only
 * offset  := READ, WRITE, ALLOCATE, STORE
 * length  := asked for: bytes; the new size (TRUNCATE); bytes of the map (MAP); an LSN (PROMISE)
 * effect  := what happened, whatever was reported: bytes (READ, WRITE, ALLOCATE, STORE), else 1, 0
 * result  := what the caller was told: >= 0, or minus an errno
 * path    := as the caller gave it; of an fd or map: the one it was opened with
 * other   := the second name of RENAME and LINK
 * payload := the bytes that WRITE and STORE put there, with OOR_TRACE_PAYLOADS; with
 *            OOR_TRACE_ORDER those of WRITE to log and manifest that are not all zero; the text of
 *            MARK
 *
 * PROMISE says that the log in the directory `path` is durable up to LSN `length`.
 *
 * The operations themselves are in io_trace_table.c. */
#include "io_trace.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EVENT_SIZE = 6 * 4 + 9 * 8 };
enum { ORDER_BYTES_MAX = 48 << 20 };
enum {
    /* a memcpy and a note do not fail */
    OPS_NEVER = 1 << OOR_OP_STORE | 1 << OOR_OP_MARK | 1 << OOR_OP_PROMISE,
    OPS_COUNTED = 1 << OOR_OP_READ | 1 << OOR_OP_WRITE, /* that may answer with a short count */
    OPS_BYTES = OPS_COUNTED | 1 << OOR_OP_ALLOCATE,
    OPS_ORDER = 1 << OOR_OP_OPEN | 1 << OOR_OP_CLOSE | 1 << OOR_OP_WRITE | 1 << OOR_OP_SYNC |
                1 << OOR_OP_RENAME | 1 << OOR_OP_LINK | 1 << OOR_OP_UNLINK | 1 << OOR_OP_SYNC_DIR |
                1 << OOR_OP_MARK | 1 << OOR_OP_PROMISE
};
/* Which operations can meet each kind of fault, and which kinds report an errno of the caller's. */
static const struct {
    uint32_t ops;
    int reports;
} kinds[] = {
    [OOR_FAULT_BEFORE] = {~0U, 1},
    [OOR_FAULT_AFTER] = {~0U, 1},
    [OOR_FAULT_PARTIAL] = {OPS_COUNTED, 0},
    [OOR_FAULT_TORN] = {OPS_BYTES, 1},
    [OOR_FAULT_SWALLOWED] = {1 << OOR_OP_SYNC, 0},
    [OOR_FAULT_LATE] = {1 << OOR_OP_SYNC, 1},
    [OOR_FAULT_INTERRUPTED] = {OPS_COUNTED, 0},
};

/* Everything below is guarded by `mutex`. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int active;
static int cut_off; /* more was to be recorded than a recording of the order keeps */
static uint32_t trace_flags;
static uint64_t clock_now;
static oor_buffer events;
static int64_t event_count;
static struct {
    uint64_t nth; /* 0: none */
    uint64_t seen;
    uint64_t met;
    uint64_t amount;
    uint32_t ops;
    int sys_errno;
    int how;
    int forever;
    char path_part[256];
    uint32_t second_op; /* what follows of LATE and INTERRUPTED: this, of this object; 0: nothing */
    uint64_t second_object;
} fault;

/* ---- begin and end of an operation ---------------------------------------------------------- */

static void meet(oor_event *e) {
    e->how = OOR_FAULT_NONE;
    e->fault_errno = fault.sys_errno; /* the fault may be another one when this ends */
    if (fault.second_op == e->op && fault.second_object == e->object) {
        fault.second_op = 0;
        e->how = OOR_FAULT_BEFORE;
        if (fault.how == OOR_FAULT_INTERRUPTED) e->fault_errno = EINTR;
        return;
    }
    if (!fault.nth || !(fault.ops & 1U << e->op)) return;
    if (!strstr(e->path, fault.path_part)) return;
    fault.seen++;
    if (fault.seen < fault.nth || (fault.seen > fault.nth && !fault.forever)) return;
    fault.met++;
    e->how = fault.how;
    if (e->how == OOR_FAULT_LATE || e->how == OOR_FAULT_INTERRUPTED) {
        fault.second_op = e->op;
        fault.second_object = e->object;
    }
}

int oor_trace_begin(oor_event *e, uint32_t op, int fd, const char *path) {
    pthread_mutex_lock(&mutex);
    if (!active || (trace_flags & OOR_TRACE_ORDER && !(OPS_ORDER & 1U << op))) {
        pthread_mutex_unlock(&mutex);
        return 0;
    }
    *e = (oor_event){.op = op, .fd = fd, .path = path, .begin = ++clock_now};
    if (!path) {
        assert(fd >= 0);
        const oor_traced_file *file = oor_trace_find_file(fd);
        e->path = file->path;
        e->object = file->object;
    }
    meet(e);
    return 1;
}

void oor_trace_pause(void) { pthread_mutex_unlock(&mutex); }

void oor_trace_resume(void) { pthread_mutex_lock(&mutex); }

int oor_trace_wants_payload(const oor_event *e, const uint8_t *data) {
    if (trace_flags & OOR_TRACE_PAYLOADS) return 1;
    if (!(trace_flags & OOR_TRACE_ORDER) || !e->effect) return 0;
    if (!strstr(e->path, ".wal") && !strstr(e->path, "MANIFEST") && !strstr(e->path, "CURRENT"))
        return 0;
    return data[0] ||
           memcmp(data, data + 1, (size_t)e->effect - 1); /* not the zeros of a new file */
}

static uint64_t thread_number(void) {
    static _Thread_local uint64_t number;
    if (!number) number = (uint64_t)syscall(SYS_gettid);
    return number;
}

static void write_event(const oor_event *e, uint64_t end, int64_t told) {
    if (trace_flags & OOR_TRACE_ORDER && events.size > ORDER_BYTES_MAX) {
        cut_off = 1;
        return;
    }
    size_t path_size = strlen(e->path), other_size = e->other ? strlen(e->other) : 0;
    int failed = oor_buffer_reserve(&events, EVENT_SIZE + path_size + other_size + e->payload_size);
    assert(!failed);
    (void)failed;
    uint8_t *p = events.data + events.size;
    const uint32_t narrow[6] = {
        e->op, (uint32_t)e->fd, e->flags, (uint32_t)path_size, (uint32_t)other_size, 0};
    const uint64_t wide[9] = {e->payload_size, e->begin,  end,       thread_number(), e->object,
                              e->offset,       e->length, e->effect, (uint64_t)told};
    for (int i = 0; i < 6; i++, p += 4) oor_store32(p, narrow[i]);
    for (int i = 0; i < 9; i++, p += 8) oor_store64(p, wide[i]);
    memcpy(p, e->path, path_size);
    if (other_size) memcpy(p + path_size, e->other, other_size);
    if (e->payload_size) memcpy(p + path_size + other_size, e->payload, e->payload_size);
    events.size += EVENT_SIZE + path_size + other_size + e->payload_size;
    event_count++;
}

int oor_trace_to_be_done(const oor_event *e) {
    return e->how != OOR_FAULT_BEFORE && e->how != OOR_FAULT_SWALLOWED && e->how != OOR_FAULT_LATE;
}

int64_t oor_trace_finish(oor_event *e, int64_t result) {
    int lies = e->how == OOR_FAULT_BEFORE || e->how == OOR_FAULT_AFTER || e->how == OOR_FAULT_TORN;
    int64_t told = lies ? -e->fault_errno : result;
    uint64_t end = e->op == OOR_OP_SYNC || e->op == OOR_OP_SYNC_DIR ? ++clock_now : e->begin;
    if (active) write_event(e, end, told);
    pthread_mutex_unlock(&mutex);
    return told;
}

size_t oor_trace_allowed(const oor_event *e, size_t size) {
    int cut =
        e->how == OOR_FAULT_PARTIAL || e->how == OOR_FAULT_TORN || e->how == OOR_FAULT_INTERRUPTED;
    return cut && fault.amount < size ? (size_t)fault.amount : size;
}

/* ---- the recording -------------------------------------------------------------------------- */

static void clear(void) {
    oor_trace_forget_all();
    oor_buffer_clear(&events);
    memset(&fault, 0, sizeof fault);
    event_count = 0;
    clock_now = 0;
    cut_off = 0;
}

/* A child of fork() has this thread alone: nobody else may have the mutex then. */
static void take_mutex(void) { pthread_mutex_lock(&mutex); }
static void free_mutex(void) { pthread_mutex_unlock(&mutex); }
static void watch_forks(void) { pthread_atfork(take_mutex, free_mutex, free_mutex); }

int oor_trace_install(uint32_t flags) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&mutex);
    int taken = active;
    if (!taken) {
        clear();
        active = 1;
        trace_flags = flags;
        oor_trace_set_base(oor_io_current());
        oor_io_install(&oor_trace_table);
    }
    pthread_mutex_unlock(&mutex);
    return taken ? oor_fail(OOR_E_LIMIT, NULL, "a recording of the disk is installed already") : 0;
}

void oor_trace_remove(void) {
    pthread_mutex_lock(&mutex);
    if (active) oor_io_install(oor_trace_base());
    active = 0;
    clear();
    pthread_mutex_unlock(&mutex);
}

int oor_trace_mark(const char *text) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_MARK, -1, ""))
        return oor_fail(OOR_E_LIMIT, NULL, "nothing is being recorded");
    e.payload = text;
    e.payload_size = strlen(text);
    e.effect = 1;
    return (int)oor_trace_finish(&e, 0);
}

int oor_trace_is_cut_off(void) {
    pthread_mutex_lock(&mutex);
    int is = cut_off;
    pthread_mutex_unlock(&mutex);
    return is;
}

int64_t oor_trace_take(oor_buffer *out) {
    out->size = 0;
    pthread_mutex_lock(&mutex);
    oor_buffer emptied = *out;
    *out = events;
    events = emptied;
    int64_t count = event_count;
    event_count = 0;
    pthread_mutex_unlock(&mutex);
    return count;
}

int oor_trace_fault(uint64_t nth, uint32_t ops, const char *path_part, int32_t sys_errno, int how,
                    uint64_t amount, int forever) {
    if (how < OOR_FAULT_BEFORE || how > OOR_FAULT_INTERRUPTED)
        return oor_fail(OOR_E_LIMIT, NULL, "there is no kind %d of fault", how);
    ops &= kinds[how].ops & ~(uint32_t)OPS_NEVER;
    if (nth && !ops) return oor_fail(OOR_E_LIMIT, NULL, "no operation can meet such a fault");
    if (nth && kinds[how].reports && sys_errno <= 0)
        return oor_fail(OOR_E_LIMIT, NULL, "a fault that reports an error needs its errno");
    if (path_part && strlen(path_part) >= sizeof fault.path_part)
        return oor_fail(OOR_E_LIMIT, NULL, "the part of a path is too long");
    pthread_mutex_lock(&mutex);
    memset(&fault, 0, sizeof fault);
    fault.nth = nth;
    fault.ops = ops;
    fault.sys_errno = sys_errno;
    fault.how = how;
    fault.amount = amount;
    fault.forever = forever;
    snprintf(fault.path_part, sizeof fault.path_part, "%s", path_part ? path_part : "");
    pthread_mutex_unlock(&mutex);
    return 0;
}

uint64_t oor_trace_faults_met(void) {
    pthread_mutex_lock(&mutex);
    uint64_t met = fault.met;
    pthread_mutex_unlock(&mutex);
    return met;
}
