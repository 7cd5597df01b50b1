/* native_bulk.h: the lookup of a memtable in columns as a Python function, `get` as of a dict.
 *
 * Ownership: the function's capsule holds what owns the columns, and the dict over them; values are
 *            copied.
 * Threads:   called with the interpreter's lock, which is given away where a writer adds columns.
 * Invariants: none of its own. */
#ifndef OOR_NATIVE_BULK_H
#define OOR_NATIVE_BULK_H

#include "bulk.h"

#define OOR_BULK_CAPSULE "oor.bulk"

/* (owner, single) is the capsule's context. */
static void oor_bulk_gone(PyObject *capsule) {
    Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

static PyObject *oor_bulk_value_of(oor_bulk *bulk, PyObject *key, PyObject *otherwise) {
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(key, &bytes, &size) < 0) return NULL;
    oor_bulk_value found;
    if (!oor_bulk_try_get(bulk, (const uint8_t *)bytes, (size_t)size, &found)) {
        PyThreadState *thread = PyEval_SaveThread();
        found = oor_bulk_get(bulk, (const uint8_t *)bytes, (size_t)size);
        PyEval_RestoreThread(thread);
    }
    if (found.size >= 0)
        return PyBytes_FromStringAndSize((const char *)found.data, (Py_ssize_t)found.size);
    PyObject *result = found.size == OOR_BULK_DELETED ? Py_None : otherwise;
    Py_INCREF(result);
    return result;
}

static PyObject *oor_bulk_get_as_dict(PyObject *capsule, PyObject *const *given, Py_ssize_t count) {
    oor_bulk *bulk = PyCapsule_GetPointer(capsule, OOR_BULK_CAPSULE);
    if (!bulk) return NULL;
    if (count != 1 && count != 2)
        return PyErr_Format(PyExc_TypeError, "get takes a key and a default, not %zd", count);
    PyObject *single = PyTuple_GetItem(PyCapsule_GetContext(capsule), 1);
    if (PyDict_Size(single)) {
        PyObject *value = PyDict_GetItemWithError(single, given[0]);
        Py_XINCREF(value);
        if (value || PyErr_Occurred()) return value;
    }
    return oor_bulk_value_of(bulk, given[0], count == 2 ? given[1] : Py_None);
}

/* get_of(address, owner, single) */
static PyObject *oor_get_of(PyObject *self, PyObject *arguments) {
    static PyMethodDef get = {"get", (PyCFunction)(void (*)(void))oor_bulk_get_as_dict,
                              METH_FASTCALL, "get(key: bytes, default=None) -> bytes | None"};
    unsigned long long address;
    PyObject *owner, *single;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "KOO!", &address, &owner, &PyDict_Type, &single)) return NULL;
    PyObject *context = PyTuple_Pack(2, owner, single);
    PyObject *capsule =
        context ? PyCapsule_New((void *)(uintptr_t)address, OOR_BULK_CAPSULE, NULL) : NULL;
    if (!capsule) {
        Py_XDECREF(context);
        return NULL;
    }
    /* Neither fails for a capsule that is sound. */
    (void)PyCapsule_SetContext(capsule, context);
    (void)PyCapsule_SetDestructor(capsule, oor_bulk_gone);
    PyObject *made = PyCFunction_NewEx(&get, capsule, NULL);
    Py_DECREF(capsule);
    return made;
}

#endif
