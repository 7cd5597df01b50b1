"""Allocations of the C half that fail, one after the other: an error, and nothing half done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

OOM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
static _Thread_local long left;
static _Thread_local int forever, hits;
void oom_arm(long nth, int for_ever) { left = nth; forever = for_ever; hits = 0; }
int oom_hits(void) { return hits; }
static int fails(void *caller) {
    Dl_info info;
    if (left <= 0 || !dladdr(caller, &info) || !strstr(info.dli_fname, "_native")) return 0;
    if (--left > 0) return 0;
    left = forever ? 1 : 0;
    hits++;
    return 1;
}
#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define CALLER __builtin_return_address(0)
void *malloc(size_t n) { REAL(malloc); return fails(CALLER) ? NULL : real(n); }
void *realloc(void *p, size_t n) { REAL(realloc); return fails(CALLER) ? NULL : real(p, n); }
void *aligned_alloc(size_t a, size_t n) { REAL(aligned_alloc); return fails(CALLER) ? NULL : real(a, n); }
char *strdup(const char *s) { REAL(strdup); return fails(CALLER) ? NULL : real(s); }
"""

OOM_CHILD = """
import ctypes, os, sys
import oor
shim = ctypes.CDLL(None)
path = sys.argv[1]
options = dict(segment_bytes=32 << 10, tail_bytes=16 << 10, memtable_bytes=1 << 20, block_bytes=256,
               table_bytes=4 << 10, background=False, max_immutables=1000, l0_slowdown=1000,
               l0_stop=1000)
model, unsure, failures = {}, [], 0
def put(db, n):
    return lambda: db.put(b"k%d" % n, b"v" * 100), {b"k%d" % n: b"v" * 100}
def batch(db, n):
    pairs = {b"b%d.%d" % (n, i): b"w" * 400 for i in range(60)}
    return lambda: db.write(pairs), pairs
def other(name):
    return lambda db, n: (getattr(db, name), {})
def reads(db, n):
    return lambda: (db.get(b"k1"), db.get_many([b"k1", b"k2"]), list(db.scan())), {}
work = [put, batch, other("flush"), reads, other("checkpoint"), put, other("compact"), reads]
for forever in (0, 1):
    for make in work:
        for nth in range(1, 40):
            db = oor.open(path, **options)
            call, pairs = make(db, nth)
            shim.oom_arm(ctypes.c_long(nth), forever)
            try:
                call()
                ok = True
            except (MemoryError, oor.OorError):
                ok = False
                failures += 1
            hits = shim.oom_hits()
            shim.oom_arm(ctypes.c_long(0), 0)
            found = dict(db.scan())
            if ok:
                model.update(pairs)
            elif all(found.get(key) == value for key, value in pairs.items()):
                model.update(pairs)
            assert found == model, (make, nth, forever, len(found), len(model))
            try:
                db.close()
            except oor.OorError:
                pass
            with oor.open(path, **options) as db:
                again = dict(db.scan())
                if again != model and all(again.get(k) == v for k, v in pairs.items()):
                    model.update(pairs)
                assert again == model, (make, nth, forever, len(again), len(model))
            if not hits:
                break
print(failures)
"""


@pytest.fixture(scope="module")
def oom_shim(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oom")
    (folder / "oom.c").write_text(OOM)
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", "oom.so", "oom.c", "-ldl"]
    if subprocess.run(command, cwd=folder, capture_output=True).returncode:
        pytest.skip("the shim that lets allocations fail does not compile here")
    return folder / "oom.so"


def test_an_allocation_that_fails_anywhere_leaves_log_and_memtable_the_same(tmp_path, oom_shim):
    done = subprocess.run(
        [sys.executable, "-c", OOM_CHILD, tmp_path / "store"],
        env=os.environ | {"LD_PRELOAD": str(oom_shim)}, cwd=ROOT, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 20
