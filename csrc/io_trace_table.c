/* io_trace_table.c: the operations of the recording table.  Nothing of its own is written to disk.
 *
 * Each hands over to the table that was in force before the recording, as far as the fault it meets
 * allows. */
#include "io_trace.h"

#include <stdlib.h>

/* Constant while a recording is installed. */
static const oor_io_table *base = &oor_io_system;

void oor_trace_set_base(const oor_io_table *table) { base = table; }

const oor_io_table *oor_trace_base(void) { return base; }

/* ---- open files ----------------------------------------------------------------------------- */

static int trace_open(const char *path, int flags, int mode) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_OPEN, -1, path)) return base->open(path, flags, mode);
    e.flags = (uint32_t)flags;
    int fd = -1;
    if (oor_trace_to_be_done(&e)) {
        struct stat found;
        int created = base->stat_name(path, &found) < 0;
        fd = base->open(path, flags, mode);
        e.effect = fd >= 0;
        /* A new file on the inode of one that is gone is another object. */
        if (fd >= 0 && created && base->stat_fd(fd, &found) >= 0) oor_trace_forget_object(&found);
        if (fd >= 0) e.object = oor_trace_remember_file(fd, path)->object;
    }
    if (fd >= 0 && e.how == OOR_FAULT_AFTER) {
        oor_trace_forget_file(fd);
        base->close(fd); /* the caller never hears of it */
        fd = -1;
    }
    e.fd = fd >= 0 ? fd : -1;
    return (int)oor_trace_finish(&e, fd);
}

static int trace_close(int fd) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_CLOSE, fd, NULL)) return base->close(fd);
    char *path = oor_trace_copy_text(e.path);
    e.path = path;
    int result = 0;
    if (oor_trace_to_be_done(&e)) {
        result = base->close(fd);
        e.effect = result == 0;
        oor_trace_forget_file(fd);
    }
    result = (int)oor_trace_finish(&e, result);
    free(path);
    return result;
}

static int64_t trace_size(int fd) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_SIZE, fd, NULL)) return base->size(fd);
    int64_t result = oor_trace_to_be_done(&e) ? base->size(fd) : 0;
    e.effect = oor_trace_to_be_done(&e) && result >= 0;
    return oor_trace_finish(&e, result);
}

static int64_t trace_pread(int fd, void *data, size_t size, uint64_t offset) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_READ, fd, NULL)) return base->pread(fd, data, size, offset);
    e.offset = offset;
    e.length = size;
    int64_t done =
        oor_trace_to_be_done(&e) ? base->pread(fd, data, oor_trace_allowed(&e, size), offset) : 0;
    e.effect = done > 0 ? (uint64_t)done : 0;
    return oor_trace_finish(&e, done);
}

static int64_t trace_pwrite(int fd, const void *data, size_t size, uint64_t offset) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_WRITE, fd, NULL)) return base->pwrite(fd, data, size, offset);
    e.offset = offset;
    e.length = size;
    int64_t done =
        oor_trace_to_be_done(&e) ? base->pwrite(fd, data, oor_trace_allowed(&e, size), offset) : 0;
    e.effect = done > 0 ? (uint64_t)done : 0;
    if (oor_trace_wants_payload(&e, data)) e.payload = data, e.payload_size = (size_t)e.effect;
    return oor_trace_finish(&e, done);
}

/* A sync runs without the mutex: what is written while it runs is recorded between its begin and
 * its end, and a reader of the events must not take it for synced. */
static int trace_sync(int fd) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_SYNC, fd, NULL)) return base->sync(fd);
    char *path = oor_trace_copy_text(e.path);
    e.path = path;
    int result = 0;
    if (oor_trace_to_be_done(&e)) {
        oor_trace_pause();
        result = base->sync(fd);
        oor_trace_resume();
        e.effect = result == 0;
    }
    result = (int)oor_trace_finish(&e, result);
    free(path);
    return result;
}

static int trace_truncate(int fd, uint64_t size) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_TRUNCATE, fd, NULL)) return base->truncate(fd, size);
    e.length = size;
    int result = oor_trace_to_be_done(&e) ? base->truncate(fd, size) : 0;
    e.effect = oor_trace_to_be_done(&e) && result == 0;
    return (int)oor_trace_finish(&e, result);
}

static int trace_allocate(int fd, uint64_t offset, uint64_t size) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_ALLOCATE, fd, NULL)) return base->allocate(fd, offset, size);
    e.offset = offset;
    e.length = size;
    size_t part = oor_trace_to_be_done(&e) ? oor_trace_allowed(&e, (size_t)size) : 0;
    int result = part ? base->allocate(fd, offset, part) : 0;
    e.effect = result == 0 ? part : 0;
    return (int)oor_trace_finish(&e, result);
}

static int trace_lock(int fd) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_LOCK, fd, NULL)) return base->lock(fd);
    int result = oor_trace_to_be_done(&e) ? base->lock(fd) : 0;
    e.effect = oor_trace_to_be_done(&e) && result == 0;
    return (int)oor_trace_finish(&e, result);
}

/* ---- names ---------------------------------------------------------------------------------- */

static int trace_rename(const char *from, const char *to) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_RENAME, -1, from)) return base->rename(from, to);
    e.other = to;
    e.object = oor_trace_object_of_name(from);
    int result = oor_trace_to_be_done(&e) ? base->rename(from, to) : 0;
    e.effect = oor_trace_to_be_done(&e) && result == 0;
    return (int)oor_trace_finish(&e, result);
}

static int trace_link(const char *from, const char *to) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_LINK, -1, from)) return base->link(from, to);
    e.other = to;
    e.object = oor_trace_object_of_name(from);
    int result = oor_trace_to_be_done(&e) ? base->link(from, to) : 0;
    e.effect = oor_trace_to_be_done(&e) && result == 0;
    return (int)oor_trace_finish(&e, result);
}

static int trace_unlink(const char *path) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_UNLINK, -1, path)) return base->unlink(path);
    e.object = oor_trace_object_of_name(path);
    int result = oor_trace_to_be_done(&e) ? base->unlink(path) : 0;
    e.effect = oor_trace_to_be_done(&e) && result == 0;
    return (int)oor_trace_finish(&e, result);
}

static int trace_make_dir(const char *path) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_MAKE_DIR, -1, path)) return base->make_dir(path);
    int result = oor_trace_to_be_done(&e) ? base->make_dir(path) : 0;
    e.effect = oor_trace_to_be_done(&e) && result == 0;
    struct stat made;
    if (e.effect && base->stat_name(path, &made) >= 0) oor_trace_forget_object(&made);
    e.object = oor_trace_object_of_name(path);
    return (int)oor_trace_finish(&e, result);
}

static int trace_sync_dir(const char *path) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_SYNC_DIR, -1, path)) return base->sync_dir(path);
    e.object = oor_trace_object_of_name(path);
    int result = 0;
    if (oor_trace_to_be_done(&e)) {
        oor_trace_pause();
        result = base->sync_dir(path);
        oor_trace_resume();
        e.effect = result == 0;
    }
    return (int)oor_trace_finish(&e, result);
}

static int64_t trace_list(const char *path, oor_buffer *names) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_LIST, -1, path)) return base->list(path, names);
    int64_t result = oor_trace_to_be_done(&e) ? base->list(path, names) : 0;
    e.effect = oor_trace_to_be_done(&e) && result >= 0;
    return oor_trace_finish(&e, result);
}

static int trace_exists(const char *path) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_EXISTS, -1, path)) return base->exists(path);
    int result = oor_trace_to_be_done(&e) ? base->exists(path) : 0;
    e.effect = oor_trace_to_be_done(&e) && result >= 0;
    return (int)oor_trace_finish(&e, result);
}

/* ---- shared maps ---------------------------------------------------------------------------- */

static int trace_map(int fd, size_t size, uint8_t **out) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_MAP, fd, NULL)) return base->map(fd, size, out);
    e.length = size;
    int result = oor_trace_to_be_done(&e) ? base->map(fd, size, out) : 0;
    e.effect = oor_trace_to_be_done(&e) && result == 0;
    if (e.effect && e.how == OOR_FAULT_AFTER) {
        base->unmap(*out, size);
    } else if (e.effect) {
        oor_trace_remember_map(*out, size, e.path, e.object);
    }
    return (int)oor_trace_finish(&e, result);
}

/* No event: it changes no byte. */
static void trace_unmap(uint8_t *map, size_t size) {
    oor_trace_resume();
    oor_trace_forget_map(map);
    base->unmap(map, size);
    oor_trace_pause();
}

static void trace_stored(const uint8_t *map, uint64_t offset, size_t size) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_STORE, -1, "")) return;
    const oor_traced_map *known = oor_trace_find_map(map);
    if (known) {
        assert(offset <= known->size && size <= known->size - offset);
        e.path = known->path;
        e.object = known->object;
    }
    e.offset = offset;
    e.length = e.effect = size;
    if (oor_trace_wants_payload(&e, map + offset)) e.payload = map + offset, e.payload_size = size;
    oor_trace_finish(&e, 0);
}

static void trace_promised(const char *dir, uint64_t lsn) {
    oor_event e;
    if (!oor_trace_begin(&e, OOR_OP_PROMISE, -1, dir)) return;
    e.length = lsn;
    e.effect = 1;
    oor_trace_finish(&e, 0);
}

/* No events: who a file is says nothing about what is in it. */
static int trace_stat_fd(int fd, struct stat *out) { return base->stat_fd(fd, out); }

static int trace_stat_name(const char *path, struct stat *out) {
    return base->stat_name(path, out);
}

const oor_io_table oor_trace_table = {
    .open = trace_open,
    .close = trace_close,
    .size = trace_size,
    .pread = trace_pread,
    .pwrite = trace_pwrite,
    .sync = trace_sync,
    .truncate = trace_truncate,
    .allocate = trace_allocate,
    .rename = trace_rename,
    .link = trace_link,
    .unlink = trace_unlink,
    .make_dir = trace_make_dir,
    .sync_dir = trace_sync_dir,
    .lock = trace_lock,
    .list = trace_list,
    .exists = trace_exists,
    .map = trace_map,
    .unmap = trace_unmap,
    .stored = trace_stored,
    .promised = trace_promised,
    .stat_fd = trace_stat_fd,
    .stat_name = trace_stat_name,
};
