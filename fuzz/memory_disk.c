/* memory_disk.c: files in memory behind the door to the disk, read-only. */
#include "memory_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILES = 4 };

static struct {
    char path[64];
    const uint8_t *data;
    size_t size;
} files[FILES];

static int find(const char *path) {
    for (int i = 0; i < FILES; i++)
        if (files[i].data && !strcmp(files[i].path, path)) return i;
    return -ENOENT;
}

static int memory_open(const char *path, int flags, int mode) {
    (void)flags;
    (void)mode;
    return find(path);
}

static int memory_close(int fd) { return fd < 0 || fd >= FILES ? -EBADF : 0; }

static int64_t memory_size(int fd) { return (int64_t)files[fd].size; }

static int64_t memory_pread(int fd, void *data, size_t size, uint64_t offset) {
    if (offset >= files[fd].size) return 0;
    size_t there = files[fd].size - (size_t)offset;
    size_t got = size < there ? size : there;
    memcpy(data, files[fd].data + offset, got);
    return (int64_t)got;
}

static int64_t memory_pwrite(int fd, const void *data, size_t size, uint64_t offset) {
    (void)fd;
    (void)data;
    (void)size;
    (void)offset;
    return -EROFS;
}

static int memory_exists(const char *path) { return find(path) >= 0; }

static const oor_io_table memory_table = {
    .open = memory_open,
    .close = memory_close,
    .size = memory_size,
    .pread = memory_pread,
    .pwrite = memory_pwrite,
    .exists = memory_exists,
};

void memory_disk_install(void) { oor_io_install(&memory_table); }

void memory_disk_put(const char *path, const uint8_t *data, size_t size) {
    int at = find(path);
    for (int i = 0; at < 0 && i < FILES; i++)
        if (!files[i].data) at = i;
    REQUIRE(at >= 0 && strlen(path) < sizeof files[at].path);
    strcpy(files[at].path, path);
    files[at].data = data;
    files[at].size = size;
}

void memory_disk_broken(const char *what, const char *file, int line) {
    fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, what);
    abort();
}
