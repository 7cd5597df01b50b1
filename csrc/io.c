/* io.c: the one door to the disk: the table that talks to the kernel, and the calls through it.
 *
 * names := (name 0x00)*        what oor_io_list fills: a directory's entries, in the kernel's order
 *
 * A table's function stands for one system call and answers as the kernel does.  The oor_io_* calls
 * above it loop over EINTR and short counts, and turn an errno into an error with a path. */
#include "io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8, "segments and tables are addressed with 64-bit offsets");

/* Who may read a store is the umask's decision. */
enum { FILE_MODE = 0666, DIR_MODE = 0777 };

/* ---- the table that talks to the kernel ----------------------------------------------------- */

static int system_open(const char *path, int flags, int mode) {
    int fd = open(path, flags, mode);
    return fd < 0 ? -errno : fd;
}

static int system_close(int fd) { return close(fd) ? -errno : 0; }

static int64_t system_size(int fd) {
    struct stat found;
    return fstat(fd, &found) ? -errno : (int64_t)found.st_size;
}

static int64_t system_pread(int fd, void *data, size_t size, uint64_t offset) {
    ssize_t done = pread(fd, data, size, (off_t)offset);
    return done < 0 ? -errno : done;
}

static int64_t system_pwrite(int fd, const void *data, size_t size, uint64_t offset) {
    ssize_t done = pwrite(fd, data, size, (off_t)offset);
    return done < 0 ? -errno : done;
}

static int system_sync(int fd) { return fdatasync(fd) ? -errno : 0; }

static int system_truncate(int fd, uint64_t size) {
    return ftruncate(fd, (off_t)size) ? -errno : 0;
}

static int system_allocate(int fd, uint64_t offset, uint64_t size) {
    return fallocate(fd, 0, (off_t)offset, (off_t)size) ? -errno : 0;
}

static int system_rename(const char *from, const char *to) { return rename(from, to) ? -errno : 0; }

static int system_link(const char *from, const char *to) { return link(from, to) ? -errno : 0; }

static int system_unlink(const char *path) { return unlink(path) ? -errno : 0; }

static int system_make_dir(const char *path) { return mkdir(path, DIR_MODE) ? -errno : 0; }

static int system_sync_dir(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int result = fsync(fd) ? -errno : 0;
    close(fd); /* it was only read from: its close has nothing to report */
    return result;
}

static int system_lock(int fd) { return flock(fd, LOCK_EX | LOCK_NB) ? -errno : 0; }

static int64_t system_list(const char *path, oor_buffer *names) {
    DIR *dir = opendir(path);
    if (!dir) return -errno;
    int64_t count = 0;
    for (;;) {
        errno = 0; /* readdir tells its end from an error only so */
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno) count = -errno;
            break;
        }
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        size_t size = strlen(entry->d_name) + 1;
        if (oor_buffer_reserve(names, size)) {
            count = -ENOMEM;
            break;
        }
        memcpy(names->data + names->size, entry->d_name, size);
        names->size += size;
        count++;
    }
    closedir(dir);
    return count;
}

static int system_exists(const char *path) {
    struct stat found;
    if (!lstat(path, &found)) return 1;
    return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

static int system_map(int fd, size_t size, uint8_t **out) {
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return -errno;
    *out = map;
    return 0;
}

static void system_unmap(uint8_t *map, size_t size) {
    int result = munmap(map, size);
    assert(result == 0); /* only a map that was never made can be refused */
    (void)result;
}

static int system_stat_fd(int fd, struct stat *out) { return fstat(fd, out) ? -errno : 0; }

static int system_stat_name(const char *path, struct stat *out) {
    return lstat(path, out) ? -errno : 0;
}

const oor_io_table oor_io_system = {
    .open = system_open,
    .close = system_close,
    .size = system_size,
    .pread = system_pread,
    .pwrite = system_pwrite,
    .sync = system_sync,
    .truncate = system_truncate,
    .allocate = system_allocate,
    .rename = system_rename,
    .link = system_link,
    .unlink = system_unlink,
    .make_dir = system_make_dir,
    .sync_dir = system_sync_dir,
    .lock = system_lock,
    .list = system_list,
    .exists = system_exists,
    .map = system_map,
    .unmap = system_unmap,
    .stored = NULL,
    .promised = NULL,
    .stat_fd = system_stat_fd,
    .stat_name = system_stat_name,
};

static _Atomic(const oor_io_table *) current = &oor_io_system;

const oor_io_table *oor_io_current(void) {
    return atomic_load_explicit(&current, memory_order_acquire);
}

void oor_io_install(const oor_io_table *table) {
    assert(table);
    atomic_store_explicit(&current, table, memory_order_release);
}

/* ---- open files ----------------------------------------------------------------------------- */

/* Repeats a call that a signal cut short before it did anything; `call` is evaluated each time. */
#define UNINTERRUPTED(result, call)                                                                \
    do result = (call);                                                                            \
    while (result == -EINTR)

int oor_io_open(const char *path, uint32_t flags) {
    static const struct {
        uint32_t flag;
        int system;
    } names[] = {{OOR_OPEN_CREATE, O_CREAT},
                 {OOR_OPEN_EXCLUSIVE, O_EXCL},
                 {OOR_OPEN_TRUNCATE, O_TRUNC},
                 {OOR_OPEN_DIRECT, O_DIRECT},
                 {OOR_OPEN_DSYNC, O_DSYNC}};
    uint32_t access = flags & (OOR_OPEN_READ | OOR_OPEN_WRITE);
    if (!access)
        return oor_fail(OOR_E_LIMIT, path, "cannot open a file neither to read nor to write");
    int system = access == OOR_OPEN_READ ? O_RDONLY : access == OOR_OPEN_WRITE ? O_WRONLY : O_RDWR;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (flags & names[i].flag) system |= names[i].system;
    int fd;
    UNINTERRUPTED(fd, oor_io_current()->open(path, system | O_CLOEXEC, FILE_MODE));
    if (fd >= 0) return fd;
    return oor_fail_errno(-fd, path, "cannot %s the file",
                          flags & OOR_OPEN_CREATE ? "open or create" : "open");
}

int oor_io_close(int fd, const char *path) {
    int result = oor_io_current()->close(fd);
    /* The kernel gives the number back before it is interrupted: a second close could hit another
     * file. */
    if (result == 0 || result == -EINTR) return 0;
    return oor_fail_errno(-result, path, "cannot close the file");
}

int64_t oor_io_size(int fd, const char *path) {
    int64_t size = oor_io_current()->size(fd);
    return size >= 0 ? size
                     : oor_fail_errno((int)-size, path, "cannot ask for the size of the file");
}

int64_t oor_io_read(int fd, const char *path, uint8_t *data, size_t size, uint64_t offset) {
    const oor_io_table *table = oor_io_current();
    size_t done = 0;
    while (done < size) {
        int64_t got;
        UNINTERRUPTED(got, table->pread(fd, data + done, size - done, offset + done));
        if (got == 0) break;
        /* Past a direct read that met the end of the file, the place is no longer aligned. */
        if (got == -EINVAL && done && table->size(fd) == (int64_t)(offset + done)) break;
        if (got < 0)
            return oor_fail_errno((int)-got, path, "cannot read %zu bytes at offset %" PRIu64, size,
                                  offset);
        assert((size_t)got <= size - done);
        done += (size_t)got;
    }
    return (int64_t)done;
}

int oor_io_write(int fd, const char *path, const uint8_t *data, size_t size, uint64_t offset) {
    const oor_io_table *table = oor_io_current();
    size_t done = 0;
    while (done < size) {
        int64_t put;
        UNINTERRUPTED(put, table->pwrite(fd, data + done, size - done, offset + done));
        if (put == 0)
            put = -EIO; /* no byte taken and no reason given: asking again could go on for ever */
        if (put < 0)
            return oor_fail_errno((int)-put, path, "cannot write %zu bytes at offset %" PRIu64,
                                  size, offset);
        assert((size_t)put <= size - done);
        done += (size_t)put;
    }
    return 0;
}

int oor_io_sync(int fd, const char *path) {
    int result;
    UNINTERRUPTED(result, oor_io_current()->sync(fd));
    return result ? oor_fail_errno(-result, path, "cannot sync the file") : 0;
}

int oor_io_truncate(int fd, const char *path, uint64_t size) {
    int result;
    UNINTERRUPTED(result, oor_io_current()->truncate(fd, size));
    return result
               ? oor_fail_errno(-result, path, "cannot set the length to %" PRIu64 " bytes", size)
               : 0;
}

int oor_io_allocate(int fd, const char *path, uint64_t offset, uint64_t size) {
    int result;
    UNINTERRUPTED(result, oor_io_current()->allocate(fd, offset, size));
    if (result == 0 || result == -EOPNOTSUPP || result == -ENOSYS) return 0;
    return oor_fail_errno(-result, path, "cannot reserve %" PRIu64 " bytes at offset %" PRIu64,
                          size, offset);
}

int oor_io_lock(int fd, const char *path) {
    int result;
    UNINTERRUPTED(result, oor_io_current()->lock(fd));
    if (result == 0) return 1;
    return result == -EWOULDBLOCK ? 0 : oor_fail_errno(-result, path, "cannot lock the file");
}

int oor_io_map(int fd, const char *path, size_t size, uint8_t **out) {
    int result = oor_io_current()->map(fd, size, out);
    return result ? oor_fail_errno(-result, path, "cannot map %zu bytes of the file", size) : 0;
}

void oor_io_unmap(uint8_t *map, size_t size) { oor_io_current()->unmap(map, size); }

void oor_io_store(uint8_t *map, uint64_t offset, const uint8_t *data, size_t size) {
    memcpy(map + offset, data, size);
    oor_io_stored(map, offset, size);
}

/* ---- names ---------------------------------------------------------------------------------- */
/* A name call is never repeated: had it been done, a second try would report the wrong thing. */

int oor_io_rename(const char *from, const char *to) {
    int result = oor_io_current()->rename(from, to);
    return result ? oor_fail_errno(-result, from, "cannot rename the file to %s", to) : 0;
}

int oor_io_link(const char *from, const char *to) {
    int result = oor_io_current()->link(from, to);
    return result ? oor_fail_errno(-result, from, "cannot give the file the name %s", to) : 0;
}

int oor_io_unlink(const char *path) {
    int result = oor_io_current()->unlink(path);
    return result ? oor_fail_errno(-result, path, "cannot remove the name") : 0;
}

int oor_io_make_dir(const char *path) {
    int result = oor_io_current()->make_dir(path);
    return result ? oor_fail_errno(-result, path, "cannot make the directory") : 0;
}

int oor_io_sync_dir(const char *path) {
    if (!*path) path = "."; /* the directory part of a bare name */
    int result;
    UNINTERRUPTED(result, oor_io_current()->sync_dir(path));
    return result ? oor_fail_errno(-result, path, "cannot sync the directory") : 0;
}

int64_t oor_io_list(const char *path, oor_buffer *out) {
    out->size = 0;
    int64_t count = oor_io_current()->list(path, out);
    return count >= 0 ? count : oor_fail_errno((int)-count, path, "cannot list the directory");
}

int oor_io_exists(const char *path) {
    int there = oor_io_current()->exists(path);
    return there >= 0 ? there
                      : oor_fail_errno(-there, path, "cannot look whether there is such a name");
}
