"""A database in memory with the calls that the registry uses, for tests of the registry alone."""

from __future__ import annotations

import itertools

from sortedcontainers import SortedDict

from oor.registry import keys as keys_module

ABSENT_SIZE = 0xFFFFFFFF


class FakeDB:
    """Pairs in order; LSNs from 1. Nothing is durable. `batches`: the objects of each write."""

    def __init__(self, path="fake.oor"):
        self.path = str(path)
        self.pairs = SortedDict()
        self.last_lsn = 0
        self.batches = []

    def put(self, key, value, *, durability=None):
        self.last_lsn += 1
        self.pairs[bytes(key)] = bytes(value)
        return self.last_lsn

    def get(self, key, default=None):
        return self.pairs.get(key, default)

    def get_many(self, keys):
        return [self.pairs.get(key) for key in keys]

    def scan(self, start=None, stop=None, *, prefix=None, reverse=False, limit=None):
        if prefix is not None:
            start, stop = prefix, prefix[:-1] + bytes([prefix[-1] + 1])
        return itertools.islice(self._walk(start, stop, reverse), limit)

    def scan_many(self, ranges, *, limit=1, group=0, reverse=False):
        return [self._group(*one, limit, group, reverse) for one in ranges]

    def _group(self, start, stop, limit, group, reverse):
        pairs = list(self.scan(start, stop, reverse=reverse, limit=limit))
        return [pair for pair in pairs if pair[0][:group] == pairs[0][0][:group]]

    def _walk(self, start, stop, reverse):
        """Looks at the pairs of the moment at each step: who wants one moment takes a snapshot."""
        inclusive = True, False
        while True:
            step = self.pairs.irange(start, stop, inclusive=inclusive, reverse=reverse)
            key = next(iter(step), None)
            if key is None:
                return
            yield key, self.pairs[key]
            if reverse:
                stop = key
            else:
                start, inclusive = key, (False, False)

    def snapshot(self):
        return FakeSnapshot(self)

    def write_columns(self, keys, key_sizes, values, value_sizes, *, stamp=False, durability=None):
        assert len(key_sizes) == len(value_sizes) > 0
        assert sum(key_sizes) == len(keys)
        assert sum(size for size in value_sizes if size != ABSENT_SIZE) == len(values)
        key_at = value_at = 0
        numbers = set()
        for key_size, value_size in zip(key_sizes, value_sizes, strict=True):
            self.last_lsn += 1
            if value_size == ABSENT_SIZE:
                self.pairs.pop(bytes(keys[key_at : key_at + key_size]), None)
                key_at += key_size
                continue
            if stamp:
                values[value_at : value_at + 8] = self.last_lsn.to_bytes(8, "little")
            key = bytes(keys[key_at : key_at + key_size])
            if key[0] == keys_module.Kind.ELEMENT_SET:
                numbers.add(int.from_bytes(key[1:5], "big"))
            self.pairs[key] = bytes(values[value_at : value_at + value_size])
            key_at += key_size
            value_at += value_size
        self.batches.append(numbers)
        return self.last_lsn


class FakeSnapshot(FakeDB):
    def __init__(self, db):
        super().__init__(db.path)
        self.pairs = db.pairs.copy()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
