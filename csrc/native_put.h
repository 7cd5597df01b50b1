/* native_put.h: a put that waits for nothing, as a Python function beside native_read.h's reads.
 *
 * put := note the old value, store into the memtable's dict, append to the log
 *
 * It is one step of the interpreter: nothing in it gives the interpreter's lock away, makes an
 * object that the collector looks at, or runs code written in Python.  So nobody sees the pair
 * before it is in the log, and while nobody holds the commit lock nobody comes in between.  The
 * dict comes first, since that may fail for want of memory and the log then has nothing.
 *
 * Ownership: oor_puts, in the function's capsule, holds the cffi object that owns the log.
 * Threads:   called with the interpreter's lock; the log's lock is tried, not waited for.
 * Invariants:
 * (1) It logs only while the commit lock is free, so LSN order is memtable order. */
#ifndef OOR_NATIVE_PUT_H
#define OOR_NATIVE_PUT_H

#include <stdlib.h>

#include "wal.h"

#define OOR_PUTS_CAPSULE "oor.puts"

/* Attributes of State, View, Memtable and Bulk. */
enum { HINDERED, LOCKED, VIEW, ACTIVE, DATA, SINGLE, NOTED, LAST_LSN, SIZE, ROTATE_AT, OOR_NAMES };
static PyObject *oor_names[OOR_NAMES];

/* What the functions of one store share. */
typedef struct {
    oor_wal *wal;
    PyObject *owner;   /* of the log */
    PyObject *absent;  /* what views are told that a new key held */
    PyObject *waiting; /* dict: token -> (pairs, size) of what is logged and not shown */
    int64_t memtable_bytes;
    int64_t entry_size; /* what a pair takes in a memtable besides key and value */
} oor_puts;

/* A call; all of it borrowed. */
typedef struct {
    const oor_puts *puts;
    PyObject *state, *key, *value;
    const uint8_t *key_bytes, *value_bytes;
    uint32_t key_size, value_size;
} oor_put_call;

static int oor_put_install(void) {
    static const char *const names[OOR_NAMES] = {"hindered", "locked",   "view",  "active",
                                                 "data",     "single",   "noted", "last_lsn",
                                                 "size",     "rotate_at"};
    for (int i = 0; i < OOR_NAMES; i++)
        if (!(oor_names[i] = PyUnicode_InternFromString(names[i]))) return -1;
    return 0;
}

/* Of an object that it takes over; 0 with an exception set where there is none. */
static int oor_put_is_false(PyObject *answer) {
    Py_XDECREF(answer);
    return answer == Py_False;
}

/* 1; 0: this takes the long way; -1 with an exception set. */
static int oor_put_begin(oor_put_call *call, PyObject *capsule, PyObject *const *given,
                         Py_ssize_t count) {
    call->puts = PyCapsule_GetPointer(capsule, OOR_PUTS_CAPSULE);
    if (call->puts && count != 3)
        PyErr_SetString(PyExc_TypeError, "put takes a state, a key and a value");
    if (!call->puts || count != 3) return -1;
    call->state = given[0];
    call->key = given[1];
    call->value = given[2];
    if (!PyBytes_CheckExact(call->key) || !PyBytes_CheckExact(call->value)) return 0;
    Py_ssize_t key_size = PyBytes_Size(call->key), value_size = PyBytes_Size(call->value);
    if (key_size > OOR_KEY_SIZE_MAX || value_size > OOR_EASY_SIZE) return 0;
    call->key_bytes = (const uint8_t *)PyBytes_AsString(call->key);
    call->value_bytes = (const uint8_t *)PyBytes_AsString(call->value);
    call->key_size = (uint32_t)key_size;
    call->value_size = (uint32_t)value_size;
    if (oor_put_is_false(PyObject_GetAttr(call->state, oor_names[HINDERED]))) return 1;
    return PyErr_Occurred() ? -1 : 0;
}

/* The memtable that takes mutations, or NULL: writers look closer first, somebody holds the commit
 * lock, or an exception is set. */
static PyObject *oor_put_memtable(PyObject *state) {
    if (!oor_put_is_false(PyObject_GetAttr(state, oor_names[HINDERED]))) return NULL;
    PyObject *locked = PyObject_GetAttr(state, oor_names[LOCKED]);
    int is_free = locked && oor_put_is_false(PyObject_CallNoArgs(locked));
    Py_XDECREF(locked);
    PyObject *view = is_free ? PyObject_GetAttr(state, oor_names[VIEW]) : NULL;
    PyObject *memtable = view ? PyObject_GetAttr(view, oor_names[ACTIVE]) : NULL;
    Py_XDECREF(view);
    return memtable;
}

/* The dict of a memtable that takes single pairs here, with its notes, to be given back to
 * oor_put_let_go.  0: it takes none, or an exception is set. */
static int oor_put_dict(PyObject *memtable, PyObject **data, PyObject **noted) {
    *noted = NULL;
    *data = PyObject_GetAttr(memtable, oor_names[DATA]);
    if (!*data || !(*noted = PyObject_GetAttr(memtable, oor_names[NOTED]))) return 0;
    if (PyDict_CheckExact(*data)) return *noted == Py_None || PyList_CheckExact(*noted);
    /* Over columns; what they hold of a key is not looked for here, so a note is not written. */
    if (*noted != Py_None || PyDict_Check(*data)) return 0;
    PyObject *single = PyObject_GetAttr(*data, oor_names[SINGLE]);
    Py_DECREF(*data);
    *data = single;
    return single && PyDict_CheckExact(single);
}

static void oor_put_let_go(PyObject *data, PyObject *noted) {
    Py_XDECREF(noted);
    Py_XDECREF(data);
}

/* Stores the pair, with a note for views that were taken before.  -1: it is not there. */
static int oor_put_store(const oor_put_call *call, PyObject *data, PyObject *noted) {
    if (noted != Py_None) {
        PyObject *old = PyDict_GetItemWithError(data, call->key);
        if (PyList_Append(noted, call->key) < 0) return -1;
        if (PyList_Append(noted, old ? old : call->puts->absent) < 0) {
            Py_ssize_t end = PyList_Size(noted);
            (void)PyList_SetSlice(noted, end - 1, end, NULL); /* whole pairs only */
            return -1;
        }
    }
    return PyDict_SetItem(data, call->key, call->value);
}

/* The LSN, or NULL: with an exception set nothing is logged, else it takes the long way. */
static PyObject *oor_put_into(const oor_put_call *call, PyObject *memtable) {
    oor_wal *wal = call->puts->wal;
    PyObject *data, *noted, *lsn = NULL;
    int64_t given = oor_put_dict(memtable, &data, &noted)
                        ? oor_wal_put_begin(wal, call->key_size, call->value_size)
                        : 0;
    if (given > 0) {
        lsn = PyLong_FromLongLong(given);
        int stored = lsn && oor_put_store(call, data, noted) == 0;
        oor_wal_put_end(wal, stored ? call->key_bytes : NULL, call->key_size, call->value_bytes,
                        call->value_size);
        if (!stored || PyObject_SetAttr(memtable, oor_names[LAST_LSN], lsn) < 0) Py_CLEAR(lsn);
    }
    oor_put_let_go(data, noted);
    return lsn;
}

static PyObject *oor_put(PyObject *capsule, PyObject *const *given, Py_ssize_t count) {
    oor_put_call call;
    int rc = oor_put_begin(&call, capsule, given, count);
    PyObject *memtable = rc > 0 ? oor_put_memtable(call.state) : NULL;
    PyObject *lsn = memtable ? oor_put_into(&call, memtable) : NULL;
    Py_XDECREF(memtable);
    return lsn || PyErr_Occurred() ? lsn : PyLong_FromLong(0);
}

static void oor_puts_gone(PyObject *capsule) {
    oor_puts *puts = PyCapsule_GetPointer(capsule, OOR_PUTS_CAPSULE);
    Py_DECREF(puts->owner);
    Py_DECREF(puts->absent);
    Py_DECREF(puts->waiting);
    free(puts);
}

/* A capsule of what the arguments (address, owner, absent, waiting, memtable_bytes, entry_size)
 * say. */
static PyObject *oor_puts_new(PyObject *arguments) {
    unsigned long long address;
    long long memtable_bytes, entry_size;
    PyObject *owner, *absent, *waiting;
    if (!PyArg_ParseTuple(arguments, "KOOO!LL", &address, &owner, &absent, &PyDict_Type, &waiting,
                          &memtable_bytes, &entry_size))
        return NULL;
    oor_puts *puts = malloc(sizeof *puts);
    if (!puts) return PyErr_NoMemory();
    *puts = (oor_puts){.wal = (oor_wal *)(uintptr_t)address,
                       .owner = owner,
                       .absent = absent,
                       .waiting = waiting,
                       .memtable_bytes = memtable_bytes,
                       .entry_size = entry_size};
    PyObject *capsule = PyCapsule_New(puts, OOR_PUTS_CAPSULE, oor_puts_gone);
    if (!capsule) {
        free(puts);
        return NULL;
    }
    Py_INCREF(owner);
    Py_INCREF(absent);
    Py_INCREF(waiting);
    return capsule;
}

#endif
