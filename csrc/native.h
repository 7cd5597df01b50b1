/* native.h: puts the Python functions of the compiled module where Python finds them.
 *
 * native_batch.h, native_bulk.h, native_read.h, native_put.h and native_commit.h make them; with
 * this file and native_pair.h they are all of the C half that knows Python.h.  Only the compiled
 * module includes them, behind the Python.h of cffi; the stable ABI is all they use.
 *
 * Ownership: the module owns what is put into it.
 * Threads:   called once, while the module is imported.
 * Invariants: none of its own. */
#ifndef OOR_NATIVE_H
#define OOR_NATIVE_H

#include "native_batch.h"
#include "native_bulk.h"
#include "native_commit.h"
#include "native_read.h"

static int oor_python_add(PyObject *module, PyMethodDef *method) {
    PyObject *made = module ? PyCFunction_NewEx(method, NULL, NULL) : NULL;
    int rc = made ? PyObject_SetAttrString(module, method->ml_name, made) : -1;
    Py_XDECREF(made);
    return rc;
}

int oor_python_install(void) {
    static PyMethodDef methods[] = {
        {"reads_of", oor_reads_of, METH_VARARGS, "reads_of(address: int, fail) -> (lookup, scan)"},
        {"get_of", oor_get_of, METH_VARARGS, "get_of(address: int, owner, single: dict) -> get"},
        {"pack", oor_batch_pack, METH_O, "pack(pairs: dict) -> bytes | None"},
        {"puts_of", oor_puts_of, METH_VARARGS, "puts_of(...) -> (put_easily, put_durably)"},
    };
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *module = PyImport_ImportModule("oor._native");
    int rc = oor_put_install();
    for (size_t i = 0; rc >= 0 && i < sizeof methods / sizeof methods[0]; i++)
        rc = oor_python_add(module, &methods[i]);
    if (rc < 0) PyErr_Clear();
    Py_XDECREF(module);
    PyGILState_Release(state);
    return rc;
}

#endif
