"""Stores with tiny limits, ways to end one without closing it, and what a history of batches adds
up to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import oor
from support.recording import Recording

Mutations = dict[bytes, bytes | None]

UNHINDERED: dict[str, Any] = {"max_immutables": 1000, "l0_slowdown": 1000, "l0_stop": 1000}
"""Without background threads nobody but the test makes room."""

TINY: dict[str, Any] = {
    "segment_bytes": 32 << 10,
    "tail_bytes": 16 << 10,
    "memtable_bytes": 8 << 10,
    "table_bytes": 4 << 10,
    "block_bytes": 256,
    "level_base_bytes": 16 << 10,
    "l0_trigger": 2,
    "background": False,
} | UNHINDERED
"""Everything happens soon: rotations, flushes, compactions of several levels."""


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


@dataclass
class History:
    """Every batch given to a store, in LSN order, and marks in the recording of when what was
    promised.

    Marks: "submit n" before batch n (from 1) is given, "ack n" once its call has returned, "durable
    n" once it was promised durable.
    """

    recording: Recording | None = None
    batches: list[Mutations] = field(default_factory=list)
    lsns: list[int] = field(default_factory=list)

    def write(self, db: oor.DB, batch: Mutations, mode: str) -> int:
        """Give one batch to the store in one of its ways, and note what it promised."""
        self.batches.append(dict(batch))
        n = len(self.batches)
        self.mark(f"submit {n}")
        if len(batch) == 1:
            ((key, value),) = batch.items()
            if value is None:
                lsn = db.delete(key, durability=mode)
            else:
                lsn = db.put(key, value, durability=mode)
        else:
            lsn = db.write(batch, durability=mode)
        self.lsns.append(lsn)
        self.mark(f"ack {n}")
        if mode == "sync":
            self.mark(f"durable {n}")
        return lsn

    def all_durable(self) -> None:
        """Note that a call has just promised everything."""
        self.mark(f"durable {len(self.batches)}")

    def mark(self, text: str) -> None:
        if self.recording is not None:
            self.recording.mark(text)

    def state(self, count: int) -> dict[bytes, bytes]:
        """What the first `count` batches add up to."""
        found: dict[bytes, bytes] = {}
        for batch in self.batches[:count]:
            for key, value in batch.items():
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value
        return found

    def lengths(self) -> dict[int, list[int]]:
        """Digest of a state -> how long the prefixes of the history are that add up to it."""
        found: dict[int, list[int]] = {}
        state: dict[bytes, bytes] = {}
        for n in range(len(self.batches) + 1):
            if n:
                for key, value in self.batches[n - 1].items():
                    if value is None:
                        state.pop(key, None)
                    else:
                        state[key] = value
            found.setdefault(digest(state), []).append(n)
        return found


def digest(state: dict[bytes, bytes]) -> int:
    """Of a set of pairs, in any order."""
    return hash(frozenset(state.items()))
