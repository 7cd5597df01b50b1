"""What a store was given and what it promised: the oracle that a crash is judged by.

It lives outside of the disk. A history is a list of batches in LSN order; marks in the recording
say when what was promised: "submit n" before batch n (from 1) is given, "ack n" once its call has
returned, "durable n" once everything up to n was promised durable, "look n" once a reader has seen
the state of look n.

Several threads may write. Each mark is then made by the thread that it is about, at that moment,
and n is the number under which the batch was given; LSN order is known when all have returned, and
`settle` brings the batches into it.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from oor.crashlab.recording import Event, Op, Recording

Mutations = dict[bytes, bytes | None]
State = dict[bytes, bytes]


class Promise(NamedTuple):
    """How many batches had been submitted, acknowledged, and promised durable."""

    submitted: int
    acked: int
    durable: int


@dataclass
class Look:
    """What a reader saw."""

    since: int
    """The newest batch whose call had returned before it looked; from `settle` on its place."""
    state: State
    shown: int = 0
    """The least number of batches that add up to it; 0 if none do, or nothing was there."""


@dataclass
class History:
    """Every batch given to a store, in LSN order, and marks of when what was promised.

    Threads: any may write and look; the rest is for when they have ended.
    """

    recording: Recording | None = None
    batches: list[Mutations] = field(default_factory=list)
    lsns: list[int] = field(default_factory=list)
    """Of each batch the last LSN; 0 where the call raised."""
    uncertain: set[int] = field(default_factory=set)
    """Batches whose call raised: each is there as a whole, or not at all."""
    looks: list[Look] = field(default_factory=list)
    _waited: set[int] = field(default_factory=set, repr=False)
    """Batches that are visible only once they are durable."""
    _places: list[int] = field(default_factory=list, repr=False)
    """Of each number its place in LSN order, where that is another one."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _key: tuple[int, bytes] | None = field(default=None, repr=False)

    def write(self, db: Any, batch: Mutations, mode: str, *, own: bool = False) -> int:
        """Give one batch to the store in one of its ways, and note what it promised; `own`: the
        mode is the store's, and the call does not name it.
        """
        with self._lock:
            self.batches.append(dict(batch))
            self.lsns.append(0)
            n = len(self.batches)
            if mode == "sync":
                self._waited.add(n)
        self.mark(f"submit {n}")
        try:
            lsn = give(db, batch, None if own else mode)
        except BaseException:
            self.uncertain.add(n)
            raise
        self.lsns[n - 1] = lsn
        self.mark(f"ack {n}")
        if mode == "sync":
            self.mark(f"synced {lsn}")
            self.mark(f"durable {n}")
        return lsn

    def newest(self) -> int:
        """The number of the batch with the highest LSN whose call has returned; 0: none has."""
        if self.uncertain:  # nobody gives batches beside one that may raise
            return len(self.batches)
        lsns = list(self.lsns)
        highest = max(lsns, default=0)
        return lsns.index(highest) + 1 if highest else 0

    def durable(self, n: int) -> None:
        """Note that a call has just promised everything up to batch `n`."""
        self.mark(f"durable {n}")

    def looked(self, since: int, state: State) -> None:
        """Note what a reader saw that began when batch `since` was the newest."""
        with self._lock:
            self.looks.append(Look(since, state))
            n = len(self.looks)
        self.mark(f"look {n}")

    def settle(self) -> None:
        """Bring what several threads gave into LSN order. REQUIRES: all have ended, none raised."""
        order = sorted(range(len(self.lsns)), key=self.lsns.__getitem__)
        if not self.uncertain and order != list(range(len(order))):
            self.batches = [self.batches[at] for at in order]
            self.lsns = [self.lsns[at] for at in order]
            self._places = [0] * len(order)
            for place, at in enumerate(order, 1):
                self._places[at] = place
            self._waited = {self._place(n) for n in self._waited}
        for look in self.looks:
            look.since = self._place(look.since)

    def _place(self, n: int) -> int:
        return self._places[n - 1] if n and self._places else n

    def wrong_looks(self, lengths: dict[int, list[int]]) -> list[str]:
        """What readers saw that they must not have seen, in sentences; `lengths`: as below."""
        wrong = []
        for n, look in enumerate(self.looks, 1):
            fitting = [m for m in lengths.get(digest(look.state), ()) if m >= look.since]
            look.shown = min(fitting, default=0)
            if not fitting:
                wrong.append(
                    f"look {n} sees no prefix of the history that holds batch {look.since}, which "
                    "was acknowledged before"
                )
        return wrong

    def mark(self, text: str) -> None:
        """Put a note between the operations, if they are being recorded."""
        if self.recording is not None:
            self.recording.mark(text)

    def states(self) -> Iterator[tuple[int, State]]:
        """(m, what the first m batches add up to), for each choice of the uncertain ones."""
        choices = sorted(self.uncertain)
        for absent_count in range(len(choices) + 1):
            for absent in itertools.combinations(choices, absent_count):
                state: State = {}
                yield 0, state
                for n, batch in enumerate(self.batches, 1):
                    if n not in absent:
                        apply(state, batch)
                    yield n, state

    def key(self) -> bytes:
        """Tells histories apart whose promises have the same numbers; kept for a finished one."""
        if self._key is None or self._key[0] != len(self.batches):
            text = repr((self.batches, sorted(self.uncertain))).encode()
            self._key = len(self.batches), blake2b(text, digest_size=8).digest()
        return self._key[1]

    def lengths(self) -> dict[int, list[int]]:
        """Digest of a state -> how long the prefixes of the history are that add up to it."""
        found: dict[int, list[int]] = {}
        for n, state in self.states():
            counts = found.setdefault(digest(state), [])
            if n not in counts:
                counts.append(n)
        return found

    def promises(self, events: Sequence[Event]) -> list[Promise]:
        """What had been promised after each number of events."""
        submitted = acked = durable = 0
        given = [False] * (len(self.batches) + 1)
        waited = [0, *sorted(self._waited)]
        found = [Promise(0, 0, 0)]
        for event in events:
            if event.op is Op.MARK:
                word, _, number = event.text.partition(" ")
                if word == "submit":
                    given[self._place(int(number)) - 1] = True
                    submitted = given.index(False, submitted)
                elif word == "ack":
                    acked = max(acked, self._place(int(number)))
                elif word == "durable":
                    durable = max(durable, self._place(int(number)))
                elif word == "look":
                    # What is seen is logged, and with it all before it; and what waits for its sync
                    # is seen only behind that, and so is all that was logged after it.
                    shown = self.looks[int(number) - 1].shown
                    acked = max(acked, shown)
                    durable = max(durable, waited[bisect_right(waited, shown) - 1])
            found.append(Promise(submitted, acked, durable))
        return found


def give(db: Any, batch: Mutations, mode: str | None) -> int:
    """One batch, by the call that fits it; returns the LSN of its last mutation."""
    if len(batch) == 1:
        ((key, value),) = batch.items()
        if value is None:
            return int(db.delete(key, durability=mode))
        return int(db.put(key, value, durability=mode))
    return int(db.write(batch, durability=mode))


def apply(state: State, batch: Mutations) -> None:
    """Let a batch happen to a state."""
    for key, value in batch.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value


def digest(state: State) -> int:
    """Of a set of pairs, in any order; the same within one process and its children."""
    return hash(frozenset(state.items()))
