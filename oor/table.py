"""Tables: one SSTable file each, written once, then only read. Bytes: docs/formats/table.md.

The work is in C (csrc/table_build.c, table_read.c, cache.c); here are what the manifest records of
a table, the handles, and the writing of a run of pairs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from oor import names
from oor.errors import CorruptionError
from oor.native import Columns, check, ffi, lib, owned

_U64 = 1 << 64
_KEY_FIELDS = ("smallest", "largest")


@dataclass(frozen=True, slots=True)
class TableOptions:
    """The shape of the tables that are written. Readers take it from the file."""

    block_size: int = 4096
    """Bytes of a data block before it is closed; 64 to 65,536."""
    restart_interval: int = 16
    """Entries from one whole key to the next."""
    filter_bits: int = 10
    """Bits of the filter for each key; 0 makes none."""
    prefix_size: int = 0
    """The filter takes in so many first bytes of each key too, for scans of a prefix; 0: none."""
    codec: int = lib.OOR_CODEC_NONE
    """How blocks are packed that become smaller by an eighth; CodecError for one whose library is
    not here."""
    codec_level: int = 1
    """How hard zstd tries, 1 to 19."""

    def raw(self) -> Any:
        """The C form, to be passed to a call."""
        return ffi.new("oor_table_options *", asdict(self))


@dataclass(frozen=True, slots=True)
class TableMeta:
    """What the manifest says about a table; opening the table checks it against the file."""

    number: int
    size: int
    """Bytes of the file."""
    uid: int
    """Of the content: another file of the same name and size has another."""
    entries: int
    """Tombstones included."""
    tombstones: int
    key_bytes: int
    value_bytes: int
    first_lsn: int
    last_lsn: int
    smallest: bytes
    largest: bytes
    written: int = 0
    """When its newest entry was flushed, in seconds of Unix time; only the manifest knows. 0: an
    older build flushed it."""

    def to_json(self) -> dict[str, Any]:
        """The fields, keys as hex."""
        content = asdict(self)
        for name in _KEY_FIELDS:
            content[name] = content[name].hex()
        if not self.written:
            del content["written"]
        return content

    @classmethod
    def from_json(cls, content: Any) -> TableMeta:
        """The reverse of `to_json`. CorruptionError for anything that no table can be."""
        expected = {field.name for field in fields(cls)}
        if not isinstance(content, dict) or set(content) | {"written"} != expected:
            raise CorruptionError(f"no description of a table: {content!r:.200}")
        values = dict(content)
        try:
            for name in _KEY_FIELDS:
                values[name] = bytes.fromhex(values[name])
        except (TypeError, ValueError):
            raise CorruptionError(f"a table with a broken {name} key: {content!r:.200}") from None
        meta = cls(**values)
        meta._check()
        return meta

    def _check(self) -> None:
        numbers = [
            getattr(self, field.name) for field in fields(self) if field.name not in _KEY_FIELDS
        ]
        sound = all(type(number) is int and 0 <= number < _U64 for number in numbers)
        if (
            not sound
            or self.number == 0
            or not 0 <= self.tombstones <= self.entries
            or self.entries == 0
            or self.first_lsn > self.last_lsn
            or self.smallest > self.largest
        ):
            raise CorruptionError(f"a table that contradicts itself: {self!r:.200}")

    @classmethod
    def of(cls, props: Any) -> TableMeta:
        """From the `oor_table_props` that C filled."""
        return cls(
            number=props.number,
            size=props.file_size,
            uid=props.uid,
            entries=props.entries,
            tombstones=props.tombstones,
            key_bytes=props.key_bytes,
            value_bytes=props.value_bytes,
            first_lsn=props.first_lsn,
            last_lsn=props.last_lsn,
            smallest=bytes(ffi.buffer(props.smallest, props.smallest_size)),
            largest=bytes(ffi.buffer(props.largest, props.largest_size)),
        )


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache holds and what it saved. Sizes are bytes; the counts are kept without a lock."""

    capacity: int
    used: int
    """By blocks."""
    pinned: int
    """By filters and indexes of open tables."""
    hits: int
    misses: int
    evictions: int
    filter_checks: int
    filter_skips: int
    """Tables that were not looked into because their filter said no."""
    filter_misses: int
    """Tables that were looked into for nothing."""
    lookups: int
    """Keys that were looked up in tables."""
    tables_touched: int
    """Tables that those lookups looked into: where a block was read."""


class BlockCache:
    """Memory for blocks, filters and indexes of tables: at most `capacity` bytes.

    Threads: any. It lives until the last table that uses it is gone.
    """

    __slots__ = ("raw",)

    def __init__(self, capacity: int) -> None:
        self.raw = owned(lib.oor_cache_new(capacity), lib.oor_cache_free)

    def stats(self) -> CacheStats:
        """Sizes and counts as of now."""
        found = ffi.new("oor_cache_stats *")
        lib.oor_cache_read_stats(self.raw, found)
        return CacheStats(
            **{field.name: getattr(found, field.name) for field in fields(CacheStats)}
        )

    def _check(self) -> None:
        check(lib.oor_cache_check(self.raw))


class Table:
    """An open table.

    Threads: any. `close` gives up this handle; versions and scans that use the table keep it open.
    """

    __slots__ = ("__weakref__", "_raw", "meta", "path")

    def __init__(self, path: str, meta: TableMeta, raw: Any) -> None:
        self.path = path
        self.meta = meta
        self._raw = raw

    @classmethod
    def open(cls, directory: str, meta: TableMeta, cache: BlockCache) -> Table:
        """Open the file that `meta` describes and verify all of it but the data blocks.

        CorruptionError if it is damaged or another table than `meta` says, FormatError if this
        build does not read it, StorageError if it is not there.
        """
        path = os.path.join(directory, names.table_name(meta.number))
        out = ffi.new("oor_table **")
        raw_path = os.fsencode(path)
        check(lib.oor_table_open(raw_path, meta.number, meta.size, meta.uid, cache.raw, out))
        table = cls(path, meta, ffi.gc(out[0], lib.oor_table_close, meta.size // 50))
        table._check()
        return table

    @property
    def codec(self) -> int:
        """What blocks of it are packed with, a number of `oor.codec.NUMBERS`."""
        return int(lib.oor_table_codec(self.raw))

    @property
    def raw(self) -> Any:
        """The C handle; valid while this object is and has not been closed."""
        assert self._raw is not None, "a closed table was used"
        return self._raw

    def properties(self) -> TableMeta:
        """What the file says of itself."""
        props = ffi.new("oor_table_props *")
        lib.oor_table_read_props(self.raw, props)
        return TableMeta.of(props)

    def _check(self) -> None:
        found = replace(self.properties(), written=self.meta.written)
        if found != self.meta:
            raise CorruptionError(
                f"the table is {found}, the manifest says {self.meta}", path=self.path
            )

    @property
    def block_count(self) -> int:
        """Data blocks."""
        props = ffi.new("oor_table_props *")
        lib.oor_table_read_props(self.raw, props)
        return int(props.blocks)

    def verify(self) -> None:
        """Read every byte: checksums, key order, counts, filter. CorruptionError says where."""
        check(lib.oor_table_verify(self.raw))

    def close(self) -> None:
        """Give up the handle. A second close does nothing."""
        raw, self._raw = self._raw, None
        if raw is not None:
            ffi.release(raw)

    def __repr__(self) -> str:
        return f"Table({self.meta.number}, {self.meta.entries} entries, {self.meta.size} bytes)"


def write_run(
    path: str,
    number: int,
    chunks: Iterable[tuple[list[bytes], list[bytes | None]]],
    options: TableOptions,
    first_lsn: int,
    last_lsn: int,
    columns: Callable[[Any], None] | None = None,
) -> TableMeta:
    """Sort pairs and write them as one table; then the file is durable, its name is not.

    `chunks` yields (keys, values), each key once over all of them, in any order; None deletes. Each
    chunk is one crossing, about 100 ns a pair; about 1,000 pairs a chunk keep the interpreter free
    for others. `columns` adds more to the run by itself. LimitError if there is no pair or a key
    comes twice. After a failure the file, whole or in part, is the caller's to remove.
    """
    run = owned(lib.oor_run_new(), lib.oor_run_free)
    for keys, values in chunks:
        check(lib.oor_run_add(run, *Columns(keys, values).arguments()))
    if columns is not None:
        columns(run)
    props = ffi.new("oor_table_props *")
    raw_path = os.fsencode(path)
    check(lib.oor_run_write(run, raw_path, number, options.raw(), first_lsn, last_lsn, props))
    meta = TableMeta.of(props)
    ffi.release(run)
    return meta
