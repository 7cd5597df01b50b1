/* core.c: errors and buffers.  Nothing here is written to disk. */
#include "core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "memory.h"

static _Thread_local oor_error last_error;

const oor_error *oor_last_error(void) { return &last_error; }

int oor_asserts_alive(void) {
    int alive = 0;
    assert((alive = 1));
    return alive;
}

static int fail(int code, int sys_errno, const char *path, const char *format, va_list arguments) {
    assert(code < 0);
    memset(&last_error, 0, offsetof(oor_error, what));
    last_error.code = code;
    last_error.sys_errno = sys_errno;
    vsnprintf(last_error.what, sizeof last_error.what, format, arguments);
    /* `path` may be the last error's own, when a caller adds to what a callee said. */
    if (path != last_error.path)
        snprintf(last_error.path, sizeof last_error.path, "%s", path ? path : "");
    return code;
}

int oor_fail(int code, const char *path, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int result = fail(code, 0, path, format, arguments);
    va_end(arguments);
    return result;
}

int oor_fail_damage(const char *path, uint64_t offset, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fail(OOR_E_CORRUPT, 0, path, format, arguments);
    va_end(arguments);
    last_error.offset = offset;
    last_error.placed = 1;
    return OOR_E_CORRUPT;
}

int oor_fail_errno(int sys_errno, const char *path, const char *format, ...) {
    int code = sys_errno == ENOSPC || sys_errno == EDQUOT ? OOR_E_FULL
               : sys_errno == ENOMEM                      ? OOR_E_MEMORY
                                                          : OOR_E_IO;
    va_list arguments;
    va_start(arguments, format);
    int result = fail(code, sys_errno, path, format, arguments);
    va_end(arguments);
    return result;
}

int oor_fail_again(int code, const oor_error *earlier, const char *prefix) {
    oor_error copy = *earlier;
    snprintf(last_error.what, sizeof last_error.what, "%s: %.150s", prefix, copy.what);
    memcpy(copy.what, last_error.what, sizeof copy.what);
    last_error = copy;
    last_error.code = code;
    return code;
}

int oor_fail_at(uint64_t segment, uint64_t offset, uint64_t first_lsn, uint64_t last_lsn) {
    assert(last_error.code < 0);
    last_error.segment = segment;
    last_error.offset = offset;
    last_error.placed = segment != 0 || offset != 0;
    last_error.first_lsn = first_lsn;
    last_error.last_lsn = last_lsn;
    return last_error.code;
}

oor_buffer *oor_buffer_new(void) { return calloc(1, sizeof(oor_buffer)); }

void oor_buffer_free(oor_buffer *buffer) {
    if (!buffer) return;
    oor_buffer_clear(buffer);
    free(buffer);
}

void oor_buffer_clear(oor_buffer *buffer) {
    oor_memory_give(buffer->data, buffer->capacity);
    *buffer = (oor_buffer){0};
}

int oor_buffer_reserve(oor_buffer *buffer, size_t more) {
    if (more <= buffer->capacity - buffer->size) return 0;
    if (more > SIZE_MAX / 2 - buffer->size)
        return oor_fail(OOR_E_MEMORY, NULL, "%zu bytes asked for", more);
    size_t capacity = buffer->capacity + buffer->capacity / 2;
    if (capacity < buffer->size + more) capacity = buffer->size + more;
    if (capacity < 4096) capacity = 4096;
    uint8_t *data = oor_memory_resize(buffer->data, buffer->capacity, capacity);
    if (!data) return oor_fail(OOR_E_MEMORY, NULL, "no memory for a buffer of %zu bytes", capacity);
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

int oor_buffer_add(oor_buffer *buffer, const uint8_t *data, size_t size) {
    int rc = oor_buffer_reserve(buffer, size);
    if (rc < 0) return rc;
    if (size) memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return 0;
}
