"""Versions: immutable sets of live tables, and the edits that lead from one to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from oor.batch import BytesLike, all_bytes
from oor.errors import CorruptionError, FormatError, LimitError
from oor.native import Buffer, check, dumps, ffi, lib, loads, owned, reads_of
from oor.table import BlockCache, Table, TableMeta

LEVELS = 7
"""How many levels there are at the most, level 0 included."""

_COUNTERS = (
    "flushed_lsn", "log_start", "next_number", "epoch", "durable_lsn", "next_lsn", "checkpoint_lsn",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class VersionEdit:
    """A change to the live tables and to where recovery starts; None leaves a field as it is.

    A number that is both removed and added moves to another level.
    """

    add: tuple[tuple[int, TableMeta], ...] = ()
    """(level, table) pairs."""
    remove: tuple[int, ...] = ()
    """Table numbers."""
    flushed_lsn: int | None = None
    log_start: int | None = None
    """The number of the oldest segment that redo may need."""
    next_number: int | None = None
    epoch: int | None = None
    durable_lsn: int | None = None
    next_lsn: int | None = None
    checkpoint_lsn: int | None = None
    closed: bool = False
    """Written by a clean close; every other edit takes it back."""

    def dropped(self) -> tuple[int, ...]:
        """Tables that are gone after the edit; those that only move are not among them."""
        added = {meta.number for _, meta in self.add}
        return tuple(number for number in self.remove if number not in added)

    def to_json(self) -> dict[str, Any]:
        """The fields that are set."""
        content: dict[str, Any] = {}
        if self.add:
            content["add"] = [[level, meta.to_json()] for level, meta in self.add]
        if self.remove:
            content["remove"] = list(self.remove)
        for name in _COUNTERS:
            value = getattr(self, name)
            if value is not None:
                content[name] = value
        if self.closed:
            content["closed"] = True
        return content

    @classmethod
    def from_json(cls, content: Any) -> VersionEdit:
        """The reverse of `to_json`. FormatError: an unknown field, CorruptionError: nonsense."""
        if not isinstance(content, dict):
            raise CorruptionError(f"no version edit: {content!r:.200}")
        unknown = set(content) - {field.name for field in fields(cls)}
        if unknown:
            raise FormatError(
                f"a version edit with unknown fields: {', '.join(sorted(map(str, unknown)))}"
            )
        for name in _COUNTERS:
            if name in content and not _is_count(content[name]):
                raise CorruptionError(f"a version edit with {name} {content[name]!r:.80}")
        if "closed" in content and type(content["closed"]) is not bool:
            raise CorruptionError(f"a version edit with closed {content['closed']!r:.80}")
        plain = {name: content[name] for name in (*_COUNTERS, "closed") if name in content}
        return cls(
            add=_added(content.get("add", [])), remove=_removed(content.get("remove", [])), **plain
        )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def _added(items: Any) -> tuple[tuple[int, TableMeta], ...]:
    if not isinstance(items, list):
        raise CorruptionError(f"a version edit that adds {items!r:.80}")
    found = []
    for item in items:
        if (
            not isinstance(item, list)
            or len(item) != 2
            or not _is_count(item[0])
            or item[0] >= LEVELS
        ):
            raise CorruptionError(f"a version edit that adds {item!r:.80}")
        found.append((item[0], TableMeta.from_json(item[1])))
    return tuple(found)


def _removed(numbers: Any) -> tuple[int, ...]:
    if not isinstance(numbers, list) or not all(map(_is_count, numbers)):
        raise CorruptionError(f"a version edit that removes {numbers!r:.80}")
    return tuple(numbers)


class Version:
    """An immutable set of tables: level 0 newest first, deeper levels in key order and disjoint.

    Threads: any. Readers keep a version alive while they use it; its tables live as long.
    """

    __slots__ = ("__weakref__", "_level_bytes", "levels", "lookup", "raw", "scan")

    def __init__(self, levels: Sequence[Sequence[Table]] = ()) -> None:
        self.levels: tuple[tuple[Table, ...], ...] = tuple(map(tuple, levels))
        self._check()
        self._level_bytes = tuple(sum(table.meta.size for table in level) for level in self.levels)
        handles = [table.raw for table in self.tables()]
        # An empty level would only cost every lookup a glance, so C does not hear of it.
        counts = [n for level, n in enumerate(map(len, self.levels)) if n or not level]
        tables = ffi.new("oor_table *[]", handles)
        self.raw = owned(
            lib.oor_version_new(tables, ffi.new("uint32_t[]", counts), len(counts)),
            lib.oor_version_free,
        )
        self.lookup, self.scan = reads_of(self.raw)
        """See `native.reads_of`."""

    @classmethod
    def open(
        cls,
        directory: str,
        tables: Mapping[int, tuple[int, TableMeta]],
        cache: BlockCache,
        known: Mapping[int, Table] | None = None,
    ) -> Version:
        """Open all tables that a manifest names: number -> (level, meta). Errors as `Table.open`.

        `known` are tables that are open already.
        """
        opened: dict[int, Table] = {}
        for number, (_, meta) in tables.items():
            table = known.get(number) if known else None
            if table is None or table.meta != meta:
                table = Table.open(directory, meta, cache)
            opened[number] = table
        return cls().with_edit(VersionEdit(add=tuple(tables.values())), opened)

    def _check(self) -> None:
        """CorruptionError if a table is in twice or tables of a deeper level overlap."""
        numbers = [table.meta.number for table in self.tables()]
        if len(set(numbers)) != len(numbers):
            raise CorruptionError(f"a table is in a version twice: {sorted(numbers)}")
        if len(self.levels) > LEVELS:
            raise CorruptionError(f"{len(self.levels)} levels, the limit is {LEVELS}")
        for level, tables in enumerate(self.levels[1:], 1):
            for left, right in pairwise(tables):
                if left.meta.largest >= right.meta.smallest:
                    raise CorruptionError(
                        f"{left} and {right} overlap in level {level}", path=right.path
                    )

    def get(self, key: bytes, default: Any = None) -> Any:
        """The value of `key`, or `default` if it is absent or deleted. CorruptionError,
        StorageError.
        """
        found = self.lookup(key)
        return default if found is None else found

    def get_many(self, keys: Sequence[BytesLike]) -> list[bytes | None]:
        """The value of each key, None if absent or deleted, in the order asked. One call into C.

        TypeError if a key has no buffer.
        """
        try:
            work, buffer = borrowed = _batches.pop()
        except IndexError:
            work, buffer = borrowed = owned(lib.oor_lookups_new(), lib.oor_lookups_free), Buffer()
        raw = buffer.raw
        try:
            packed = dumps(keys if type(keys) is list else list(keys))
        except ValueError:
            packed = dumps(all_bytes(keys))
        code = lib.oor_version_get_many(self.raw, work, packed, len(packed), raw)
        if code < 0:
            if code == lib.OOR_E_LIMIT:
                all_bytes(keys)
            check(code)
        found: list[bytes | None] = loads(ffi.buffer(raw.data, raw.size))
        if raw.capacity <= _KEPT_MAX:
            _batches.append(borrowed)
        return found

    def get_into(self, key: bytes, buffer: Any) -> int | None:
        """Copy the value of `key` to a writable buffer and return its size; None: absent or
        deleted.

        LimitError, which says the size, if the buffer is smaller. One call into C, one copy.
        """
        with ffi.from_buffer("char[]", buffer, require_writable=True) as room:
            reader = ffi.new("oor_reader *", (self.raw, room, len(room)))
            found: int = lib.oor_read(reader, key, len(key))
            if found <= _LARGE:
                raise too_large(_LARGE - found, len(room))
            if found < lib.OOR_READ_DELETED:
                check(found - lib.OOR_READ_FAILED)
        return None if found < 0 else found

    def first(
        self, lower: bytes | None, upper: bytes | None, reverse: bool
    ) -> tuple[bytes, bytes] | None:
        """The first live pair with lower <= key < upper, or the last; None: there is none.

        One call into C, which looks into each table whose range and prefix filter allow it.
        """
        found = self.scan(lower, upper, lib.OOR_MERGE_REVERSE if reverse else 0, 1, 0)
        return found[0] if found else None

    def tables(self) -> Iterator[Table]:
        """All tables: level 0 newest first, then each deeper level in key order."""
        for level in self.levels:
            yield from level

    def table_numbers(self) -> frozenset[int]:
        """The numbers of all tables."""
        return frozenset(table.meta.number for table in self.tables())

    def table_count(self, level: int) -> int:
        """How many tables a level has; 0 for a level that there is not."""
        return len(self.levels[level]) if level < len(self.levels) else 0

    def level_bytes(self, level: int) -> int:
        """Size of a level's files in bytes; 0 for a level that there is not."""
        return self._level_bytes[level] if level < len(self._level_bytes) else 0

    def overlapping(self, level: int, smallest: bytes, largest: bytes) -> tuple[Table, ...]:
        """The tables of a level whose range meets [smallest, largest], in the level's order."""
        if level >= len(self.levels):
            return ()
        return tuple(
            table
            for table in self.levels[level]
            if table.meta.smallest <= largest and table.meta.largest >= smallest
        )

    def with_edit(self, edit: VersionEdit, opened: Mapping[int, Table]) -> Version:
        """The version after an edit; `opened` has the tables that it brings in, by number.

        CorruptionError if the edit removes a table that is not there, or leads to an overlap.
        """
        known = {table.meta.number: table for table in self.tables()}
        missing = set(edit.remove) - set(known)
        if missing:
            raise CorruptionError(f"an edit removes tables that are not there: {sorted(missing)}")
        removed = set(edit.remove)
        levels = [[t for t in level if t.meta.number not in removed] for level in self.levels]
        for level, meta in edit.add:
            table = opened.get(meta.number) or known.get(meta.number)
            if table is None:
                raise CorruptionError(f"an edit adds table {meta.number}, which was not opened")
            while len(levels) <= level:
                levels.append([])
            levels[level].append(table)
        while levels and not levels[-1]:
            levels.pop()
        for number, tables in enumerate(levels):
            if number == 0:
                tables.sort(key=_age)
            else:
                tables.sort(key=_start)
        return Version(levels)

    def __repr__(self) -> str:
        counts = ", ".join(str(len(level)) for level in self.levels)
        return f"Version({counts})"


def _age(table: Table) -> tuple[int, int]:
    return -table.meta.last_lsn, -table.meta.number


def _start(table: Table) -> bytes:
    return table.meta.smallest


# ---- memory that calls borrow, one call at a time ------------------------------------------------

_LARGE: int = lib.OOR_READ_LARGE
_KEPT_MAX = 1 << 20
_batches: list[tuple[Any, Buffer]] = []


def too_large(size: int, room: int) -> LimitError:
    """What `get_into` raises for a value of `size` bytes and a buffer of `room`."""
    return LimitError(f"the value has {size} bytes, the buffer {room}")
