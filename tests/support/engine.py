"""Stores with tiny limits, ways to end one without closing it, and what a history of batches adds
up to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import oor
from oor import native
from oor.crashlab import run
from oor.crashlab.history import History, digest

__all__ = ["History", "digest"]

UNHINDERED: dict[str, Any] = {"max_immutables": 1000, "l0_slowdown": 1000, "l0_stop": 1000}
"""Without background threads nobody but the test makes room."""

TINY: dict[str, Any] = {name: value for name, value in run.TINY.items() if name != "log_threads"}
"""Everything happens soon: rotations, flushes, compactions of several levels. The limits of the
crash laboratory, with the log's threads.
"""

ROOMY = TINY | {"memtable_bytes": 1 << 20}
"""The same, and all that a test writes stays in the log."""


def kill(db: oor.DB) -> None:
    """Let go of everything as a process that dies does: nothing is flushed or sealed.

    Twice is fine.
    """
    if db._state.begin_close():
        db._background.stop()
        db._let_go()


def copy_of(directory: str | os.PathLike[str], target: str | os.PathLike[str]) -> str:
    """The directory as a crash of the process would leave it now."""
    shutil.copytree(directory, target)
    return os.fspath(target)


def content(db: Any) -> dict[bytes, bytes]:
    """All pairs, by a scan."""
    return dict(db.scan())


def files(directory: str, *suffixes: str) -> list[str]:
    """The paths of the files whose names end so, in order of name."""
    return [
        os.path.join(directory, name)
        for name in sorted(os.listdir(directory))
        if not suffixes or name.endswith(suffixes)
    ]


def read(path: str) -> bytes:
    """All bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def write(path: str, data: bytes) -> None:
    """Put these bytes in place of the file's."""
    with open(path, "wb") as file:
        file.write(data)


def flip(path: str, offset: int, mask: int = 0xFF) -> None:
    """Invert bits of one byte."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    """A directory where syncs cost nothing, if this machine has one; gone afterwards."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="oor-", dir=base) as folder:
        yield folder


def filled(
    path: str, count: int = 40, mode: str = "sync", size: int = 300, **options: Any
) -> dict[bytes, bytes]:
    """A store that was killed after `count` puts in segment 1 and further; returns what it
    holds.
    """
    db = oor.open(path, **ROOMY | options)
    for i in range(count):
        db.put(b"%05d" % i, b"v" * size, durability=mode)
    found = content(db)
    kill(db)
    return found


def frames_of(path: str) -> list[tuple[int, int, int, int]]:
    """(offset, size, first LSN, operations) of each frame of a segment, by its own checksums."""
    data = read(path)
    raw = native.ffi.new("oor_frame_info *")
    at, found = 4096, []
    while native.lib.oor_frame_inspect(data, len(data), at, raw):
        found.append((at, raw.size, raw.first_lsn, raw.op_count))
        at += raw.size
    return found


def without_tail(path: str) -> None:
    """What a power loss leaves of the shared tail at the worst: nothing."""
    tail = os.path.join(path, "TAIL")
    write(tail, bytes(os.path.getsize(tail)))
