/* native.h: a lookup as a Python function, the one piece of the C half that knows Python.h.
 *
 * Only the compiled module includes it, behind the Python.h of cffi; the stable ABI is all it uses.
 * A get costs less than its call through cffi did, 350 ns with two arguments too many, a copy of
 * the value and the interpreter's lock given away: most of what a get takes, so it has this door of
 * its own.
 *
 * Ownership: a function's capsule holds its version.
 * Threads:   called with the interpreter's lock, which is given away only to read from a disk.
 * Invariants:
 * (1) What a disk has to be asked for is read without the interpreter's lock. */
#ifndef OOR_NATIVE_H
#define OOR_NATIVE_H

#include "version.h"

#define OOR_CAPSULE "oor.version"

static void oor_lookup_gone(PyObject *capsule) {
    oor_version_free(PyCapsule_GetPointer(capsule, OOR_CAPSULE));
    Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

/* fail(code) raises; whatever it does, there is no value. */
static PyObject *oor_lookup_failed(PyObject *capsule, int code) {
    PyObject *fail = PyCapsule_GetContext(capsule);
    PyObject *none = PyObject_CallFunction(fail, "i", code);
    if (none) PyErr_SetString(PyExc_SystemError, "a failed lookup that raised nothing");
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
    if (found < 0) return oor_lookup_failed(capsule, found);
    if (found != OOR_FOUND) Py_RETURN_NONE;
    PyObject *result = PyBytes_FromStringAndSize((const char *)value.data, (Py_ssize_t)value.size);
    oor_cached_release(search.held);
    return result;
}

static PyObject *oor_lookup_of(PyObject *self, PyObject *arguments) {
    static PyMethodDef method = {"lookup", oor_lookup_key, METH_O,
                                 "lookup(key: bytes) -> bytes | None"};
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
    (void)PyCapsule_SetDestructor(capsule, oor_lookup_gone);
    PyObject *made = PyCFunction_NewEx(&method, capsule, NULL);
    Py_DECREF(capsule);
    return made;
}

int oor_python_install(void) {
    static PyMethodDef method = {"lookup_of", oor_lookup_of, METH_VARARGS,
                                 "lookup_of(address: int, fail) -> lookup"};
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *module = PyImport_ImportModule("oor._native");
    PyObject *made = module ? PyCFunction_NewEx(&method, NULL, NULL) : NULL;
    int rc = made ? PyObject_SetAttrString(module, "lookup_of", made) : -1;
    if (rc < 0) PyErr_Clear();
    Py_XDECREF(made);
    Py_XDECREF(module);
    PyGILState_Release(state);
    return rc;
}

#endif
