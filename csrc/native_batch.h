/* native_batch.h: a batch as the operations of a frame, as a Python function.
 *
 * batch := op*      of a dict, in its order; bytes: frame.c
 *
 * One look at each pair in the place of lists, joins and arrays of sizes: half of what a durable
 * batch of a hundred pairs takes besides the device.
 *
 * Ownership: the bytes are the caller's.
 * Threads:   called with the interpreter's lock, which it keeps, so large batches are refused.
 * Invariants:
 * (1) Between the look that adds up and the one that copies no code written in Python runs. */
#ifndef OOR_NATIVE_BATCH_H
#define OOR_NATIVE_BATCH_H

#include "frame.h"

/* What is copied in one go, about 100 us. */
enum { OOR_BATCH_BYTES_MAX = 1 << 20 };

/* The bytes that an operation takes; 0: this is none, or one that the limits refuse. */
static size_t oor_batch_op_size(PyObject *key, PyObject *value) {
    if (!PyBytes_CheckExact(key)) return 0;
    if (value != Py_None && !PyBytes_CheckExact(value)) return 0;
    Py_ssize_t key_size = PyBytes_Size(key), value_size = 0;
    if (value != Py_None) value_size = PyBytes_Size(value);
    if (key_size > OOR_KEY_SIZE_MAX || value_size > OOR_VALUE_SIZE_MAX) return 0;
    return (size_t)(OOR_OP_HEADER_SIZE + key_size + value_size);
}

static PyObject *oor_batch_pack(PyObject *self, PyObject *pairs) {
    (void)self;
    PyObject *key, *value;
    size_t size = 0;
    if (!PyDict_CheckExact(pairs)) Py_RETURN_NONE;
    for (Py_ssize_t at = 0; PyDict_Next(pairs, &at, &key, &value);) {
        size_t more = oor_batch_op_size(key, value);
        size += more;
        if (!more || size > OOR_BATCH_BYTES_MAX) Py_RETURN_NONE;
    }
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (!made) return NULL;
    uint8_t *begin = (uint8_t *)PyBytes_AsString(made), *out = begin;
    for (Py_ssize_t at = 0; PyDict_Next(pairs, &at, &key, &value);) {
        uint32_t value_size = OOR_TOMBSTONE;
        const uint8_t *value_bytes = NULL;
        if (value != Py_None) {
            value_size = (uint32_t)PyBytes_Size(value);
            value_bytes = (const uint8_t *)PyBytes_AsString(value);
        }
        out = oor_op_encode(out, (const uint8_t *)PyBytes_AsString(key),
                            (uint32_t)PyBytes_Size(key), value_bytes, value_size);
    }
    assert((size_t)(out - begin) == size);
    return made;
}

#endif
