"""Workloads that are made, not written: every sequence of a few macro-operations on tiny limits.

A sequence is a tuple of names. Its crashes inside the last operation are its own; those before are
the crashes of a shorter sequence.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from oor.crashlab.run import Run, Watched, Workload

MACROS = (
    "put", "big", "delete", "batch", "sync", "rotate",
    "flush", "compact", "snapshot", "checkpoint", "close", "reopen",
)  # fmt: skip
"""`big` is larger than the tail; `reopen` is the death of the process and a recovery, or, after
`close`, an open in order."""

Sequence = tuple[str, ...]


def sequences(longest: int) -> Iterator[Sequence]:
    """All that make sense, short ones first: after a close comes a reopen."""
    for length in range(1, longest + 1):
        for names in itertools.product(MACROS, repeat=length):
            if all(
                after == "reopen" for name, after in itertools.pairwise(names) if name == "close"
            ):
                yield names


class Player:
    """Plays macro-operations; each write has a serial number in its values."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._serial = 0
        self.db: Watched = run.open()

    def play(self, name: str) -> None:
        """One macro-operation."""
        getattr(self, "_" + name)()

    def _value(self, size: int) -> bytes:
        self._serial += 1
        return b"%04d" % self._serial + b"v" * size

    def _put(self) -> None:
        self.db.put(b"key%d" % (self._serial % 3), self._value(30), durability="sync")

    def _big(self) -> None:
        self.db.put(b"key%d" % (self._serial % 3), self._value(14_000), durability="os")

    def _delete(self) -> None:
        self._serial += 1
        self.db.delete(b"key%d" % (self._serial % 3), durability="os")

    def _batch(self) -> None:
        value = self._value(200)
        self.db.write({b"key0": value + b"a", b"key1": None, b"key2": value + b"c",
                       b"key3": value + b"d"}, durability="os")  # fmt: skip

    def _sync(self) -> None:
        self.db.sync()

    def _rotate(self) -> None:
        self.db.rotate()

    def _flush(self) -> None:
        self.db.flush()

    def _compact(self) -> None:
        self.db.compact()

    def _snapshot(self) -> None:
        self.db.snapshot()

    def _checkpoint(self) -> None:
        self.db.checkpoint()

    def _close(self) -> None:
        self.db.close()

    def _reopen(self) -> None:
        self.db.kill()
        self.db = self._run.open()


def workload_of(names: Sequence) -> Workload:
    """The workload that plays these; a mark stands before the last."""

    def workload(run: Run) -> None:
        player = Player(run)
        for name in names[:-1]:
            player.play(name)
        run.history.mark("last")
        player.play(names[-1])

    return workload
