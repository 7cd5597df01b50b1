/* native_put.h: a put that waits for nothing, as a Python function beside native.h's lookup.
 *
 * put := note the old value, store into the memtable's dict, append to the log
 *
 * It is one step of the interpreter: nothing in it gives the interpreter's lock away, makes an
 * object that the collector looks at, or runs code written in Python.  So nobody sees the pair
 * before it is in the log, and while nobody holds the commit lock nobody comes in between.  The
 * dict comes first, since that may fail for want of memory and the log then has nothing.
 *
 * Ownership: the function's capsule holds the cffi object that owns the log.
 * Threads:   called with the interpreter's lock; the log's lock is tried, not waited for.
 * Invariants:
 * (1) It logs only while the commit lock is free, so LSN order is memtable order. */
#ifndef OOR_NATIVE_PUT_H
#define OOR_NATIVE_PUT_H

#include "wal.h"

#define OOR_LOG_CAPSULE "oor.log"

/* Attributes of State, View and Memtable. */
static struct { PyObject *hindered, *locked, *view, *active, *data, *noted, *last_lsn; } oor_names;

static int oor_put_install(void) {
    oor_names.hindered = PyUnicode_InternFromString("hindered");
    oor_names.locked = PyUnicode_InternFromString("locked");
    oor_names.view = PyUnicode_InternFromString("view");
    oor_names.active = PyUnicode_InternFromString("active");
    oor_names.data = PyUnicode_InternFromString("data");
    oor_names.noted = PyUnicode_InternFromString("noted");
    oor_names.last_lsn = PyUnicode_InternFromString("last_lsn");
    return oor_names.hindered && oor_names.locked && oor_names.view && oor_names.active &&
                   oor_names.data && oor_names.noted && oor_names.last_lsn
               ? 0
               : -1;
}

/* Of an object that it takes over; 0 with an exception set where there is none. */
static int oor_put_is_false(PyObject *answer) {
    Py_XDECREF(answer);
    return answer == Py_False;
}

/* The memtable that takes mutations, or NULL: writers look closer first, somebody holds the commit
 * lock, or an exception is set. */
static PyObject *oor_put_memtable(PyObject *state) {
    if (!oor_put_is_false(PyObject_GetAttr(state, oor_names.hindered))) return NULL;
    PyObject *locked = PyObject_GetAttr(state, oor_names.locked);
    int is_free = locked && oor_put_is_false(PyObject_CallNoArgs(locked));
    Py_XDECREF(locked);
    PyObject *view = is_free ? PyObject_GetAttr(state, oor_names.view) : NULL;
    PyObject *memtable = view ? PyObject_GetAttr(view, oor_names.active) : NULL;
    Py_XDECREF(view);
    return memtable;
}

/* For views that were taken before: the key and what it holds. */
static int oor_put_note(PyObject *noted, PyObject *data, PyObject *key, PyObject *absent) {
    if (noted == Py_None) return 0;
    PyObject *old = PyDict_GetItemWithError(data, key);
    if (PyList_Append(noted, key) < 0) return -1;
    if (PyList_Append(noted, old ? old : absent) == 0) return 0;
    Py_ssize_t end = PyList_Size(noted);
    (void)PyList_SetSlice(noted, end - 1, end, NULL); /* whole pairs only */
    return -1;
}

/* The LSN, or NULL: with an exception set nothing is logged, else it takes the long way. */
static PyObject *oor_put_into(oor_wal *wal, PyObject *memtable, PyObject *key, PyObject *value,
                              PyObject *absent) {
    char *key_bytes, *value_bytes;
    Py_ssize_t key_size, value_size;
    if (PyBytes_AsStringAndSize(key, &key_bytes, &key_size) < 0 ||
        PyBytes_AsStringAndSize(value, &value_bytes, &value_size) < 0)
        return NULL;
    PyObject *data = PyObject_GetAttr(memtable, oor_names.data);
    PyObject *noted = data ? PyObject_GetAttr(memtable, oor_names.noted) : NULL;
    PyObject *lsn = NULL;
    int64_t given =
        noted && PyDict_CheckExact(data) && (noted == Py_None || PyList_CheckExact(noted))
            ? oor_wal_put_begin(wal, (size_t)key_size, (size_t)value_size)
            : 0;
    if (given > 0) {
        lsn = PyLong_FromLongLong(given);
        int stored = lsn && oor_put_note(noted, data, key, absent) == 0 &&
                     PyDict_SetItem(data, key, value) == 0;
        oor_wal_put_end(wal, stored ? (const uint8_t *)key_bytes : NULL, (uint32_t)key_size,
                        (const uint8_t *)value_bytes, (uint32_t)value_size);
        if (!stored || PyObject_SetAttr(memtable, oor_names.last_lsn, lsn) < 0) Py_CLEAR(lsn);
    }
    Py_XDECREF(noted);
    Py_XDECREF(data);
    return lsn;
}

static PyObject *oor_put(PyObject *capsule, PyObject *const *given, Py_ssize_t count) {
    oor_wal *wal = PyCapsule_GetPointer(capsule, OOR_LOG_CAPSULE);
    if (!wal) return NULL;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "put takes a state, a key and a value");
        return NULL;
    }
    PyObject *key = given[1], *value = given[2], *lsn = NULL;
    if (PyBytes_CheckExact(key) && PyBytes_CheckExact(value)) {
        PyObject *memtable = oor_put_memtable(given[0]);
        PyObject *context = PyCapsule_GetContext(capsule);
        if (memtable) lsn = oor_put_into(wal, memtable, key, value, PyTuple_GetItem(context, 1));
        Py_XDECREF(memtable);
    }
    return lsn || PyErr_Occurred() ? lsn : PyLong_FromLong(0);
}

static void oor_put_gone(PyObject *capsule) {
    Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

/* put_of(address of a log, (its owner, ABSENT)) */
static PyObject *oor_put_of(PyObject *self, PyObject *arguments) {
    static PyMethodDef method = {"put", (PyCFunction)(void (*)(void))oor_put, METH_FASTCALL,
                                 "put(state, key, value) -> the LSN, or 0: it takes the long way"};
    unsigned long long address;
    PyObject *context;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "KO!", &address, &PyTuple_Type, &context)) return NULL;
    PyObject *capsule = PyCapsule_New((void *)(uintptr_t)address, OOR_LOG_CAPSULE, NULL);
    if (!capsule) return NULL;
    Py_INCREF(context);
    /* Neither fails for a capsule that is sound. */
    (void)PyCapsule_SetContext(capsule, context);
    (void)PyCapsule_SetDestructor(capsule, oor_put_gone);
    PyObject *made = PyCFunction_NewEx(&method, capsule, NULL);
    Py_DECREF(capsule);
    return made;
}

#endif
