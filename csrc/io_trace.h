/* io_trace.h: what the recording table's parts share: events, and who is who among files and maps.
 *
 * Ownership: an event lives on its operation's stack; what it points to is the caller's or a
 * file's. Threads:   everything here needs the mutex that oor_trace_begin takes and
 * oor_trace_finish frees. Invariants:
 * (1) A begun event is finished, once.
 * (2) An object number stands for one file or directory for ever; an inode number may come back. */
#ifndef OOR_IO_TRACE_H
#define OOR_IO_TRACE_H

#include <sys/stat.h>

#include "io.h"

typedef struct {
    uint32_t op;
    int fd;
    uint32_t flags;
    uint64_t begin;
    uint64_t object;
    uint64_t offset;
    uint64_t length;
    uint64_t effect;
    const char *path;
    const char *other;
    const void *payload;
    size_t payload_size;
    int how;         /* the oor_fault_how it meets, or OOR_FAULT_NONE */
    int fault_errno; /* what a fault reports */
} oor_event;

enum { OOR_FAULT_NONE = -1 };

/* ---- begin and end of an operation (io_trace.c) --------------------------------------------- */

extern const oor_io_table oor_trace_table;

/* The table that does the work: the one in force when the recording was installed. */
void oor_trace_set_base(const oor_io_table *table);
const oor_io_table *oor_trace_base(void);

/* Takes the mutex and returns 1; or returns 0 without it when nothing is being recorded.  `path`
 * NULL: that of `fd`. */
int oor_trace_begin(oor_event *event, uint32_t op, int fd, const char *path);
/* Frees the mutex between begin and finish, for what may run beside other operations. */
void oor_trace_pause(void);
void oor_trace_resume(void);
/* Records what happened and what is told, frees the mutex, and returns what is told. */
int64_t oor_trace_finish(oor_event *event, int64_t result);
/* Whether the fault leaves the operation to the kernel, and how many bytes of it. */
int oor_trace_to_be_done(const oor_event *event);
size_t oor_trace_allowed(const oor_event *event, size_t size);
/* Whether the `effect` bytes that were written there belong into the event. */
int oor_trace_wants_payload(const oor_event *event, const uint8_t *data);

/* ---- who is who (io_trace_objects.c) -------------------------------------------------------- */

/* Good until the next file is remembered or forgotten. */
typedef struct {
    int fd;
    char *path;
    uint64_t object;
} oor_traced_file;

typedef struct {
    const uint8_t *start;
    size_t size;
    char *path;
    uint64_t object;
} oor_traced_map;

/* Memory, or the end: a test that runs out of memory has nothing left to prove. */
void *oor_trace_grow(void *memory, size_t size);
char *oor_trace_copy_text(const char *text);

uint64_t oor_trace_object(const struct stat *found);
uint64_t oor_trace_object_of_name(const char *path); /* 0: no such name */
/* Something new is on this inode: the object that was there is gone. */
void oor_trace_forget_object(const struct stat *found);

oor_traced_file *oor_trace_remember_file(int fd, const char *path);
oor_traced_file *oor_trace_find_file(int fd);
void oor_trace_forget_file(int fd);

void oor_trace_remember_map(const uint8_t *start, size_t size, const char *path, uint64_t object);
const oor_traced_map *
oor_trace_find_map(const uint8_t *start); /* NULL: made before the recording */
void oor_trace_forget_map(const uint8_t *start);

void oor_trace_forget_all(void);

#endif
