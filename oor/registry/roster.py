"""What one ingest knows of the objects that it met: csrc/tle_roster.c and tle_labels.c.

A set that is newer than every stored one of its object must be new, so the store is asked only for
the newest set of an object, once, and for sets that came late or revise another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from oor.native import check, ffi, lib
from oor.registry import keys
from oor.registry.index import Label, label_records, newest_of
from oor.registry.store import Pairs, Reader

_SLOTS = 1 << 13
_LABEL_SLOTS = 1 << 18
_CHANGED_AT_ONCE = 4096
_KEY_SIZE: int = lib.OOR_TLE_KEY_SIZE
_ASKED_ONLY = bytes(int(verdict == lib.OOR_TLE_ASK) for verdict in range(256))
_NEW_ONLY = bytes(int(verdict == lib.OOR_TLE_NEW) for verdict in range(256))


class AnyBatch(Protocol):
    """What a roster asks of a batch of scanned sets."""

    @property
    def count(self) -> int:
        """How many there are."""

    def raw_sets(self) -> Any:
        """The sets as an array of oor_tle_set."""

    def keys(self, source_id: int, keep: bytes | None = None) -> list[bytes]:
        """The keys of all sets, or of those whose byte in `keep` is not 0."""

    def new_labels(self, roster: Roster, keep: bytes) -> tuple[Pairs, list[Label]]:
        """Of the kept sets: the records of labels, and labels that are no records yet."""

    def keep_newest(self, roster: Roster, keep: bytes, source_id: int, first_lsn: int) -> None:
        """See `Roster.keep`."""


class Roster:
    """The objects of one ingest. 0.5 to 1 KiB an object, and 2 MiB for labels.

    Threads: one at a time. Invariant: an object that was met and has a set in the store has the
    epoch, source and digest of its newest one here, in force as the store has it.
    """

    __slots__ = ("_blank", "_objects", "_rooms", "_store", "known_labels", "other_labels", "raw")

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._blank = next(iter(store.scan(prefix=keys.NEWEST_PREFIX, limit=1)), None) is None
        self.raw = ffi.new("oor_tle_roster *")
        self._objects = ffi.new("oor_tle_object[]", _SLOTS)
        self.raw.objects, self.raw.slots = self._objects, _SLOTS
        self.known_labels = ffi.new("uint64_t[]", _LABEL_SLOTS)
        self.other_labels: set[Label] = set()
        """Those of messages."""
        self._rooms = LabelRooms(0)

    def new_ones(self, batch: AnyBatch, count: int, source_id: int) -> tuple[bytes, int]:
        """1 for each of the first `count` sets that the store does not have, and how many."""
        sets = batch.raw_sets()
        self._meet(sets, count)
        verdicts = bytearray(batch.count)
        fresh = ffi.new("uint64_t *")
        memory = ffi.from_buffer("uint8_t[]", verdicts)
        asked = check(lib.oor_tle_roster_sort_out(self.raw, count, sets, source_id, memory, fresh))
        if not asked:
            return bytes(verdicts), fresh[0]
        return self._asked(batch, count, source_id, verdicts)

    def _meet(self, sets: Any, count: int) -> None:
        """Take in the objects of sets, with what the store knows of those that are new here."""
        slots = self.raw.slots
        if slots // 2 < self.raw.used + count:
            while slots // 2 < self.raw.used + count:
                slots *= 2
            larger = ffi.new("oor_tle_object[]", slots)
            check(lib.oor_tle_roster_grow(self.raw, larger, slots))
            self._objects = larger
        numbers = ffi.new("uint32_t[]", max(count, 1))
        met = check(lib.oor_tle_roster_meet(self.raw, count, sets, numbers))
        if met == 0 or self._blank:
            return
        names = [keys.newest_key(number) for number in numbers[0:met]]
        found = zip(names, self._store.get_many(names), strict=True)
        known = b"".join([newest_of(name, value)[0] for name, value in found if value is not None])
        check(lib.oor_tle_roster_learn(self.raw, known, len(known)))

    def _asked(
        self, batch: AnyBatch, count: int, source_id: int, verdicts: bytearray
    ) -> tuple[bytes, int]:
        """Let the store tell of those sets that the roster cannot tell of."""
        wanted = verdicts.translate(_ASKED_ONLY)
        places = [index for index in range(count) if wanted[index]]
        names = batch.keys(source_id, bytes(wanted))
        seen = set(batch.keys(source_id, bytes(verdicts.translate(_NEW_ONLY))))
        for index, name, value in zip(places, names, self._store.get_many(names), strict=True):
            verdicts[index] = value is None and name not in seen
            seen.add(name)
        keep = bytes(verdicts)
        check(lib.oor_tle_roster_take(self.raw, count, batch.raw_sets(), source_id, keep))
        return keep, keep.count(1)

    def labels(self, batch: AnyBatch, keep: bytes) -> Pairs:
        """The records of designators and names of the kept sets that the index does not have."""
        pairs, others = batch.new_labels(self, keep)
        pairs += label_records(others)
        if self._blank or not pairs:
            return pairs
        found = self._store.get_many([name for name, _ in pairs])
        return [pair for pair, old in zip(pairs, found, strict=True) if old is None]

    def label_rooms(self, sets: int) -> LabelRooms:
        """Room for the labels of so many sets, until the next call."""
        if self._rooms.sets < sets:
            self._rooms = LabelRooms(sets)
        return self._rooms

    def keep(self, batch: AnyBatch, keep: bytes, source_id: int, first_lsn: int) -> None:
        """The kept sets were written with LSNs from `first_lsn` on: those in force stay at hand."""
        batch.keep_newest(self, keep, source_id, first_lsn)

    def changed(self) -> Iterator[Pairs]:
        """The records of the newest sets that are not in the index yet, in batches."""
        slot = ffi.new("uint64_t *")
        names = ffi.new("uint8_t[]", _CHANGED_AT_ONCE * lib.OOR_TLE_NEWEST_KEY_SIZE)
        values = ffi.new("uint8_t[]", _CHANGED_AT_ONCE * lib.OOR_TLE_NEWEST_ROOM)
        sizes = ffi.new("uint32_t[]", _CHANGED_AT_ONCE)
        while count := check(
            lib.oor_tle_roster_changed(self.raw, slot, _CHANGED_AT_ONCE, names, values, sizes)
        ):
            value_sizes = sizes[0:count]
            name_sizes = [lib.OOR_TLE_NEWEST_KEY_SIZE] * count
            yield list(
                zip(
                    _sized(names, sum(name_sizes), name_sizes),
                    _sized(values, sum(value_sizes), value_sizes),
                    strict=True,
                )
            )


class LabelRooms:
    """Where C writes the records of labels."""

    __slots__ = ("_arrays", "raw", "sets")

    def __init__(self, sets: int) -> None:
        self.sets = sets
        self.raw = ffi.new("oor_tle_records *")
        room = sets * lib.OOR_TLE_LABELS_ROOM
        self._arrays = [
            ffi.new("uint8_t[]", room), ffi.new("uint32_t[]", 2 * sets),
            ffi.new("uint8_t[]", room), ffi.new("uint32_t[]", 2 * sets),
        ]  # fmt: skip
        self.raw.keys, self.raw.key_sizes, self.raw.values, self.raw.value_sizes = self._arrays

    def pairs(self) -> Pairs:
        """The records one by one."""
        raw = self.raw
        if not raw.count:
            return []
        names = _sized(raw.keys, raw.keys_size, raw.key_sizes[0 : raw.count])
        values = _sized(raw.values, raw.values_size, raw.value_sizes[0 : raw.count])
        return list(zip(names, values, strict=True))


def _sized(memory: Any, size: int, sizes: list[int]) -> Iterator[bytes]:
    joined = bytes(ffi.buffer(memory, size))
    at = 0
    for one in sizes:
        yield joined[at : at + one]
        at += one
