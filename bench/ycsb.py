"""The core workloads A to F of the Yahoo! Cloud Serving Benchmark, as mixes for the stores here.

Which keys: zipfian with exponent 0.99 over all records, the frequent ones spread over the key
space; in D those that were inserted last. A scan is as long as chance has it, 1 to 100 records.
Writes are logged, not synced. A reader that needs a new transaction to see what was written gets
one after each write, since a mixed program reads what it has just written.

Source of the mixes: Cooper et al., Benchmarking Cloud Serving Systems with YCSB, SoCC 2010.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from bench.records import Data, Work, key_of
from bench.stores import Store

EXPONENT = 0.99
SCAN_MAX = 100

Operation = tuple[str, bytes, bytes, int]
"""(kind, key, value to write, records to scan)"""


@dataclass(frozen=True)
class Mix:
    """Shares of operations, in percent; reads are what is left of 100."""

    name: str
    what: str
    ops: int
    update: int = 0
    insert: int = 0
    scan: int = 0
    modify: int = 0
    latest: bool = False

    def make(self, store: Store, data: Data, number: int, ops: int) -> Work:
        """Operations of round `number`; rounds insert keys of their own."""
        operations = self.draw(data, number, ops)

        def work() -> None:
            for kind, key, value, count in operations:
                if kind == "scan":
                    store.range(key, count)
                    continue
                if kind in ("read", "modify"):
                    store.get(key)
                if kind != "read":
                    store.put(key, value)
                    store.renew()

        return work

    def draw(self, data: Data, number: int, ops: int) -> list[Operation]:
        """The same operations for the same round, whatever store."""
        rng = random.Random(f"{self.name} {number}")
        kinds = rng.choices(
            ("update", "insert", "scan", "modify", "read"),
            (self.update, self.insert, self.scan, self.modify,
             100 - self.update - self.insert - self.scan - self.modify),
            k=ops,
        )  # fmt: skip
        ranks = rng.choices(range(len(data.keys)), cum_weights=_weights(len(data.keys)), k=ops)
        order = _order(len(data.keys))
        next_new = len(data.keys) + number * ops
        found: list[Operation] = []
        for i, kind in enumerate(kinds):
            key = key_of(2 * order[ranks[i]])
            if kind == "insert":
                key = key_of(2 * next_new)
                next_new += 1
            elif self.latest:
                # Below what this round has inserted come the records that were there before.
                new = next_new - len(data.keys) - number * ops
                at = ranks[i]
                key = key_of(2 * (next_new - 1 - at)) if at < new else data.keys[new - 1 - at]
            value = data.pairs[(number * ops + i) % len(data.pairs)][1]
            found.append((kind, key, value, rng.randint(1, SCAN_MAX)))
        return found


@lru_cache(maxsize=2)
def _weights(count: int) -> Sequence[float]:
    """Cumulated weights of the ranks 0 to count - 1."""
    return list(accumulate((rank + 1) ** -EXPONENT for rank in range(count)))


@lru_cache(maxsize=2)
def _order(count: int) -> Sequence[int]:
    """Which record has which rank."""
    return random.Random(count).sample(range(count), count)


MIXES = (
    Mix("a", "YCSB A: half reads, half updates, logged", 5000, update=50),
    Mix("b", "YCSB B: 95 % reads, 5 % updates, logged", 10_000, update=5),
    Mix("c", "YCSB C: reads", 20_000),
    Mix("d", "YCSB D: 95 % reads of what is new, 5 % inserts, logged", 10_000, insert=5,
        latest=True),
    Mix("e", "YCSB E: 95 % scans of 1 to 100 records, 5 % inserts, logged", 400, scan=95,
        insert=5),
    Mix("f", "YCSB F: half reads, half reads followed by an update, logged", 5000, modify=50),
)  # fmt: skip
