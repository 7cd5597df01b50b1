/* native_bulk.h: a look into the columns of a memtable as a Python function.
 *
 * Ownership: the function's capsule holds what owns the columns; values are copied.
 * Threads:   called with the interpreter's lock, which is given away where a writer adds columns.
 * Invariants: none of its own. */
#ifndef OOR_NATIVE_BULK_H
#define OOR_NATIVE_BULK_H

#include "bulk.h"

#define OOR_BULK_CAPSULE "oor.bulk"

/* (owner, absent) is the capsule's context. */
static void oor_bulk_gone(PyObject *capsule) {
    Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

static PyObject *oor_bulk_look(PyObject *capsule, PyObject *key) {
    oor_bulk *bulk = PyCapsule_GetPointer(capsule, OOR_BULK_CAPSULE);
    char *bytes;
    Py_ssize_t size;
    if (!bulk || PyBytes_AsStringAndSize(key, &bytes, &size) < 0) return NULL;
    oor_bulk_value found;
    if (!oor_bulk_try_get(bulk, (const uint8_t *)bytes, (size_t)size, &found)) {
        PyThreadState *thread = PyEval_SaveThread();
        found = oor_bulk_get(bulk, (const uint8_t *)bytes, (size_t)size);
        PyEval_RestoreThread(thread);
    }
    if (found.size >= 0)
        return PyBytes_FromStringAndSize((const char *)found.data, (Py_ssize_t)found.size);
    if (found.size == OOR_BULK_DELETED) Py_RETURN_NONE;
    PyObject *absent = PyTuple_GetItem(PyCapsule_GetContext(capsule), 1);
    Py_XINCREF(absent);
    return absent;
}

/* look_of(address, owner, absent) */
static PyObject *oor_look_of(PyObject *self, PyObject *arguments) {
    static PyMethodDef look = {"look", oor_bulk_look, METH_O,
                               "look(key: bytes) -> bytes | None where it is deleted | absent"};
    unsigned long long address;
    PyObject *owner, *absent;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "KOO", &address, &owner, &absent)) return NULL;
    PyObject *context = PyTuple_Pack(2, owner, absent);
    PyObject *capsule =
        context ? PyCapsule_New((void *)(uintptr_t)address, OOR_BULK_CAPSULE, NULL) : NULL;
    if (!capsule) {
        Py_XDECREF(context);
        return NULL;
    }
    /* Neither fails for a capsule that is sound. */
    (void)PyCapsule_SetContext(capsule, context);
    (void)PyCapsule_SetDestructor(capsule, oor_bulk_gone);
    PyObject *made = PyCFunction_NewEx(&look, capsule, NULL);
    Py_DECREF(capsule);
    return made;
}

#endif
