/* native_read.h: a lookup and a short scan as Python functions.
 *
 * Through cffi a call of three arguments took 330 ns, of nine 500, and what it found was copied
 * once more: most of what a get takes, and half of a short scan.  So these two have a door of their
 * own.
 *
 * Ownership: a function's capsule holds its version.
 * Threads:   called with the interpreter's lock, which is given away only to read from a disk: a
 *            scan that meets a block which the cache lacks begins anew without it, into a buffer.
 *            `spares` is changed under it.
 * Invariants:
 * (1) What a disk has to be asked for is read without the interpreter's lock. */
#ifndef OOR_NATIVE_READ_H
#define OOR_NATIVE_READ_H

#include "merge.h"
#include "native_pair.h"

#define OOR_CAPSULE "oor.version"

enum { OOR_SPARES = 8, OOR_SPARE_MAX = 1 << 20, OOR_AT_ONCE = 512, OOR_RAISED = -1001 };

/* Memory of walks that are over. */
static oor_buffer *oor_spares[OOR_SPARES];
static int oor_spare_count;

static void oor_version_gone(PyObject *capsule) {
    oor_version_free(PyCapsule_GetPointer(capsule, OOR_CAPSULE));
    Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

/* fail(code) raises; whatever it does, there is no answer. */
static PyObject *oor_read_failed(PyObject *capsule, int code) {
    PyObject *fail = PyCapsule_GetContext(capsule);
    PyObject *none = PyObject_CallFunction(fail, "i", code);
    if (none) PyErr_SetString(PyExc_SystemError, "a failed read that raised nothing");
    Py_XDECREF(none);
    return NULL;
}

static PyObject *oor_lookup_key(PyObject *capsule, PyObject *key) {
    const oor_version *version = PyCapsule_GetPointer(capsule, OOR_CAPSULE);
    char *bytes;
    Py_ssize_t size;
    if (!version || PyBytes_AsStringAndSize(key, &bytes, &size) < 0) return NULL;
    const uint8_t *data = (const uint8_t *)bytes;
    oor_search search = {.hash = oor_hash(data, (size_t)size)};
    oor_value value;
    if (version->tables[0]) oor_count(oor_version_counters(version), COUNT_LOOKUPS);
    int found = oor_version_search(version, &search, data, (size_t)size, 0, &value);
    if (found == OOR_UNREAD) {
        PyThreadState *state = PyEval_SaveThread();
        found = oor_version_search(version, &search, data, (size_t)size, 1, &value);
        PyEval_RestoreThread(state);
    }
    if (found < 0) return oor_read_failed(capsule, found);
    if (found != OOR_FOUND) Py_RETURN_NONE;
    PyObject *result = PyBytes_FromStringAndSize((const char *)value.data, (Py_ssize_t)value.size);
    oor_cached_release(search.held);
    return result;
}

/* ---- short scans ----------------------------------------------------------------------------- */

/* The bytes at *p, behind which *p stands then. */
static PyObject *oor_take_bytes(const uint8_t **p) {
    const uint8_t *data = *p + OOR_MARSHAL_BYTES_ROOM;
    uint32_t size = oor_load32(*p + 1);
    assert(**p == 's');
    *p = data + size;
    return PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
}

/* The same of an item of a walk: a key, or a pair as a tuple. */
static PyObject *oor_take_item(const uint8_t **p) {
    if (**p != ')') return oor_take_bytes(p);
    *p += 2;
    PyObject *key = oor_take_bytes(p), *value = oor_take_bytes(p);
    PyObject *pair = key && value ? PyTuple_Pack(2, key, value) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return pair;
}

/* What marshal would read, in half the time. */
static PyObject *oor_take_list(const oor_buffer *from) {
    uint32_t count = oor_load32(from->data + 1);
    const uint8_t *p = from->data + OOR_MARSHAL_BYTES_ROOM;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint32_t i = 0; list && i < count; i++) {
        PyObject *item = oor_take_item(&p);
        if (item) {
            (void)PyList_SetItem(list, (Py_ssize_t)i, item);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* What a walk adds to. */
typedef struct {
    PyObject *list;
    int keys_only;
} oor_items;

static PyObject *oor_key_of(const oor_entry *entry) {
    PyObject *key = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)oor_entry_key_size(entry));
    if (key) oor_entry_key(entry, (uint8_t *)PyBytes_AsString(key));
    return key;
}

/* Of an oor_sink: without a buffer between, objects are made of an entry where it lies. */
static int oor_take_entry(void *context, const oor_entry *entry) {
    oor_items *to = context;
    PyObject *item = oor_key_of(entry);
    if (item && !to->keys_only) {
        PyObject *key = item;
        PyObject *value =
            PyBytes_FromStringAndSize((const char *)entry->value, (Py_ssize_t)entry->value_size);
        item = value ? PyTuple_New(2) : NULL;
        if (item) {
            (void)PyTuple_SetItem(item, 0, key);
            (void)PyTuple_SetItem(item, 1, value);
        } else {
            Py_DECREF(key);
            Py_XDECREF(value);
        }
    }
    int rc = item ? PyList_Append(to->list, item) : -1;
    Py_XDECREF(item);
    return rc < 0 ? OOR_RAISED : 1;
}

/* A short scan of what the cache has, with the interpreter's lock: a list, or NULL with an
 * exception or, where the cache lacks a block, without one. */
static PyObject *oor_scan_cache(const oor_version *version, const char *low, size_t low_size,
                                const char *high, size_t high_size, uint32_t flags, uint32_t limit,
                                uint32_t group) {
    oor_items items = {PyList_New(0), (flags & OOR_MERGE_KEYS_ONLY) != 0};
    if (!items.list) return NULL;
    oor_sink sink = {.kind = OOR_SINK_CALL, .take = oor_take_entry, .context = &items};
    int rc = oor_version_scan_to(version, low, low_size, high, high_size, flags | OOR_MERGE_INSIDE,
                                 limit, group, &sink);
    if (rc < 0) Py_CLEAR(items.list);
    return items.list;
}

/* The bytes of a bound, and `flag` into *flags; None: there is none.  0, or -1 with a TypeError. */
static int oor_take_bound(PyObject *bound, uint32_t flag, uint32_t *flags, char **data,
                          Py_ssize_t *size) {
    *data = "";
    *size = 0;
    if (bound == Py_None) return 0;
    *flags |= flag;
    return PyBytes_AsStringAndSize(bound, data, size);
}

static PyObject *oor_scan_range(PyObject *capsule, PyObject *const *arguments, Py_ssize_t count) {
    const oor_version *version = PyCapsule_GetPointer(capsule, OOR_CAPSULE);
    char *low, *high;
    Py_ssize_t low_size, high_size;
    if (!version) return NULL;
    if (count != 5) return PyErr_Format(PyExc_TypeError, "scan takes 5 arguments, not %zd", count);
    unsigned long numbers[3];
    for (int i = 0; i < 3; i++) {
        numbers[i] = PyLong_AsUnsignedLong(arguments[2 + i]);
        if (numbers[i] == (unsigned long)-1 && PyErr_Occurred()) return NULL;
        if (numbers[i] > UINT32_MAX)
            return PyErr_Format(PyExc_OverflowError, "%lu in a scan", numbers[i]);
    }
    uint32_t flags = (uint32_t)numbers[0] | OOR_MERGE_TUPLES;
    if (oor_take_bound(arguments[0], OOR_MERGE_HAS_START, &flags, &low, &low_size) < 0 ||
        oor_take_bound(arguments[1], OOR_MERGE_HAS_STOP, &flags, &high, &high_size) < 0)
        return NULL;
    if (numbers[1] <= OOR_AT_ONCE) {
        PyObject *found = oor_scan_cache(version, low, (size_t)low_size, high, (size_t)high_size,
                                         flags, (uint32_t)numbers[1], (uint32_t)numbers[2]);
        if (found || PyErr_Occurred()) return found;
    }
    oor_buffer *buffer = oor_spare_count ? oor_spares[--oor_spare_count] : oor_buffer_new();
    if (!buffer) return PyErr_NoMemory();
    PyThreadState *state = PyEval_SaveThread();
    int rc = oor_version_scan(version, low, (size_t)low_size, high, (size_t)high_size, flags,
                              (uint32_t)numbers[1], (uint32_t)numbers[2], buffer);
    PyEval_RestoreThread(state);
    PyObject *found = rc < 0 ? oor_read_failed(capsule, rc) : oor_take_list(buffer);
    if (oor_spare_count < OOR_SPARES && buffer->capacity <= OOR_SPARE_MAX) {
        oor_spares[oor_spare_count++] = buffer;
    } else {
        oor_buffer_free(buffer);
    }
    return found;
}

/* ---- making them ----------------------------------------------------------------------------- */

static PyObject *oor_reads_of(PyObject *self, PyObject *arguments) {
    static PyMethodDef lookup = {"lookup", oor_lookup_key, METH_O,
                                 "lookup(key: bytes) -> bytes | None"};
    static PyMethodDef scan = {"scan", (PyCFunction)(void (*)(void))oor_scan_range, METH_FASTCALL,
                               "scan(low: bytes | None, high, flags, limit, group) -> list"};
    unsigned long long address;
    PyObject *fail;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "KO", &address, &fail)) return NULL;
    oor_version *version = (oor_version *)(uintptr_t)address;
    PyObject *capsule = PyCapsule_New(version, OOR_CAPSULE, NULL);
    if (!capsule) return NULL;
    oor_version_hold(version);
    Py_INCREF(fail);
    /* Neither fails for a capsule that is sound. */
    (void)PyCapsule_SetContext(capsule, fail);
    (void)PyCapsule_SetDestructor(capsule, oor_version_gone);
    return oor_pair_of(&lookup, &scan, capsule);
}

#endif
