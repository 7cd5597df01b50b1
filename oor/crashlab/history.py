"""What a store was given and what it promised: the oracle that a crash is judged by.

It lives outside of the disk. A history is a list of batches in LSN order; marks in the recording
say when what was promised: "submit n" before batch n (from 1) is given, "ack n" once its call has
returned, "durable n" once everything up to n was promised durable.
"""

from __future__ import annotations

import itertools
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
class History:
    """Every batch given to a store, in LSN order, and marks of when what was promised."""

    recording: Recording | None = None
    batches: list[Mutations] = field(default_factory=list)
    lsns: list[int] = field(default_factory=list)
    """Of each batch the last LSN; 0 where the call raised."""
    uncertain: set[int] = field(default_factory=set)
    """Batches whose call raised: each is there as a whole, or not at all."""
    _key: tuple[int, bytes] | None = field(default=None, repr=False)

    def write(self, db: Any, batch: Mutations, mode: str) -> int:
        """Give one batch to the store in one of its ways, and note what it promised."""
        self.batches.append(dict(batch))
        n = len(self.batches)
        self.mark(f"submit {n}")
        try:
            lsn = give(db, batch, mode)
        except BaseException:
            self.lsns.append(0)
            self.uncertain.add(n)
            raise
        self.lsns.append(lsn)
        self.mark(f"ack {n}")
        if mode == "sync":
            self.mark(f"synced {lsn}")
            self.mark(f"durable {n}")
        return lsn

    def all_durable(self) -> None:
        """Note that a call has just promised everything."""
        self.mark(f"durable {len(self.batches)}")

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
        found = [Promise(0, 0, 0)]
        for event in events:
            if event.op is Op.MARK:
                word, _, number = event.text.partition(" ")
                if word == "submit":
                    submitted = int(number)
                elif word == "ack":
                    acked = int(number)
                elif word == "durable":
                    durable = int(number)
            found.append(Promise(submitted, acked, durable))
        return found


def give(db: Any, batch: Mutations, mode: str) -> int:
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
