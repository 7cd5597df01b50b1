/* io_trace_objects.c: who is who in a recording: objects by inode, files by fd, shared maps.
 *
 * Nothing here is written to disk. */
#include "io_trace.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    dev_t device;
    ino_t inode;
    uint64_t number; /* 0: gone; its inode may come back as another object */
} object;

static struct {
    object *at;
    size_t count;
    uint64_t last_number;
} objects;
static struct {
    oor_traced_file *at;
    size_t count;
} files;
static struct {
    oor_traced_map *at;
    size_t count;
} maps;

void *oor_trace_grow(void *memory, size_t size) {
    void *larger = realloc(memory, size);
    assert(larger);
    return larger;
}

char *oor_trace_copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(oor_trace_grow(NULL, size), text, size);
}

static object *find_object(const struct stat *found) {
    for (size_t i = objects.count; i-- > 0;) {
        object *candidate = &objects.at[i];
        if (candidate->number && candidate->inode == found->st_ino &&
            candidate->device == found->st_dev)
            return candidate;
    }
    return NULL;
}

uint64_t oor_trace_object(const struct stat *found) {
    object *known = find_object(found);
    if (known) return known->number;
    objects.at = oor_trace_grow(objects.at, (objects.count + 1) * sizeof *objects.at);
    objects.at[objects.count++] = (object){found->st_dev, found->st_ino, ++objects.last_number};
    return objects.last_number;
}

void oor_trace_forget_object(const struct stat *found) {
    object *known = find_object(found);
    if (known) known->number = 0;
}

uint64_t oor_trace_object_of_name(const char *path) {
    struct stat found;
    return oor_trace_base()->stat_name(path, &found) < 0 ? 0 : oor_trace_object(&found);
}

/* Few are open at a time, and descriptors of memory are too high to index with. */
static oor_traced_file *find_file(int fd) {
    for (size_t i = files.count; i-- > 0;)
        if (files.at[i].fd == fd) return &files.at[i];
    return NULL;
}

void oor_trace_forget_file(int fd) {
    oor_traced_file *file = find_file(fd);
    if (!file) return;
    free(file->path);
    *file = files.at[--files.count];
}

oor_traced_file *oor_trace_remember_file(int fd, const char *path) {
    oor_trace_forget_file(fd);
    struct stat found;
    uint64_t object = oor_trace_base()->stat_fd(fd, &found) < 0 ? 0 : oor_trace_object(&found);
    files.at = oor_trace_grow(files.at, (files.count + 1) * sizeof *files.at);
    oor_traced_file *file = &files.at[files.count++];
    *file = (oor_traced_file){fd, oor_trace_copy_text(path), object};
    return file;
}

/* A file that was open before the recording has the name that the kernel knows it by. */
oor_traced_file *oor_trace_find_file(int fd) {
    oor_traced_file *file = find_file(fd);
    if (file) return file;
    if (oor_trace_base() != &oor_io_system) return oor_trace_remember_file(fd, "");
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size > 0 ? size : 0] = 0;
    return oor_trace_remember_file(fd, path);
}

const oor_traced_map *oor_trace_find_map(const uint8_t *start) {
    for (size_t i = 0; i < maps.count; i++)
        if (maps.at[i].start == start) return &maps.at[i];
    return NULL;
}

void oor_trace_remember_map(const uint8_t *start, size_t size, const char *path, uint64_t object) {
    maps.at = oor_trace_grow(maps.at, (maps.count + 1) * sizeof *maps.at);
    maps.at[maps.count++] = (oor_traced_map){start, size, oor_trace_copy_text(path), object};
}

void oor_trace_forget_map(const uint8_t *start) {
    for (size_t i = 0; i < maps.count; i++) {
        if (maps.at[i].start != start) continue;
        free(maps.at[i].path);
        maps.at[i] = maps.at[--maps.count];
        return;
    }
}

void oor_trace_forget_all(void) {
    for (size_t i = 0; i < files.count; i++) free(files.at[i].path);
    for (size_t i = 0; i < maps.count; i++) free(maps.at[i].path);
    free(files.at);
    free(maps.at);
    free(objects.at);
    memset(&files, 0, sizeof files);
    memset(&maps, 0, sizeof maps);
    memset(&objects, 0, sizeof objects);
}
