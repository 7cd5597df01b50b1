/* io_memory.c: a table of functions over a file system in memory: no system call, nothing durable.
 *
 * name := absolute path        each stands for one node; two names may stand for the same node
 * node := a directory, or a file: bytes, zeros where nothing was written
 *
 * Files and directories are objects apart from their names, as in a real file system: a rename
 * moves a name and no data, and a file without a name lives until its last descriptor goes.  A sync
 * does nothing: what a crash would leave is for a recording to work out (io_trace.c).  Directories
 * are few and hold few names, so names are searched one after the other. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "io.h"

typedef struct {
    uint64_t number;
    uint8_t *data;
    size_t size;
    size_t room;
    uint32_t names;
    uint32_t users; /* descriptors and maps */
    uint32_t maps;
    int is_dir;
    int locked_by; /* a descriptor + 1; 0: nobody */
} node;

typedef struct {
    char *path;
    size_t size; /* of the path */
    node *node;
} name;

typedef struct {
    node *node; /* NULL: free */
    int flags;
} file;

/* Descriptors begin where none of the kernel's can be: one that is closed after the table was taken
 * away fails then, instead of closing another's file. */
enum { FILES_MAX = 4096, FIRST_FD = 1 << 28, MEMORY_DEVICE = 1 };

/* Everything below is guarded by `mutex`. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static name *names;
static size_t name_count, name_room;
static file files[FILES_MAX];
static struct {
    const uint8_t *start;
    node *node;
} maps[FILES_MAX];
static uint64_t last_number;
static oor_memory_counts counts;

/* ---- nodes and names: mutex held ------------------------------------------------------------ */

static void let_go(node *n) {
    if (n->names || n->users) return;
    free(n->data);
    free(n);
}

static name *find(const char *path) {
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    for (size_t i = 0; i < name_count; i++)
        if (names[i].size == size && !memcmp(names[i].path, path, size)) return &names[i];
    return NULL;
}

static int parent_is_there(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return 1;
    for (size_t i = 0; i < name_count; i++)
        if (names[i].size == (size_t)(slash - path) && !memcmp(names[i].path, path, names[i].size))
            return names[i].node->is_dir;
    return 0;
}

static int add_name(const char *path, node *n) {
    if (name_count == name_room) {
        size_t room = name_room ? 2 * name_room : 64;
        name *larger = realloc(names, room * sizeof *names);
        if (!larger) return -ENOMEM;
        names = larger;
        name_room = room;
    }
    size_t size = strlen(path);
    char *copy = malloc(size + 1);
    if (!copy) return -ENOMEM;
    memcpy(copy, path, size + 1);
    names[name_count++] = (name){copy, size, n};
    n->names++;
    return 0;
}

static void drop_name(name *which) {
    node *n = which->node;
    free(which->path);
    *which = names[--name_count];
    n->names--;
    let_go(n);
}

static int new_node(const char *path, int is_dir, node **out) {
    if (!parent_is_there(path)) return -ENOENT;
    node *n = calloc(1, sizeof *n);
    if (!n) return -ENOMEM;
    n->number = ++last_number;
    n->is_dir = is_dir;
    int rc = add_name(path, n);
    if (rc < 0) free(n);
    else *out = n;
    return rc;
}

static int grow(node *n, size_t size) {
    if (size <= n->size) return 0;
    if (size > n->room) {
        if (n->maps) return -EBUSY; /* a map must not move */
        size_t room = size < 256 ? 256 : size;
        if (n->size && room < 2 * n->room) room = 2 * n->room;
        uint8_t *data = calloc(1, room);
        if (!data) return -ENOMEM;
        if (n->size) memcpy(data, n->data, n->size);
        free(n->data);
        n->data = data;
        n->room = room;
    }
    n->size = size;
    return 0;
}

static void cut(node *n, size_t size) {
    memset(n->data + size, 0, n->size - size);
    n->size = size;
}

static file *file_of(int fd) {
    int at = fd - FIRST_FD;
    return fd >= FIRST_FD && at < FILES_MAX && files[at].node ? &files[at] : NULL;
}

static int is_aligned(const file *f, const void *data, size_t size, uint64_t offset) {
    return !(f->flags & O_DIRECT) ||
           (((uintptr_t)data | size | offset) & (uintptr_t)(OOR_BLOCK - 1)) == 0;
}

/* Runs one expression with the mutex held. */
#define GUARDED(type, expression)                                                                  \
    pthread_mutex_lock(&mutex);                                                                    \
    counts.calls++;                                                                                \
    type answer = expression;                                                                      \
    pthread_mutex_unlock(&mutex);                                                                  \
    return answer

/* ---- open files ----------------------------------------------------------------------------- */

static int do_open(const char *path, int flags) {
    name *known = find(path);
    node *n = known ? known->node : NULL;
    if (n && flags & O_CREAT && flags & O_EXCL) return -EEXIST;
    if (!n && !(flags & O_CREAT)) return -ENOENT;
    if (n && n->is_dir && (flags & O_ACCMODE) != O_RDONLY) return -EISDIR;
    int at = 0;
    while (at < FILES_MAX && files[at].node) at++;
    if (at == FILES_MAX) return -EMFILE;
    if (!n) {
        int rc = new_node(path, 0, &n);
        if (rc < 0) return rc;
    } else if (flags & O_TRUNC) {
        cut(n, 0);
    }
    files[at] = (file){n, flags};
    n->users++;
    counts.files++;
    return at + FIRST_FD;
}

static int memory_open(const char *path, int flags, int mode) {
    (void)mode;
    GUARDED(int, do_open(path, flags));
}

static int do_close(int fd) {
    file *f = file_of(fd);
    if (!f) return -EBADF;
    node *n = f->node;
    f->node = NULL;
    if (n->locked_by == fd + 1) n->locked_by = 0;
    n->users--;
    counts.files--;
    let_go(n);
    return 0;
}

static int memory_close(int fd) { GUARDED(int, do_close(fd)); }

static int64_t do_size(int fd) {
    const file *f = file_of(fd);
    return f ? (int64_t)f->node->size : -EBADF;
}

static int64_t memory_size(int fd) { GUARDED(int64_t, do_size(fd)); }

static int64_t do_pread(int fd, void *data, size_t size, uint64_t offset) {
    const file *f = file_of(fd);
    if (!f) return -EBADF;
    if (f->node->is_dir) return -EISDIR;
    if (!is_aligned(f, data, size, offset)) return -EINVAL;
    if (offset >= f->node->size) return 0;
    size_t there = f->node->size - (size_t)offset;
    size_t taken = there < size ? there : size;
    memcpy(data, f->node->data + offset, taken);
    counts.bytes_read += taken;
    return (int64_t)taken;
}

static int64_t memory_pread(int fd, void *data, size_t size, uint64_t offset) {
    GUARDED(int64_t, do_pread(fd, data, size, offset));
}

static int64_t do_pwrite(int fd, const void *data, size_t size, uint64_t offset) {
    const file *f = file_of(fd);
    if (!f || (f->flags & O_ACCMODE) == O_RDONLY) return -EBADF;
    if (!is_aligned(f, data, size, offset)) return -EINVAL;
    int rc = grow(f->node, (size_t)offset + size);
    if (rc < 0) return rc;
    if (size) memcpy(f->node->data + offset, data, size);
    counts.bytes_written += size;
    return (int64_t)size;
}

static int64_t memory_pwrite(int fd, const void *data, size_t size, uint64_t offset) {
    GUARDED(int64_t, do_pwrite(fd, data, size, offset));
}

static int memory_sync(int fd) { GUARDED(int, file_of(fd) ? 0 : -EBADF); }

static int do_truncate(int fd, uint64_t size) {
    const file *f = file_of(fd);
    if (!f) return -EBADF;
    if (size < f->node->size) cut(f->node, (size_t)size);
    return grow(f->node, (size_t)size);
}

static int memory_truncate(int fd, uint64_t size) { GUARDED(int, do_truncate(fd, size)); }

static int do_allocate(int fd, uint64_t end) {
    const file *f = file_of(fd);
    return f ? grow(f->node, (size_t)end) : -EBADF;
}

static int memory_allocate(int fd, uint64_t offset, uint64_t size) {
    GUARDED(int, do_allocate(fd, offset + size));
}

static int do_lock(int fd) {
    const file *f = file_of(fd);
    if (!f) return -EBADF;
    if (f->node->locked_by && f->node->locked_by != fd + 1) return -EWOULDBLOCK;
    f->node->locked_by = fd + 1;
    return 0;
}

static int memory_lock(int fd) { GUARDED(int, do_lock(fd)); }

/* ---- names ---------------------------------------------------------------------------------- */

static int do_link(const char *from, const char *to, int moves) {
    name *source = find(from);
    if (!source || !parent_is_there(to)) return -ENOENT;
    node *n = source->node;
    name *target = find(to);
    if (target && !moves) return -EEXIST;
    if (n->is_dir) return -EPERM;
    if (target && target->node == n) return 0;
    if (target && target->node->is_dir) return -EISDIR;
    int rc = add_name(to, n);
    if (rc < 0) return rc;
    /* The old name of `to` comes first in the list, the new one last. */
    if (target) drop_name(find(to));
    if (moves) drop_name(find(from));
    return 0;
}

static int memory_rename(const char *from, const char *to) { GUARDED(int, do_link(from, to, 1)); }

static int memory_link(const char *from, const char *to) { GUARDED(int, do_link(from, to, 0)); }

static int do_unlink(const char *path) {
    name *known = find(path);
    if (!known) return -ENOENT;
    if (known->node->is_dir) return -EISDIR;
    drop_name(known);
    return 0;
}

static int memory_unlink(const char *path) { GUARDED(int, do_unlink(path)); }

static int do_make_dir(const char *path) {
    node *made;
    return find(path) ? -EEXIST : new_node(path, 1, &made);
}

static int memory_make_dir(const char *path) { GUARDED(int, do_make_dir(path)); }

static int do_find_dir(const char *path) {
    const name *known = find(path);
    return !known ? -ENOENT : known->node->is_dir ? 0 : -ENOTDIR;
}

static int memory_sync_dir(const char *path) { GUARDED(int, do_find_dir(path)); }

static int64_t do_list(const char *path, oor_buffer *out) {
    int rc = do_find_dir(path);
    if (rc < 0) return rc;
    size_t size = find(path)->size;
    int64_t count = 0;
    for (size_t i = 0; i < name_count; i++) {
        const name *entry = &names[i];
        if (entry->size <= size + 1 || memcmp(entry->path, path, size) ||
            entry->path[size] != '/' || strchr(entry->path + size + 1, '/'))
            continue;
        size_t part = entry->size - size; /* with the zero at its end, without the slash */
        if (oor_buffer_reserve(out, part)) return -ENOMEM;
        memcpy(out->data + out->size, entry->path + size + 1, part);
        out->size += part;
        count++;
    }
    return count;
}

static int64_t memory_list(const char *path, oor_buffer *out) {
    GUARDED(int64_t, do_list(path, out));
}

static int memory_exists(const char *path) { GUARDED(int, find(path) != NULL); }

/* ---- shared maps ---------------------------------------------------------------------------- */

static int do_map(int fd, size_t size, uint8_t **out) {
    const file *f = file_of(fd);
    if (!f) return -EBADF;
    if (size > f->node->size) return -ENXIO;
    int slot = 0;
    while (slot < FILES_MAX && maps[slot].node) slot++;
    if (slot == FILES_MAX) return -ENOMEM;
    f->node->maps++;
    f->node->users++;
    counts.maps++;
    maps[slot].start = *out = f->node->data;
    maps[slot].node = f->node;
    return 0;
}

static int memory_map(int fd, size_t size, uint8_t **out) { GUARDED(int, do_map(fd, size, out)); }

static void memory_unmap(uint8_t *map, size_t size) {
    (void)size;
    pthread_mutex_lock(&mutex);
    for (int slot = 0; slot < FILES_MAX; slot++) {
        node *n = maps[slot].node;
        if (!n || maps[slot].start != map) continue;
        maps[slot].node = NULL;
        n->maps--;
        n->users--;
        counts.maps--;
        let_go(n);
        break;
    }
    pthread_mutex_unlock(&mutex);
}

/* ---- who is who ----------------------------------------------------------------------------- */

static int describe(const node *n, struct stat *out) {
    if (!n) return -ENOENT;
    *out = (struct stat){.st_dev = MEMORY_DEVICE, .st_ino = n->number};
    out->st_size = (off_t)n->size;
    return 0;
}

static int memory_stat_fd(int fd, struct stat *out) {
    GUARDED(int, describe(file_of(fd) ? file_of(fd)->node : NULL, out));
}

static int memory_stat_name(const char *path, struct stat *out) {
    GUARDED(int, describe(find(path) ? find(path)->node : NULL, out));
}

static const oor_io_table memory_table = {
    .open = memory_open,
    .close = memory_close,
    .size = memory_size,
    .pread = memory_pread,
    .pwrite = memory_pwrite,
    .sync = memory_sync,
    .truncate = memory_truncate,
    .allocate = memory_allocate,
    .rename = memory_rename,
    .link = memory_link,
    .unlink = memory_unlink,
    .make_dir = memory_make_dir,
    .sync_dir = memory_sync_dir,
    .lock = memory_lock,
    .list = memory_list,
    .exists = memory_exists,
    .map = memory_map,
    .unmap = memory_unmap,
    .stored = NULL,
    .stat_fd = memory_stat_fd,
    .stat_name = memory_stat_name,
};

/* ---- the disk ------------------------------------------------------------------------------- */

int oor_memory_install(void) {
    if (oor_io_current() != &oor_io_system)
        return oor_fail(OOR_E_LIMIT, NULL, "another table stands behind the door already");
    oor_io_install(&memory_table);
    return 0;
}

void oor_memory_remove(void) {
    assert(oor_io_current() == &memory_table);
    oor_memory_clear();
    oor_io_install(&oor_io_system);
}

void oor_memory_clear(void) {
    pthread_mutex_lock(&mutex);
    while (name_count) drop_name(&names[name_count - 1]);
    free(names);
    names = NULL;
    name_room = 0;
    pthread_mutex_unlock(&mutex);
}

int oor_memory_put(const char *path, const uint8_t *data, size_t size, size_t whole) {
    assert(size <= whole);
    pthread_mutex_lock(&mutex);
    node *n = NULL;
    int rc = find(path) ? -EEXIST : new_node(path, 0, &n);
    if (rc >= 0) rc = grow(n, whole);
    if (rc >= 0 && size) memcpy(n->data, data, size);
    pthread_mutex_unlock(&mutex);
    return rc < 0 ? oor_fail_errno(-rc, path, "cannot put the file in memory") : 0;
}

void oor_memory_read_counts(oor_memory_counts *out) {
    pthread_mutex_lock(&mutex);
    *out = counts;
    pthread_mutex_unlock(&mutex);
}
