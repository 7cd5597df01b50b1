/* native_pair.h: two Python functions over one C object.
 *
 * Ownership: the functions hold the capsule, and it the object.
 * Threads:   called with the interpreter's lock.
 * Invariants: none of its own. */
#ifndef OOR_NATIVE_PAIR_H
#define OOR_NATIVE_PAIR_H

/* A tuple of both, or NULL with an exception set; takes the capsule over. */
static PyObject *oor_pair_of(PyMethodDef *one, PyMethodDef *other, PyObject *capsule) {
    PyObject *first = PyCFunction_NewEx(one, capsule, NULL);
    PyObject *second = PyCFunction_NewEx(other, capsule, NULL);
    PyObject *both = first && second ? PyTuple_Pack(2, first, second) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(second);
    Py_DECREF(capsule);
    return both;
}

#endif
