"""What the workloads store: 9-byte keys, all even numbers so that the odd ones are absent between
them; 138-byte values, the two lines of a synthetic element set, all different.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cached_property

from bench.stores import Pair
from oor.registry.synthetic import SyntheticCatalogue

RECORDS = 200_000
VALUE_BYTES = 138

Work = Callable[[], object]


class Data:
    """The records of a run, the same for every store and every run."""

    def __init__(self, records: int = RECORDS) -> None:
        values = element_values(records)
        self.pairs: list[Pair] = [(key_of(2 * i), value) for i, value in enumerate(values)]
        self.keys = [key for key, _ in self.pairs]
        self._draw = random.Random(7)

    @cached_property
    def shuffled(self) -> list[Pair]:
        """The pairs in an order that is no order."""
        return self._draw.sample(self.pairs, len(self.pairs))

    def some_keys(self, count: int) -> list[bytes]:
        """Random keys that are there."""
        return self._draw.choices(self.keys, k=count)

    def absent_keys(self, count: int) -> list[bytes]:
        """Random keys that are not there, each between two that are."""
        return [key_of(2 * self._draw.randrange(len(self.keys)) + 1) for _ in range(count)]


def key_of(number: int) -> bytes:
    """9 bytes, in the order of the numbers."""
    return b"%09d" % number


def element_values(count: int) -> list[bytes]:
    """Both lines of `count` element sets, without line ends: 138 bytes each."""
    issues = -(-count // 50_000)
    values: list[bytes] = []
    for chunk in SyntheticCatalogue(min(count, 50_000), issues).chunks():
        lines = chunk.split(b"\r\n")
        values += [
            lines[i] + lines[i + 1]
            for i in range(len(lines) - 1)
            if len(lines[i]) == len(lines[i + 1]) == VALUE_BYTES // 2 and lines[i][:2] == b"1 "
        ]
    assert len(values) >= count
    return values[:count]


class Session:
    """A workload on one store, from the first round to the last."""

    def prepare(self, number: int) -> Work:
        """The work of round `number`, ready to run."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the store."""
