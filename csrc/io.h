/* io.h: the table of functions behind which every system call that touches storage lives.
 *
 * Ownership: a table is static or outlives its installation; fds and maps belong to who asked for
 * them. Threads:   a table's functions are called from any thread at once.  Tables are exchanged
 * only while
 *            no other thread is in a call.
 * Invariants:
 * (1) Each function returns >= 0, or minus the errno of the one system call it stands for.
 * (2) Whoever stores bytes in a shared map says so through `stored`, so that a recording sees them.
 * */
#ifndef OOR_IO_H
#define OOR_IO_H

#include <sys/stat.h>

#include "core.h"

typedef struct {
    int (*open)(const char *path, int flags, int mode);
    int (*close)(int fd);
    int64_t (*size)(int fd);
    int64_t (*pread)(int fd, void *data, size_t size, uint64_t offset);
    int64_t (*pwrite)(int fd, const void *data, size_t size, uint64_t offset);
    int (*sync)(int fd); /* fdatasync */
    int (*truncate)(int fd, uint64_t size);
    int (*allocate)(int fd, uint64_t offset, uint64_t size);
    int (*rename)(const char *from, const char *to);
    int (*link)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*make_dir)(const char *path);
    int (*sync_dir)(const char *path);
    int (*lock)(int fd); /* flock, exclusive, without waiting: 0, or -EWOULDBLOCK */
    int64_t (*list)(const char *path, oor_buffer *names);
    int (*exists)(const char *path);
    int (*map)(int fd, size_t size, uint8_t **out); /* shared, readable and writable */
    void (*unmap)(uint8_t *map, size_t size);
    void (*stored)(const uint8_t *map, uint64_t offset, size_t size); /* NULL: nobody records */
    /* Everything of the log in `dir` up to this LSN is said to be durable.  NULL: nobody records */
    void (*promised)(const char *dir, uint64_t lsn);
    /* Which object it is (st_dev, st_ino), for a recording; a name is not followed. */
    int (*stat_fd)(int fd, struct stat *out);
    int (*stat_name)(const char *path, struct stat *out);
} oor_io_table;

/* The one that talks to the kernel, and the one in force. */
extern const oor_io_table oor_io_system;
const oor_io_table *oor_io_current(void);
void oor_io_install(const oor_io_table *table);

/* To be called after every store into a shared map. */
static inline void oor_io_stored(const uint8_t *map, uint64_t offset, size_t size) {
    const oor_io_table *table = oor_io_current();
    if (table->stored) table->stored(map, offset, size);
}

/* To be called whenever more of a log has become durable, before anybody is told. */
static inline void oor_io_promised(const char *dir, uint64_t lsn) {
    const oor_io_table *table = oor_io_current();
    if (table->promised) table->promised(dir, lsn);
}

#endif
