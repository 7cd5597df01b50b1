"""TLE text in a stream: the scanner of csrc/tle.c, chunk by chunk, in bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from oor.native import check, ffi, lib
from oor.registry.elset import FLAG_NAMED, ElementSet, unstored
from oor.registry.formats import BYTE_ORDER_MARK, Format
from oor.registry.index import Label
from oor.registry.roster import Roster
from oor.registry.rules import Rejected
from oor.registry.store import Columns, Pair, Pairs, joined
from oor.registry.tle_set import TleSet, designator_of, name_of

BATCH_SETS = 4096
"""Sets in a batch where the caller does not say."""
_BATCH_REJECTS = 256
_uncleared = ffi.new_allocator(should_clear_after_alloc=False)
_STATE = (
    "offset", "lines", "sets", "rejects", "set_bytes", "reject_bytes", "blank_bytes",
    "in_long_line",
)  # fmt: skip

RULES: tuple[str, ...] = tuple(
    ffi.string(lib.oor_tle_rule_name(rule)).decode() for rule in range(lib.OOR_TLE_RULE_COUNT)
)
"""Rule ids by number; the ids stand in quarantine files and never change."""


class Batch:
    """What one scan found. Valid until the scanner goes on to the next batch but one."""

    __slots__ = ("_base", "_memory", "_sets", "_size", "_text", "count", "rejected", "state")

    def __init__(
        self, memory: Any, start: int, size: int, base: int, sets: Any, count: int,
        rejected: list[Rejected], state: dict[str, int],
    ) -> None:  # fmt: skip
        self._memory = memory
        self._text = memory + start
        self._size = size
        self._base = base
        self._sets = sets
        self.count = count
        self.rejected = rejected
        self.state = state
        """That of the scanner when it had found this and nothing more."""

    def raw_sets(self) -> Any:
        """The sets as an array of oor_tle_set."""
        return self._sets

    def keys(self, source_id: int, keep: bytes | None = None) -> list[bytes]:
        """The key of each set, in the order of the input, or of those kept."""
        size: int = lib.OOR_TLE_KEY_SIZE
        count = self.count if keep is None else self.count - keep.count(0)
        memory = ffi.new("uint8_t[]", max(size * count, 1))
        self._fill(keep, source_id, memory, ffi.NULL, ffi.NULL, 0)
        joined = bytes(ffi.buffer(memory, size * count))
        return [joined[at : at + size] for at in range(0, len(joined), size)]

    def columns(
        self, source_id: int, keep: bytes | None = None, head: Sequence[Pair] = ()
    ) -> Columns:
        """Keys and values of all sets, or of those whose byte in `keep` is not 0.

        The pairs of `head` come before them.
        """
        count = self.count if keep is None else self.count - keep.count(0)
        names, name_sizes, before, value_sizes = joined(head)
        keys_room = len(names) + count * lib.OOR_TLE_KEY_SIZE
        # The sets lie in the text one behind the other, so that is all that they can take.
        values_room = len(before) + self._size + count * lib.OOR_TLE_VALUE_HEADER_SIZE
        keys, values = _uncleared("uint8_t[]", keys_room), _uncleared("uint8_t[]", values_room)
        sizes = array("I", bytes(4 * count))
        ffi.memmove(keys, names, len(names))
        ffi.memmove(values, before, len(before))
        size = self._fill(
            keep, source_id, keys + len(names), ffi.from_buffer("uint32_t[]", sizes),
            values + len(before), values_room - len(before),
        )  # fmt: skip
        name_sizes.extend(array("I", [lib.OOR_TLE_KEY_SIZE]) * count)
        value_sizes.extend(sizes)
        return Columns(
            ffi.buffer(keys, keys_room), name_sizes, ffi.buffer(values, len(before) + size),
            value_sizes,
        )  # fmt: skip

    def new_labels(self, roster: Roster, keep: bytes) -> tuple[Pairs, list[Label]]:
        """Of the kept sets: the records of labels, and labels whose small letters C cannot make."""
        rooms = roster.label_rooms(self.count)
        marks = ffi.new("uint8_t[]", max(self.count, 1))
        left = check(
            lib.oor_tle_labels(
                roster.raw, roster.known_labels, len(roster.known_labels), self._text, self._size,
                self.count, self._sets, keep, rooms.raw, marks,
            )
        )  # fmt: skip
        others = []
        if left:
            marked = ffi.buffer(marks, self.count)[:]
            others = [self.label(index) for index in range(self.count) if marked[index]]
        return rooms.pairs(), others

    def keep_newest(self, roster: Roster, keep: bytes, source_id: int, first_lsn: int) -> None:
        """Let the roster have the values of those kept sets that are in force."""
        check(
            lib.oor_tle_roster_keep(
                roster.raw, self._text, self._size, self.count, self._sets, source_id, keep,
                first_lsn,
            )
        )  # fmt: skip

    def label(self, index: int) -> Label:
        """Number, designator and name of a set."""
        found = self._sets[index]
        text = bytes(ffi.buffer(self._text + found.offset, found.line1_at + 17))
        name = name_of(text[: found.line1_at]) if found.flags & FLAG_NAMED else None
        return Label(found.catalog_number, designator_of(text[-8:].decode("ascii")), name)

    def element_sets(self, source_id: int = 0, source: str | None = None) -> Iterator[ElementSet]:
        """Each set as an object; `lsn` is 0."""
        for index, key in enumerate(self.keys(source_id)):
            yield self._set(index, key, source)

    def _set(self, index: int, key: bytes, source: str | None) -> TleSet:
        found = self._sets[index]
        text = bytes(ffi.buffer(self._text + found.offset, found.size))
        return TleSet(key, unstored(Format.TLE, found.flags, text), source)

    def offsets(self) -> list[int]:
        """Where each set begins, in bytes from the start of the input."""
        return [self._base + self._sets[index].offset for index in range(self.count)]

    def _fill(
        self, keep: bytes | None, source_id: int, keys: Any, sizes: Any, values: Any, room: int
    ) -> int:  # fmt: skip
        kept = ffi.NULL if keep is None else ffi.from_buffer("uint8_t[]", keep)
        return check(
            lib.oor_tle_columns(
                self._text, self._size, self.count, self._sets, kept, source_id, keys, sizes,
                values, room,
            )
        )  # fmt: skip


class Scanner:
    """Reads one input. It knows how far it has read and has counted every byte on the way.

    Threads: one at a time. Memory: one chunk of the caller's, what was left of the one before it
    (at most 68 KiB) and the arrays of two batches.
    """

    __slots__ = ("_batch", "_others", "_rejects", "_sets", "_state")

    def __init__(self, batch_sets: int = BATCH_SETS) -> None:
        self._state = ffi.new("oor_tle_state *")
        self._sets = ffi.new("oor_tle_set[]", batch_sets)
        self._others = ffi.new("oor_tle_set[]", batch_sets)
        self._rejects = ffi.new("oor_tle_reject[]", _BATCH_REJECTS)
        self._batch = ffi.new("oor_tle_batch *")
        self._batch.rejects = self._rejects
        self._batch.set_capacity = batch_sets
        self._batch.reject_capacity = _BATCH_REJECTS

    cut = False
    """Whether the input ended before everything that it opened was closed: text opens nothing."""

    def state(self) -> dict[str, int]:
        """How far the input has been read, as JSON; valid between two batches."""
        return {name: int(getattr(self._state, name)) for name in _STATE}

    def restore(self, state: dict[str, int]) -> None:
        """Go on where another scanner was; `batches` then takes what follows its offset."""
        for name in _STATE:
            setattr(self._state, name, state[name])

    @property
    def offset(self) -> int:
        """Bytes done with; once `batches` has ended, all of them."""
        return int(self._state.offset)

    @property
    def set_count(self) -> int:
        """Sets found so far."""
        return int(self._state.sets)

    @property
    def reject_count(self) -> int:
        """Rejects found so far."""
        return int(self._state.rejects)

    @property
    def blank_bytes(self) -> int:
        """Bytes of blank lines so far; all others are in a set or in a reject."""
        return int(self._state.blank_bytes)

    def batches(self, chunks: Iterable[bytes]) -> Generator[Batch, None, None]:
        """Scan an input to its end. Where its chunks are cut makes no difference."""
        rest = b""
        for chunk in self._without_mark(chunks):
            text = rest + chunk if rest else chunk
            done = yield from self._scan(text, at_end=False)
            rest = text[done:]
        yield from self._scan(rest, at_end=True)

    def _scan(self, text: bytes, *, at_end: bool) -> Any:
        memory = ffi.from_buffer("uint8_t[]", text)
        batch, done, full = self._batch, 0, True
        while full:
            base = self.offset
            size = len(text) - done
            self._sets, self._others = self._others, self._sets
            self._batch.sets = self._sets
            done += check(lib.oor_tle_scan(self._state, memory + done, size, at_end, batch))
            full = (
                batch.set_count == batch.set_capacity
                or batch.reject_count + 2 > batch.reject_capacity
            )
            if batch.set_count or batch.reject_count:
                start = len(text) - size
                rejected = [
                    self._rejected(self._rejects[index], text, start - base)
                    for index in range(batch.reject_count)
                ]
                yield Batch(
                    memory, start, size, base, self._sets, batch.set_count, rejected, self.state()
                )
        return done

    def _rejected(self, found: Any, text: bytes, shift: int) -> Rejected:
        raw = text[found.offset + shift : found.offset + shift + found.size]
        return Rejected(
            RULES[found.rule], found.offset, found.line, found.fault_line, found.column, raw
        )

    def _without_mark(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Counts a UTF-8 byte order mark as blank; all behind it passes through."""
        if self.offset:
            return iter(chunks)
        head, rest = b"", iter(chunks)
        for chunk in rest:
            head += chunk
            if len(head) >= len(BYTE_ORDER_MARK):
                break
        if head.startswith(BYTE_ORDER_MARK):
            head = head[len(BYTE_ORDER_MARK) :]
            self._state.offset = self._state.blank_bytes = len(BYTE_ORDER_MARK)
        return chain((head,), rest)
