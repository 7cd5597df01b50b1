"""Tables made for tests: from a dict, in levels, or damaged under valid checksums."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from itertools import count

from oor import names
from oor.native import lib
from oor.table import BlockCache, Table, TableMeta, TableOptions, write_run
from oor.version import Version

Model = dict[bytes, bytes | None]
"""Key -> value, or None for a tombstone."""

FOOTER = struct.Struct("<9QII8s")
TRAILER_SIZE = 5
SMALL = TableOptions(block_size=128, restart_interval=3)


class Store:
    """A directory of tables and the cache they share."""

    def __init__(
        self, directory: str, cache_bytes: int = 1 << 20, options: TableOptions = SMALL
    ) -> None:
        self.directory = directory
        self.cache = BlockCache(cache_bytes)
        self.options = options
        self._numbers = count(1)
        self._lsns = count(1)

    def number(self) -> int:
        return next(self._numbers)

    def path(self, number: int) -> str:
        return os.path.join(self.directory, names.table_name(number))

    def write(self, pairs: Model, options: TableOptions | None = None) -> TableMeta:
        """Write pairs, in the order they have in the dict, as the next table."""
        number = self.number()
        keys, values = list(pairs), list(pairs.values())
        half = len(keys) // 2
        chunks = [(keys[:half], values[:half]), (keys[half:], values[half:])]
        first = next(self._lsns)
        return write_run(self.path(number), number, chunks, options or self.options, first, first)

    def table(self, pairs: Model, options: TableOptions | None = None) -> Table:
        return self.open(self.write(pairs, options))

    def open(self, meta: TableMeta) -> Table:
        return Table.open(self.directory, meta, self.cache)

    def levels(self, models: Sequence[Sequence[Model]]) -> Version:
        """A version; the last table of level 0 in `models` becomes the newest."""
        tables = [[self.table(pairs) for pairs in level if pairs] for level in reversed(models)]
        levels = [list(reversed(level)) for level in reversed(tables)]
        for level in levels[1:]:
            level.sort(key=lambda table: table.meta.smallest)
        return Version(levels)


def live(*newest_first: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    """What readers see of runs that hide each other, in key order."""
    seen: Model = {}
    for run in reversed(newest_first):
        seen.update(run)
    return {key: value for key, value in sorted(seen.items()) if value is not None}


def masked_crc(data: bytes) -> int:
    return int(lib.oor_crc32c_mask(lib.oor_crc32c(0, data, len(data))))


def section_crc(number: int, offset: int, body: bytes) -> bytes:
    """The stored checksum of a section: payload and codec, salted by where they lie."""
    return struct.pack("<I", masked_crc(struct.pack("<QQ", number, offset) + body))


def sections(data: bytes) -> list[tuple[str, int, int]]:
    """(kind, offset, size with trailer) of every section of a sound table."""
    fields = FOOTER.unpack(data[-FOOTER.size :])
    filter_offset, filter_size, index_offset, index_size, props_offset, props_size = fields[:6]
    found = []
    at, block_offset = index_offset, 0
    while at < index_offset + index_size - TRAILER_SIZE:
        block_size, fence_size = struct.unpack_from("<IH", data, at)
        found.append(("block", block_offset, block_size))
        block_offset += block_size
        at += 6 + fence_size
    return [
        *found,
        ("filter", filter_offset, filter_size),
        ("index", index_offset, index_size),
        ("properties", props_offset, props_size),
    ]


def resealed(data: bytes, number: int, offset: int, size: int) -> bytes:
    """The file with the checksum of one section made to fit what it holds."""
    body = data[offset : offset + size - 4]
    return data[: offset + size - 4] + section_crc(number, offset, body) + data[offset + size :]


def resealed_footer(data: bytes) -> bytes:
    """The file with the checksum of its footer made to fit."""
    footer = data[-FOOTER.size :]
    crc = masked_crc(footer[:76] + footer[80:])
    return data[: -FOOTER.size] + footer[:76] + struct.pack("<I", crc) + footer[80:]
