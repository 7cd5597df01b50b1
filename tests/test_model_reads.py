"""Every way to read, of every kind of view, against a dict: whatever is written, flushed, compacted
and lost to a crash meanwhile.

Views: the store, snapshots, a read-only handle. Each holds a dict of what it must show. Walks stay
open while everything around them changes, and are stepped and sought now and then.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.engine import TINY, kill, scratch

import oor
from oor.errors import ClosedError, LimitError

EXPLORE = int(os.environ.get("OOR_EXPLORE", "1"))

AWKWARD = [
    b"",
    b"\0",
    b"a",
    b"a\0",
    b"ab",
    b"b\xff",
    b"b\xff\xff",
    b"c" * 300,
    b"\xff",
    b"\xff\xff",
]
NUMBERED = [b"n%03d" % number for number in range(700)]
"""More than the largest chunk of a scan."""
FEW = [*AWKWARD, *NUMBERED[:420:35]]
"""Most of what is asked and written: so few that they meet."""
KEYS = st.one_of(
    st.sampled_from(FEW), st.sampled_from(FEW), st.sampled_from(NUMBERED), st.binary(max_size=3)
)
VALUES = st.one_of(st.binary(max_size=20), st.sampled_from([b"", b"x" * 700, b"z" * 18_000]))
BOUNDS = st.none() | KEYS
LIMITS = st.sampled_from([None, None, 0, 1, 3, 100, 600])
PREFIXES = st.sampled_from(
    [b"", b"n", b"n0", b"n01", b"n012", b"a", b"b\xff", b"\xff", b"\xff\xff"]
)
SNAPSHOTS_MAX, WALKS_MAX = 3, 4

Content = dict[bytes, bytes]


@dataclass
class View:
    """Something to read from, and what it must show."""

    reads: Any
    content: Content


@dataclass(eq=False)
class OpenWalk:
    """An iterator under way: of pairs, keys, values, or pairs out of chunks of columns."""

    reads: Any
    owner: Any
    steps: Iterator[Any]
    left: list[Any]
    everything: list[tuple[bytes, bytes]]
    kind: str
    reverse: bool
    limit: int | None


def inside(
    content: Content, start: bytes | None, stop: bytes | None, reverse: bool
) -> list[tuple[bytes, bytes]]:
    keys = [
        key for key in content if (start is None or key >= start) and (stop is None or key < stop)
    ]
    return [(key, content[key]) for key in sorted(keys, reverse=reverse)]


def shaped(pairs: list[tuple[bytes, bytes]], kind: str) -> list[Any]:
    if kind in ("scan", "scan_columns", "items"):
        return pairs
    return [pair[0 if kind == "keys" else 1] for pair in pairs]


def pairs_of(chunk: Any) -> list[tuple[bytes, bytes]]:
    keys, values = chunk.key_offsets, chunk.value_offsets
    assert len(keys) == len(values) == len(chunk) + 1
    return [
        (bytes(chunk.keys[keys[i] : keys[i + 1]]), bytes(chunk.values[values[i] : values[i + 1]]))
        for i in range(len(chunk))
    ]


def walk_over(reads: Any, kind: str, **bounds: Any) -> tuple[Any, Iterator[Any]]:
    """The walk itself, and an iterator over its single items."""
    walk = getattr(reads, kind)(**bounds)
    if kind == "scan_columns":
        return walk, chain.from_iterable(map(pairs_of, walk))
    return walk, iter(walk)


KINDS = st.sampled_from(["scan", "keys", "values", "items", "scan_columns"])


class Reading(RuleBasedStateMachine):
    @initialize(
        memtable=st.sampled_from([2 << 10, 16 << 10, 1 << 20]),
        cache=st.sampled_from([0, 8 << 10, 64 << 10, 4 << 20]),
        block=st.sampled_from([256, 4096]),
        restart=st.sampled_from([1, 3, 16]),
        filter_bits=st.sampled_from([0, 2, 10]),
        prefix=st.sampled_from([0, 1, 3]),
    )
    def start(self, memtable, cache, block, restart, filter_bits, prefix):
        self.scratch = scratch()
        self.path = f"{self.scratch.__enter__()}/store"
        self.options = TINY | {
            "durability": "os",
            "memtable_bytes": memtable,
            "cache_bytes": cache,
            "block_bytes": block,
            "restart_interval": restart,
            "filter_bits": filter_bits,
            "prefix_filter_bytes": prefix,
        }
        self.db = oor.open(self.path, **self.options)
        self.content: Content = {}
        self.snapshots: list[View] = []
        self.walks: list[OpenWalk] = []
        self.reader: View | None = None

    def view(self, which: int) -> View:
        views = [View(self.db, self.content), *self.snapshots]
        if self.reader is not None:
            views.append(self.reader)
        return views[which % len(views)]

    # ---- what happens to the store ----

    def note(self, batch):
        for key, value in batch:
            if value is None:
                self.content.pop(key, None)
            else:
                self.content[key] = value

    @rule(key=KEYS, value=VALUES)
    def put(self, key, value):
        self.db.put(key, value)
        self.note([(key, value)])

    @rule(key=KEYS)
    def delete(self, key):
        self.db.delete(key)
        self.note([(key, None)])

    @rule(batch=st.lists(st.tuples(KEYS, st.none() | VALUES), min_size=1, max_size=8))
    def write(self, batch):
        self.db.write(batch)
        self.note(batch)

    @rule(
        first=st.integers(0, 600),
        count=st.sampled_from([50, 200, 700]),
        step=st.sampled_from([1, 2, 7]),
        value=st.none() | st.binary(min_size=1, max_size=4),
    )
    def write_many(self, first, count, step, value):
        batch = [
            (key, value if value is None else value + key)
            for key in NUMBERED[first : first + count : step]
        ]
        self.db.write(batch)
        self.note(batch)

    @rule()
    def flush(self):
        self.db.flush()

    @rule()
    def rotate(self):
        with self.db._state.lock:
            self.db._state.rotate_memtable()

    @rule()
    def compact(self):
        self.db.compact()

    @rule()
    def compact_once(self):
        self.db._background.compactor.once()

    @rule(crash=st.booleans())
    def reopen(self, crash):
        if crash:
            kill(self.db)
        else:
            self.db.close()
        own = [walk for walk in self.walks if not isinstance(walk.reads, oor.ReadOnlyDB)]
        for walk in own:
            self.has_ended(walk)
            self.walks.remove(walk)
        for snapshot in self.snapshots:
            with pytest.raises(ClosedError):
                snapshot.reads.get(b"a")
        with pytest.raises(ClosedError):
            self.db.get(b"a")
        self.snapshots = []
        self.db = oor.open(self.path, **self.options)

    def has_ended(self, walk: OpenWalk) -> None:
        """A walk of a store that is closed goes on no more; one at its end may stay there, and a
        short scan may have all its pairs in hand.
        """
        try:
            rest = list(walk.steps)
        except ClosedError:
            return
        assert rest == walk.left
        in_hand = walk.limit is not None and walk.kind in ("scan", "items", "values")
        assert in_hand or not rest, "a walk goes on behind the close of its store"

    @precondition(lambda self: len(self.snapshots) < SNAPSHOTS_MAX)
    @rule()
    def take_snapshot(self):
        self.snapshots.append(View(self.db.snapshot(), dict(self.content)))

    @precondition(lambda self: self.snapshots)
    @rule(which=st.integers(0, SNAPSHOTS_MAX))
    def close_snapshot(self, which):
        self.snapshots.pop(which % len(self.snapshots)).reads.close()

    @rule(how=st.sampled_from(["open", "refresh", "pickle"]))
    def open_reader(self, how):
        if self.reader is None or how == "open":
            reads = oor.open(self.path, read_only=True, cache_bytes=self.options["cache_bytes"])
            self.reader = View(reads, dict(self.content))
        elif how == "refresh":
            self.reader.reads.refresh()
            self.reader.content = dict(self.content)
        else:
            copy = pickle.loads(pickle.dumps(self.reader.reads))
            self.reader = View(copy, dict(self.content))

    # ---- what is asked ----

    @rule(which=st.integers(0, 9), keys=st.lists(KEYS, min_size=1, max_size=30), kind=st.sampled_from([bytes, bytearray, memoryview]))  # fmt: skip
    def ask_for_keys(self, which, keys, kind):
        view = self.view(which)
        reads, content = view.reads, view.content
        assert reads.get_many(list(map(kind, keys))) == [content.get(key) for key in keys]
        for key in keys[:8]:
            given, expected = kind(key), content.get(key)
            assert reads.get(given) == expected
            assert reads.get(given, b"default") == content.get(key, b"default")
            assert (given in reads) == (key in content)
            if expected is None:
                assert reads.get_into(given, bytearray(4)) is None
                with pytest.raises(KeyError):
                    reads[given]
                continue
            assert reads[given] == expected
            room = bytearray(b"?" * (len(expected) + 1))
            assert reads.get_into(given, room) == len(expected)
            assert room == expected + b"?"
            if expected:
                small = bytearray(len(expected) - 1)
                with pytest.raises(LimitError):
                    reads.get_into(given, small)
                assert not any(small)

    @rule(which=st.integers(0, 9), count=st.sampled_from([300, 1500]), at=st.integers(0, 600))
    def ask_for_many_keys(self, which, count, at):
        view = self.view(which)
        keys = [NUMBERED[(at + i * 37) % len(NUMBERED)] for i in range(count)]
        assert view.reads.get_many(keys) == [view.content.get(key) for key in keys]

    @rule(which=st.integers(0, 9), start=BOUNDS, stop=BOUNDS, reverse=st.booleans(), limit=LIMITS, kind=KINDS)  # fmt: skip
    def ask_for_a_range(self, which, start, stop, reverse, limit, kind):
        view = self.view(which)
        expected = inside(view.content, start, stop, reverse)
        bounds = {"start": start, "stop": stop, "reverse": reverse}
        _, found = walk_over(view.reads, kind, limit=limit, **bounds)
        assert list(found) == shaped(expected[:limit], kind)
        assert view.reads.first(**bounds) == (expected[0] if expected else None)

    @rule(
        which=st.integers(0, 9),
        ranges=st.lists(st.tuples(KEYS, KEYS), max_size=4),
        reverse=st.booleans(),
        limit=st.sampled_from([0, 1, 3, 600]),
        group=st.sampled_from([0, 1, 2]),
    )
    def ask_for_many_ranges(self, which, ranges, reverse, limit, group):
        view = self.view(which)
        expected = [inside(view.content, *one, reverse)[:limit] for one in ranges]
        for pairs in expected if group else ():
            head = pairs[0][0][:group] if pairs else b""
            size = next(
                (i for i, (key, _) in enumerate(pairs) if i and key[:group] != head), len(pairs)
            )
            del pairs[size if len(head) == group else 1 :]
        how = {"limit": limit, "group": group, "reverse": reverse}
        assert view.reads.scan_many(ranges, **how) == expected

    @rule(
        which=st.integers(0, 9),
        start=BOUNDS,
        stop=BOUNDS,
        reverse=st.booleans(),
        limit=LIMITS,
        keys_only=st.booleans(),
        steps=st.lists(
            st.tuples(st.sampled_from([0, 1, 3, 40, 600]), KEYS), min_size=1, max_size=4
        ),
    )
    def ask_with_seeks(self, which, start, stop, reverse, limit, keys_only, steps):
        view = self.view(which)
        kind = "keys" if keys_only else "scan"
        everything = inside(view.content, start, stop, reverse)
        walk, _ = walk_over(view.reads, kind, start=start, stop=stop, reverse=reverse, limit=limit)
        expected = shaped(everything[:limit], kind)
        for count, key in steps:
            assert list(islice(walk, count)) == expected[:count]
            walk.seek(key)
            found = [pair for pair in everything if (pair[0] <= key if reverse else pair[0] >= key)]
            expected = shaped(found[:limit], kind)
        assert list(walk) == expected

    @rule(which=st.integers(0, 9), prefix=PREFIXES, reverse=st.booleans(), limit=LIMITS, kind=KINDS)
    def ask_for_a_prefix(self, which, prefix, reverse, limit, kind):
        view = self.view(which)
        expected = [
            pair for pair in inside(view.content, None, None, reverse) if pair[0].startswith(prefix)
        ]
        _, found = walk_over(view.reads, kind, prefix=prefix, reverse=reverse, limit=limit)
        assert list(found) == shaped(expected[:limit], kind)
        first = view.reads.first(prefix=prefix, reverse=reverse)
        assert first == (expected[0] if expected else None)

    @rule(which=st.integers(0, 9))
    def ask_for_everything(self, which):
        view = self.view(which)
        keys = sorted(view.content)
        assert list(view.reads) == keys and list(reversed(view.reads)) == keys[::-1]
        assert len(view.reads) == len(keys) and bool(view.reads) == bool(keys)
        assert dict(view.reads) == view.content

    # ---- walks that stay open ----

    @precondition(lambda self: len(self.walks) < WALKS_MAX)
    @rule(which=st.integers(0, 9), start=BOUNDS, stop=BOUNDS, reverse=st.booleans(), limit=LIMITS, kind=KINDS)  # fmt: skip
    def begin_walk(self, which, start, stop, reverse, limit, kind):
        view = self.view(which)
        everything = inside(view.content, start, stop, reverse)
        owner, steps = walk_over(
            view.reads, kind, start=start, stop=stop, reverse=reverse, limit=limit
        )
        left = shaped(everything[:limit], kind)
        self.walks.append(
            OpenWalk(view.reads, owner, steps, left, everything, kind, reverse, limit)
        )

    @precondition(lambda self: self.walks)
    @rule(which=st.integers(0, 9), count=st.sampled_from([1, 5, 40, 200, 1000]))
    def step_walk(self, which, count):
        walk = self.walks[which % len(self.walks)]
        expected, walk.left = walk.left[:count], walk.left[count:]
        assert list(islice(walk.steps, count)) == expected

    @precondition(lambda self: any(walk.kind in ("scan", "keys") for walk in self.walks))
    @rule(which=st.integers(0, 9), key=KEYS)
    def seek_walk(self, which, key):
        able = [walk for walk in self.walks if walk.kind in ("scan", "keys")]
        walk = able[which % len(able)]
        walk.owner.seek(key)
        found = [
            pair for pair in walk.everything if (pair[0] <= key if walk.reverse else pair[0] >= key)
        ]
        walk.left = shaped(found[: walk.limit], walk.kind)
        walk.steps = iter(walk.owner)

    @precondition(lambda self: self.walks)
    @rule(which=st.integers(0, 9), close=st.booleans())
    def end_walk(self, which, close):
        walk = self.walks.pop(which % len(self.walks))
        if close and walk.kind != "values":
            walk.owner.close()
            if walk.kind != "scan_columns":
                assert list(walk.steps) == []
        else:
            assert list(walk.steps) == walk.left

    # ---- what holds at all times ----

    @invariant()
    def structures_are_sound(self):
        self.db._check()
        for snapshot in self.snapshots:
            snapshot.reads._check()
        if self.reader is not None:
            self.reader.reads._check()
        for walk in self.walks:
            if walk.kind != "values":
                walk.owner._check()

    def teardown(self):
        if hasattr(self, "db"):
            self.db.close()
            with oor.open(self.path, **self.options) as db:
                assert dict(db.scan()) == self.content
            if self.reader is not None:
                self.reader.reads.close()
            self.scratch.__exit__(None, None, None)


Reading.TestCase.settings = settings(
    max_examples=200 * EXPLORE, stateful_step_count=50, deadline=None, derandomize=True
)
TestReading = Reading.TestCase
