"""The incident, replayed: kill, recover, compare; several times on one store, which grows."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import oor
from oor.demo.catalogue import Catalogue
from oor.demo.scratch import as_file
from oor.errors import OorError
from oor.recovery import RecoveryReport
from oor.registry import keys
from oor.registry.elset import VALUE_HEADER_SIZE

BATCH_SETS = 256
MEMTABLE_BYTES = 8 << 20
"""Small, so that flushes and compactions are under way when the process dies."""
WITHOUT_LOG = "memory"
_DELAY_MAX = 0.004
_SILENCE_MAX = 60.0


@dataclass(slots=True)
class Round:
    """One life of the child: what it acknowledged before it died, and what was found."""

    mode: str
    number: int
    first_set: int
    """Of the input, where this life began."""
    acknowledged: int = 0
    """Sets of this life."""
    acknowledged_lsn: int = 0
    seconds: float = 0.0
    """The child's own, from its first set to its last acknowledgement."""
    checked: int = 0
    """Sets that were acknowledged so far, in this life and those before."""
    found: int = 0
    """Of those, the ones that are there, byte for byte."""
    unacknowledged: int = 0
    """Sets of this life that are there although the child died before it could say so."""
    missing: int = 0
    """Sets that an earlier recovery had found without an acknowledgement, and that are gone now."""
    recovery: RecoveryReport | None = None
    recovery_seconds: float = 0.0

    @property
    def lost(self) -> int:
        """Acknowledged, or seen after an earlier recovery, and not there."""
        return self.checked - self.found + self.missing


@dataclass(slots=True)
class Incident:
    """All rounds in one mode."""

    mode: str
    rounds: list[Round] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """Different sets acknowledged, over all rounds."""
        return self.rounds[-1].checked

    @property
    def found(self) -> int:
        """Of those, how many were there, byte for byte, after the last recovery."""
        return self.rounds[-1].found

    @property
    def lost(self) -> int:
        """The most that were missing after any of the recoveries."""
        return max(one.lost for one in self.rounds)

    @property
    def rate(self) -> float:
        """Sets a second that the child acknowledged."""
        seconds = sum(one.seconds for one in self.rounds)
        return sum(one.acknowledged for one in self.rounds) / seconds if seconds else 0.0

    @property
    def recovery_seconds(self) -> float:
        """The longest recovery."""
        return max(one.recovery_seconds for one in self.rounds)


class Replay:
    """Runs rounds of one mode against one store in `directory`.

    `moments` decides when the child dies: the same seed asks for the same sets, but where exactly
    SIGKILL falls is up to the machine, as it should be.
    """

    def __init__(
        self, catalogue: Catalogue, directory: str, mode: str, rounds: int, moments: random.Random
    ) -> None:
        self._catalogue = catalogue
        self._path = os.path.join(directory, f"{mode}.oor")
        self._mode = mode
        self._share = max(1, catalogue.count // rounds)
        self._moments = moments
        self._acknowledged: set[bytes] = set()
        self._kept: set[bytes] = set()
        """Keys that nobody was told of, and that were there after a recovery: they must stay."""
        self._next_set = 0

    def round(self, number: int) -> Round:
        """One life and death."""
        if self._next_set >= self._catalogue.count:
            self._next_set = 0
        one = Round(self._mode, number, self._next_set)
        target = int(self._share * (0.2 + 0.7 * self._moments.random()))
        self._live_and_die(one, target, self._moments.random() * _DELAY_MAX)
        self._acknowledged.update(
            self._catalogue.keys[one.first_set : one.first_set + one.acknowledged]
        )
        if self._mode == WITHOUT_LOG:
            # There is no file to open: what the dict of a dead process held is nowhere.
            one.checked = len(self._acknowledged)
            self._next_set = one.first_set + one.acknowledged
        else:
            self._recover_and_compare(one)
        return one

    def _live_and_die(self, one: Round, target: int, delay: float) -> None:
        """Start the child, wait for `target` acknowledged sets and `delay` seconds, kill it."""
        command = [sys.executable, "-m", "oor.demo.child", self._path, self._mode]
        command += [str(BATCH_SETS), str(MEMTABLE_BYTES)]
        with as_file(self._catalogue.rest_from(one.first_set)) as stdin:
            # In a session of its own: an interrupt from the keyboard is for the parent.
            child = subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.PIPE, start_new_session=True
            )
        assert child.stdout is not None
        pipe = child.stdout.fileno()
        told = b""
        try:
            while _sets_in(told) < target and not told.endswith(b"end\n"):
                if not select.select([pipe], [], [], _SILENCE_MAX)[0]:
                    raise OorError(
                        f"the child has said nothing for {_SILENCE_MAX:.0f} s", path=self._path
                    )
                heard = os.read(pipe, 1 << 16)
                if not heard:
                    raise OorError(
                        f"the child ended by itself, with {child.wait()}", path=self._path
                    )
                told += heard
            time.sleep(delay)
        finally:
            child.send_signal(signal.SIGKILL)
            # What it said before it died is said: the pipe outlives it.
            told += child.stdout.read()
            child.stdout.close()
            child.wait()
        reports = [line.split() for line in told.split(b"\n")[:-1] if line != b"end"]
        if reports:
            lsn, sets, seconds = reports[-1]
            one.acknowledged_lsn, one.acknowledged, one.seconds = (
                int(lsn),
                int(sets),
                float(seconds),
            )

    def _recover_and_compare(self, one: Round) -> None:
        began = time.perf_counter()
        with oor.open(self._path, durability=self._mode, memtable_bytes=MEMTABLE_BYTES) as db:
            one.recovery_seconds = time.perf_counter() - began
            one.recovery = db.recovery
            self._compare(one, db)

    def _compare(self, one: Round, db: oor.DB) -> None:
        """Every acknowledged set: key, lines byte for byte, an LSN that had been acknowledged."""
        acknowledged = list(self._acknowledged)
        one.checked = len(acknowledged)
        for key, value in _values(db, acknowledged):
            if value is not None and self._is_whole(key, value):
                one.found += 0 < int.from_bytes(value[:8], "little") <= one.acknowledged_lsn
        one.missing = sum(
            not self._is_whole(key, value) for key, value in _values(db, list(self._kept))
        )
        self._count_the_rest(one, db)

    def _is_whole(self, key: bytes, value: bytes | None) -> bool:
        return value is not None and value[VALUE_HEADER_SIZE:] == self._catalogue.texts[key]

    def _count_the_rest(self, one: Round, db: oor.DB) -> None:
        """What is there beyond the acknowledged must be what comes next in the input."""
        found = set(db.keys(prefix=keys.ELSET_PREFIX))
        rest = found - self._acknowledged - self._kept
        index = one.first_set + one.acknowledged
        while index < self._catalogue.count and self._catalogue.keys[index] in found:
            self._kept.add(self._catalogue.keys[index])
            index += 1
        if rest - self._kept:
            raise OorError(
                f"{len(rest - self._kept)} sets are there that come later in the input",
                path=self._path,
            )
        one.unacknowledged = len(rest)
        self._kept -= self._acknowledged
        self._next_set = index


def _values(db: oor.DB, names: list[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
    for at in range(0, len(names), 10_000):
        some = names[at : at + 10_000]
        yield from zip(some, db.get_many(some), strict=True)


def _sets_in(told: bytes) -> int:
    """The sets that the last whole report counts."""
    end = told.rfind(b"\n")
    if end < 0:
        return 0
    fields = told[told.rfind(b"\n", 0, end) + 1 : end].split()
    return int(fields[1]) if len(fields) == 3 else 0
