/* native_commit.h: a put that waits for the device, as a Python function beside native_put.h's.
 *
 * put := take a token, log and wait without the interpreter's lock, show what has become durable
 *
 * A thread that is alone, and one that another has served, need nothing else.  Whoever has to show
 * what others logged, and every failure, is left to oor/commit.py: the answer is then a tuple.
 *
 * Ownership: as in native_put.h.
 * Threads:   called with the interpreter's lock, which is given away while it logs and waits.
 * Invariants:
 * (1) From before it is logged until it is shown the pair stands among those that wait.
 * (2) It is shown here only if it comes next and nobody holds the commit lock, in one step of the
 *     interpreter, as a put that waits for nothing. */
#ifndef OOR_NATIVE_COMMIT_H
#define OOR_NATIVE_COMMIT_H

#include "native_pair.h"
#include "native_put.h"

/* What is left to do behind a commit: (its answer, its token); token 0: to look whether the
 * memtable or the log is full. */
static PyObject *oor_commit_rest(int64_t answer, uint64_t token) {
    return Py_BuildValue("(LK)", (long long)answer, (unsigned long long)token);
}

/* The number in an attribute; -1 with an exception set. */
static int64_t oor_commit_number(PyObject *owner, PyObject *name) {
    PyObject *number = PyObject_GetAttr(owner, name);
    int64_t value = number ? PyLong_AsLongLong(number) : -1;
    Py_XDECREF(number);
    return value;
}

static int oor_commit_set(PyObject *owner, PyObject *name, int64_t value) {
    PyObject *number = PyLong_FromLongLong(value);
    int rc = number ? PyObject_SetAttr(owner, name, number) : -1;
    Py_XDECREF(number);
    return rc;
}

/* What the pair takes in a memtable. */
static int64_t oor_commit_size(const oor_put_call *call) {
    return call->puts->entry_size + call->key_size + call->value_size;
}

/* Shows a pair whose LSN comes next in this memtable.  Returns what the memtable then takes, or -1
 * where it is not shown, or not known to be: to show it again does no harm. */
static int64_t oor_commit_show(PyObject *memtable, const oor_put_call *call, int64_t lsn) {
    int64_t size = -1;
    PyObject *data, *noted;
    if (oor_put_dict(memtable, &data, &noted) &&
        oor_commit_number(memtable, oor_names[LAST_LSN]) + 1 == lsn &&
        (size = oor_commit_number(memtable, oor_names[SIZE])) >= 0) {
        size += oor_commit_size(call);
        if (oor_put_store(call, data, noted) < 0 ||
            oor_commit_set(memtable, oor_names[SIZE], size) < 0 ||
            oor_commit_set(memtable, oor_names[LAST_LSN], lsn) < 0)
            size = -1;
    }
    oor_put_let_go(data, noted);
    return size;
}

/* After the device: the LSN where nothing is left to do. */
static PyObject *oor_commit_finish(const oor_put_call *call, PyObject *token, uint64_t number,
                                   int64_t lsn, const oor_wal_durables *found) {
    if (lsn < 0) return oor_commit_rest(lsn, number);
    int waits = PyDict_Contains(call->puts->waiting, token);
    if (!waits) return PyLong_FromLongLong(lsn);
    int64_t size = -1;
    if (waits > 0 && found->count == 1 && found->frame[0].token == number) {
        PyObject *memtable = oor_put_memtable(call->state);
        size = memtable ? oor_commit_show(memtable, call, lsn) : -1;
        Py_XDECREF(memtable);
    }
    if (size < 0 || PyDict_DelItem(call->puts->waiting, token) < 0) {
        PyErr_Clear(); /* whoever shows it meets what there is to meet */
        return oor_commit_rest(lsn, number);
    }
    uint64_t position = oor_wal_publish(call->puts->wal, (uint64_t)lsn);
    int64_t rotate_at = oor_commit_number(call->state, oor_names[ROTATE_AT]);
    if (size >= call->puts->memtable_bytes || (int64_t)position >= rotate_at) {
        PyErr_Clear(); /* of a number that was not to be had */
        return oor_commit_rest(lsn, 0);
    }
    return PyLong_FromLongLong(lsn);
}

static PyObject *oor_commit_put(PyObject *capsule, PyObject *const *given, Py_ssize_t count) {
    static uint64_t tokens = 1ULL << 62; /* above all that Python gives */
    oor_put_call call;
    int rc = oor_put_begin(&call, capsule, given, count);
    if (rc <= 0) return rc < 0 ? NULL : PyLong_FromLong(0);
    PyObject *result = NULL, *token = PyLong_FromUnsignedLongLong(++tokens);
    uint64_t number = tokens;
    PyObject *pairs = PyDict_New(), *entry = NULL;
    if (token && pairs && PyDict_SetItem(pairs, call.key, call.value) == 0)
        entry = Py_BuildValue("(OL)", pairs, (long long)oor_commit_size(&call));
    if (entry && PyDict_SetItem(call.puts->waiting, token, entry) == 0) {
        oor_wal_durables found;
        PyThreadState *thread = PyEval_SaveThread();
        int64_t lsn = oor_wal_commit(call.puts->wal, call.key_bytes, call.key_size,
                                     call.value_bytes, call.value_size, number, &found);
        PyEval_RestoreThread(thread);
        result = oor_commit_finish(&call, token, number, lsn, &found);
    }
    Py_XDECREF(entry);
    Py_XDECREF(pairs);
    Py_XDECREF(token);
    return result;
}

/* puts_of(address, owner, absent, waiting, memtable_bytes, entry_size) */
static PyObject *oor_puts_of(PyObject *self, PyObject *arguments) {
    static PyMethodDef easily = {"put_easily", (PyCFunction)(void (*)(void))oor_put, METH_FASTCALL,
                                 "put_easily(state, key, value) -> the LSN; 0: the long way"};
    static PyMethodDef durably = {"put_durably", (PyCFunction)(void (*)(void))oor_commit_put,
                                  METH_FASTCALL,
                                  "put_durably(state, key, value) -> the LSN; 0: the long way; or "
                                  "(answer of the log, token): what is left to do"};
    (void)self;
    PyObject *capsule = oor_puts_new(arguments);
    if (!capsule) return NULL;
    return oor_pair_of(&easily, &durably, capsule);
}

#endif
