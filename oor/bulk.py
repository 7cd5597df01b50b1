"""What a memtable holds once it has taken columns: pairs in C (csrc/bulk.c) under pairs in a dict.

A batch in columns stays columns: no object is made of a pair before somebody asks for it, and a
flush takes them from C to C. It stands in for the dict of a memtable, with the calls that are made
of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any, Final

from oor.native import Buffer, Columns, Ops, check, ffi, get_of, lib, owned, sizes

MANY: Final = 256
"""Pairs of a batch from which on columns are worth their place beside a dict."""
MOVED: Final = 4096
"""Pairs of a dict that are put under columns at the most."""


class Absent:
    """The type of `ABSENT`: not here, ask further down. (None is an answer: deleted.)"""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()

Value = bytes | None
_ABSENT_SIZE: Final[int] = lib.OOR_BULK_ABSENT
_KEYS_AT_ONCE: Final = 1 << 16


class Laid:
    """A batch in columns: memory of its owner's, good until the batch is applied."""

    __slots__ = ("_arguments", "_buffer", "count")

    def __init__(self, arguments: tuple[Any, ...], buffer: Buffer) -> None:
        self._arguments = arguments
        """As `Columns.arguments` gives them."""
        self._buffer = buffer
        self.count: int = arguments[0]

    def load(self) -> dict[bytes, Value]:
        """The pairs as objects."""
        check(lib.oor_columns_to_dict(*self._arguments, self._buffer.raw))
        pairs: dict[bytes, Value] = self._buffer.load()
        return pairs

    def shares_key(self, others: dict[bytes, Value]) -> bool:
        """Whether a key of it is among others, or may be: those of large dicts are not looked
        for.
        """
        count, keys, keys_size, key_sizes = self._arguments[:4]
        if len(others) > count:
            return True
        found = list(others)
        joined = b"".join(found)
        return check(
            lib.oor_columns_share_key(
                count, keys, keys_size, key_sizes, len(found), joined, len(joined),
                ffi.from_buffer("uint32_t[]", sizes(found)),
            )
        ) > 0  # fmt: skip

    def add_to(self, raw: Any) -> None:
        """Add it to the C half of a `Bulk`."""
        check(lib.oor_bulk_add(raw, *self._arguments))


class Packed:
    """A batch that is there as the operations of a frame and as a dict: for columns, as `Laid`."""

    __slots__ = ("_ops", "_pairs", "count")

    def __init__(self, ops: Ops, pairs: dict[bytes, Value]) -> None:
        self._ops = ops.ops
        self._pairs = pairs
        self.count = ops.count

    def load(self) -> dict[bytes, Value]:
        """See `Laid.load`."""
        return self._pairs

    def shares_key(self, others: dict[bytes, Value]) -> bool:
        """See `Laid.shares_key`."""
        # Of two views the shorter one is walked.
        return not self._pairs.keys().isdisjoint(others.keys())

    def add_to(self, raw: Any) -> None:
        """See `Laid.add_to`."""
        check(lib.oor_bulk_add_ops(raw, self.count, self._ops, len(self._ops)))


class Bulk:
    """Columns, and a dict of the pairs that came one by one after them.

    Threads: `add`, `update` and item assignment under the commit lock; reads by anyone at any time.
    Invariants: (1) The dict's value of a key is newer than that in the columns. (2) A key that came
    to the dict first is never in the columns.
    """

    __slots__ = ("_filled", "get", "raw", "single")

    def __init__(self) -> None:
        self.raw: Any = owned(lib.oor_bulk_new(), lib.oor_bulk_free)
        self.single: dict[bytes, Value] = {}
        self._filled = False
        self.get = get_of(self.raw, self.single)
        """The value of a key, None if it is deleted, a default if it is not here: as of a dict."""

    @classmethod
    def over(cls, pairs: dict[bytes, Value]) -> Bulk:
        """One that has these pairs as columns, in their order."""
        bulk = cls()
        if pairs:
            check(
                lib.oor_bulk_add(bulk.raw, *Columns(list(pairs), list(pairs.values())).arguments())
            )
        return bulk

    def add(self, laid: Laid | Packed) -> bool:
        """Take a batch, all of it at once for readers; False: the dict must have it.

        A key of the dict would hide what is newer. Cost: about 100 ns a pair, in C.
        """
        if self.single and laid.shares_key(self.single):
            return False
        laid.add_to(self.raw)
        return True

    def add_to(self, run: Any) -> None:
        """Give a run what the dict does not hide. REQUIRES: nobody adds any more."""
        hidden = list(self.single)
        joined = b"".join(hidden)
        found = ffi.from_buffer("uint32_t[]", sizes(hidden))
        check(lib.oor_run_add_bulk(run, self.raw, len(hidden), joined, len(joined), found))

    # ---- as of a dict ----------------------------------------------------------------------------

    def get_many(self, keys: list[bytes]) -> list[Value | Absent]:
        """`get` of each, ABSENT where it is not here, in one crossing."""
        found = ffi.new("oor_bulk_value[]", max(len(keys), 1))
        joined = b"".join(keys)
        key_sizes = ffi.from_buffer("uint32_t[]", sizes(keys))
        # The dict last: what came to it meanwhile is the newer.
        check(lib.oor_bulk_get_many(self.raw, len(keys), joined, len(joined), key_sizes, found))
        values: list[Value | Absent] = [
            ABSENT if one.size == _ABSENT_SIZE else _value(one) for one in found[0 : len(keys)]
        ]
        if single := self.single:
            later = map(single.get, keys, repeat(ABSENT))
            values = [old if new is ABSENT else new for old, new in zip(values, later, strict=True)]
        return values

    def update(self, pairs: dict[bytes, Value]) -> None:
        """Set values as one step for readers."""
        self.single.update(pairs)

    def __setitem__(self, key: bytes, value: Value) -> None:
        self.single[key] = value

    def __len__(self) -> int:
        """A key in both places counts twice."""
        return len(self.single) + int(lib.oor_bulk_count(self.raw))

    def __bool__(self) -> bool:
        # Every get asks, and nothing ever goes from here.
        if not self._filled:
            self._filled = bool(self.single) or lib.oor_bulk_count(self.raw) > 0
        return self._filled

    def __iter__(self) -> Iterator[bytes]:
        """Each key once."""
        yield from self.column_keys(0)
        yield from self.first_seen(list(self.single))

    # ---- keys ------------------------------------------------------------------------------------

    def column_keys(self, start: int) -> list[bytes]:
        """The keys of the columns in the order in which they came, from the one at `start` on."""
        keys: list[bytes] = []
        buffer = Buffer()
        while True:
            check(lib.oor_bulk_keys(self.raw, start + len(keys), _KEYS_AT_ONCE, buffer.raw))
            more: list[bytes] = buffer.load()
            keys += more
            if len(more) < _KEYS_AT_ONCE:
                return keys

    def first_seen(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those of some keys of the dict that are not in the columns."""
        get = get_of(self.raw, {})
        return [key for key in keys if get(key, ABSENT) is ABSENT]


def _value(found: Any) -> Value:
    size: int = found.size
    return bytes(ffi.buffer(found.data, size)) if size > 0 else b"" if size == 0 else None
