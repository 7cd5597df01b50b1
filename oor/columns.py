"""Column scans: ranges as contiguous buffers that NumPy and Arrow wrap without a copy.

A chunk is one piece of memory that C writes to (grammar: csrc/sink.h) and that its four views keep
alive:

    chunk := key_offsets: u32{room + 1}  value_offsets: u32{room + 1}  keys  values
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oor.iterator import Walk
from oor.native import check, ffi, lib

CHUNK_BYTES = 768 * 1024
"""What a chunk is aimed at: it stays in the cache of a core while it is written and read."""

_PAIRS_MAX = 16384
_new = ffi.new_allocator(should_clear_after_alloc=False)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnChunk:
    """Some pairs of a range, in the order of the walk. Read-only buffers, good while they are held.

    Pair i has the key keys[key_offsets[i]:key_offsets[i + 1]] and its value likewise, so that

        numpy.frombuffer(chunk.key_offsets, numpy.uint32)
        buffers = [None, pyarrow.py_buffer(chunk.key_offsets), pyarrow.py_buffer(chunk.keys)]
        pyarrow.Array.from_buffers(pyarrow.binary(), len(chunk), buffers)

    copy nothing. Offsets fit 31 bits.
    """

    count: int
    keys: memoryview
    """Bytes of all keys."""
    key_offsets: memoryview
    """count + 1 of u32."""
    values: memoryview
    """Bytes of all values."""
    value_offsets: memoryview
    """count + 1 of u32."""

    def __len__(self) -> int:
        return self.count


class ColumnScan:
    """An iterator over the chunks of a range. As `Scan` otherwise: one consistent view, one
    thread.
    """

    __slots__ = ("_key_room", "_pairs", "_value_room", "_walk")

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._pairs, self._key_room, self._value_room = 1024, 32 * 1024, 192 * 1024

    def __iter__(self) -> Iterator[ColumnChunk]:
        return self

    def __next__(self) -> ColumnChunk:
        walk = self._walk
        while (merge := walk.merge()) is not None:
            pairs = self._pairs if walk.left is None else min(self._pairs, walk.left)
            chunk, step = self._fill(merge, pairs)
            walk.advance(merge, step, chunk.count)
            if chunk.count:
                return chunk
        raise StopIteration

    def _fill(self, merge: Any, pairs: int) -> tuple[ColumnChunk, int]:
        while True:
            offsets_size = (pairs + 1) * 4
            key_room, value_room = self._key_room, self._value_room
            keys_at = 2 * offsets_size
            values_at = keys_at + key_room
            memory = _new("char[]", values_at + value_room)
            raw = ffi.new("oor_columns *")
            raw.key_offsets = ffi.cast("uint32_t *", memory)
            raw.value_offsets = ffi.cast("uint32_t *", memory + offsets_size)
            raw.keys = ffi.cast("uint8_t *", memory + keys_at)
            raw.values = ffi.cast("uint8_t *", memory + values_at)
            raw.pairs_capacity, raw.keys_capacity, raw.values_capacity = pairs, key_room, value_room
            step = check(lib.oor_merge_next_columns(merge, raw))
            while step == lib.OOR_MERGE_NEEDS_WINDOW and raw.count < pairs:
                self._walk.feed(merge)
                step = check(lib.oor_merge_next_columns(merge, raw))
            count = raw.count
            if count or step != lib.OOR_MERGE_FULL:
                break
            self._key_room = max(key_room, raw.key_needed)
            self._value_room = max(value_room, raw.value_needed)
        whole = memoryview(ffi.buffer(memory)).toreadonly()
        key_offsets = whole[: (count + 1) * 4].cast("I")
        value_offsets = whole[offsets_size : offsets_size + (count + 1) * 4].cast("I")
        keys = whole[keys_at : keys_at + key_offsets[count]]
        values = whole[values_at : values_at + value_offsets[count]]
        if count:
            self._plan(count, len(keys), len(values))
        return ColumnChunk(count, keys, key_offsets, values, value_offsets), step

    def _plan(self, count: int, key_bytes: int, value_bytes: int) -> None:
        """Shape the next chunk after the last one, with an eighth to spare."""
        pairs = min(
            _PAIRS_MAX, max(16, CHUNK_BYTES * count // (key_bytes + value_bytes + 8 * count))
        )
        self._pairs = pairs
        self._key_room = pairs * key_bytes // count * 9 // 8 + 256
        self._value_room = pairs * value_bytes // count * 9 // 8 + 1024

    def seek(self, key: bytes) -> None:
        """As `Scan.seek`."""
        self._walk.seek(key if type(key) is bytes else bytes(key))

    def _check(self) -> None:
        self._walk._check()

    def close(self) -> None:
        """Let go of the view; chunks that were handed out stay. More than once is fine."""
        self._walk.close()

    def __enter__(self) -> ColumnScan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
