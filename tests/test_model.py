"""The store against a dict with history, under any sequence of calls, reopenings and crashes."""

from __future__ import annotations

import contextlib
import os

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from support.engine import TINY, content, kill, scratch

import oor

KEYS = st.sampled_from([b"", b"a", b"a\0", b"ab", b"b", b"b\xff", b"b\xff\xff", b"c" * 300, b"\xff", b"\xff\xff", b"key1",
                        b"key2", b"key3"])  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=20), st.sampled_from([b"", b"x" * 700, b"y" * 5000, b"z" * 18_000])
)
EXPLORE = int(os.environ.get("OOR_EXPLORE", "1"))
MODES = st.sampled_from(["sync", "interval", "os"])
BOUNDS = st.one_of(st.none(), KEYS)


class Model(RuleBasedStateMachine):
    snapshots = Bundle("snapshots")

    @initialize(
        padding=st.booleans(), direct=st.booleans(), memtable=st.sampled_from([4 << 10, 16 << 10])
    )
    def start(self, padding, direct, memtable):
        self.scratch = scratch()
        self.root = self.scratch.__enter__()
        self.path = f"{self.root}/store"
        self.options = TINY | {
            "wal_block_padding": padding,
            "direct_io": direct,
            "memtable_bytes": memtable,
        }
        self.db = oor.open(self.path, **self.options)
        self.expected = {}
        self.last_lsn = 0

    def note(self, lsn, batch):
        assert lsn >= self.last_lsn + len(batch)
        self.last_lsn = lsn
        for key, value in batch:
            if value is None:
                self.expected.pop(key, None)
            else:
                self.expected[key] = value

    @rule(key=KEYS, value=VALUES, mode=MODES)
    def put(self, key, value, mode):
        self.note(self.db.put(key, value, durability=mode), [(key, value)])

    @rule(key=KEYS, mode=MODES)
    def delete(self, key, mode):
        self.note(self.db.delete(key, durability=mode), [(key, None)])

    @rule(
        batch=st.lists(st.tuples(KEYS, st.one_of(st.none(), VALUES)), min_size=1, max_size=6),
        mode=MODES,
    )
    def write(self, batch, mode):
        self.note(self.db.write(batch, durability=mode), batch)

    @rule(batch=st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=4), mode=MODES)
    def write_columns(self, batch, mode):
        keys, values = zip(*batch, strict=True)
        columns = oor.native.Columns(list(keys), list(values))
        lsn = self.db.write_columns(
            columns.keys, columns.key_sizes, columns.values, columns.value_sizes, durability=mode
        )
        self.note(lsn, batch)

    @rule()
    def flush(self):
        self.db.flush()

    @rule()
    def compact(self):
        self.db.compact()
        assert all(level.tombstones == 0 for level in self.db.stats().levels)

    @rule()
    def compact_once(self):
        self.db._background.compactor.once()

    @rule()
    def checkpoint(self):
        self.db.checkpoint()
        # LSNs that a recovery left out keep their segment until something behind them is flushed.
        assert self.db.stats().log.segment_count <= 2

    @rule()
    def sync(self):
        assert self.db.sync() == self.db.last_lsn

    @rule(target=snapshots)
    def snapshot(self):
        return self.db.snapshot(), dict(self.expected)

    @rule(taken=consumes(snapshots))
    def look_at_snapshot(self, taken):
        snapshot, expected = taken
        with contextlib.suppress(oor.ClosedError):  # taken before a close
            assert content(snapshot) == expected
            for key in (b"a", b"key1", b"\xff"):
                assert snapshot.get(key) == expected.get(key)
            snapshot.close()

    @rule(start=BOUNDS, stop=BOUNDS, reverse=st.booleans(), limit=st.sampled_from([None, 0, 1, 3]))
    def scan(self, start, stop, reverse, limit):
        keys = sorted(
            (
                k
                for k in self.expected
                if (start is None or k >= start) and (stop is None or k < stop)
            ),
            reverse=reverse,
        )[:limit]
        found = list(self.db.scan(start, stop, reverse=reverse, limit=limit))
        assert found == [(key, self.expected[key]) for key in keys]
        assert list(self.db.keys(start, stop, reverse=reverse, limit=limit)) == keys

    @rule(prefix=KEYS, reverse=st.booleans())
    def scan_prefix(self, prefix, reverse):
        keys = sorted((k for k in self.expected if k.startswith(prefix)), reverse=reverse)
        assert list(self.db.keys(prefix=prefix, reverse=reverse)) == keys

    @rule(keys=st.lists(KEYS, max_size=6))
    def get(self, keys):
        assert self.db.get_many(keys) == [self.expected.get(key) for key in keys]
        for key in keys:
            assert self.db.get(key, b"default") == self.expected.get(key, b"default")
            assert (key in self.db) == (key in self.expected)

    @rule()
    def reopen(self):
        self.db.close()
        self.db = oor.open(self.path, **self.options)
        assert self.db.recovery.clean
        assert content(self.db) == self.expected

    @rule()
    def crash(self):
        kill(self.db)
        self.db = oor.open(self.path, **self.options)
        assert content(self.db) == self.expected

    @invariant()
    def memtables_are_sound(self):
        for memtable in self.db._state.view.memtables():
            memtable._check()

    def teardown(self):
        if hasattr(self, "db"):
            self.db.close()
            with oor.open(self.path, **self.options) as db:
                assert content(db) == self.expected
            self.scratch.__exit__(None, None, None)


Model.TestCase.settings = settings(
    max_examples=120 * EXPLORE, stateful_step_count=40, deadline=None, derandomize=True
)
TestModel = Model.TestCase
