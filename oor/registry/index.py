"""Indexes beside the element sets: the newest set of each object, designators and names.

Designators and names are written with the batch that brings them. The newest sets of a delivery are
written when it ends, so that a history of millions of sets costs one record an object; until then a
record says that the delivery is open, and readers look for the newest sets themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Protocol

from oor.errors import FormatError
from oor.registry import keys
from oor.registry.store import Pairs, Reader, Store

INDEX_FORMAT = 1
_HEAD = bytes(8) + bytes([INDEX_FORMAT])
_HEAD_SIZE = len(_HEAD)
_MOMENT_SIZE = 13
_DESIGNATOR = bytes([keys.Kind.DESIGNATOR])
_NAME = bytes([keys.Kind.NAME])
_BATCH = 4096


def payload(key: bytes, value: bytes) -> bytes:
    """What a record of an index or a delivery holds. Raises FormatError for a later format."""
    if len(value) < _HEAD_SIZE or value[8] != INDEX_FORMAT:
        raise FormatError(f"the record {key.hex()} is of a format that this build does not read")
    return value[_HEAD_SIZE:]


def record(content: bytes = b"") -> bytes:
    """A value of this format; the log puts in its LSN."""
    return _HEAD + content


class AnyBatch(Protocol):
    """What the labels of a batch's sets are asked of."""

    def label(self, index: int) -> tuple[str | None, str | None]: ...


# ---- reading ----


def is_open(reader: Reader) -> bool:
    """Whether a delivery has begun and not ended: the index of newest sets is not up to date."""
    return reader.get(keys.OPEN_KEY) is not None


def newest_keys(reader: Reader) -> list[bytes]:
    """The key of every object's newest set, by catalog number. Only if not `is_open`."""
    at = _HEAD_SIZE
    return [value[at:] for _, value in reader.scan(prefix=keys.NEWEST_PREFIX)]


def labelled(reader: Reader, prefix: bytes) -> list[int]:
    """Catalog numbers of the designators or names that begin like this, rising."""
    return sorted({keys.number_of_label(key) for key, _ in reader.scan(prefix=prefix)})


# ---- writing ----


def new_labels(db: Store, names: Sequence[bytes], marks: bytes, batch: AnyBatch) -> Pairs:
    """The records of those designators and names of marked sets that the index does not have.

    `names` are the keys of the sets.
    """
    labels: dict[bytes, bytes] = {}
    for index in compress(range(len(marks)), marks):
        end = b"\0" + names[index][1:5]
        designator, name = batch.label(index)
        if designator is not None:
            labels[_DESIGNATOR + designator[:255].upper().encode() + end] = _HEAD
        if name is not None:
            labels[_NAME + name[:255].casefold().encode() + end] = _HEAD + name[:255].encode()
    wanted = list(labels)
    found = db.get_many(wanted) if wanted else []
    return [(n, labels[n]) for n, old in zip(wanted, found, strict=True) if old is None]


def changed(db: Store, newest: Mapping[bytes, bytes]) -> Iterator[Pairs]:
    """Records of those newest sets that are not older than what the index has, in batches.

    `newest` has them by the four bytes of their numbers.
    """
    numbers = list(newest)
    for at in range(0, len(numbers), _BATCH):
        part = numbers[at : at + _BATCH]
        names = [keys.NEWEST_PREFIX + number for number in part]
        old = db.get_many(names)
        for name, value in zip(names, old, strict=True):
            if value is not None and value[8] != INDEX_FORMAT:
                payload(name, value)
        pairs: Pairs = [
            (name, _HEAD + key)
            for name, value, key in zip(names, old, map(newest.__getitem__, part), strict=True)
            if value is None or value[_HEAD_SIZE : _HEAD_SIZE + _MOMENT_SIZE] <= key[:_MOMENT_SIZE]
        ]
        yield pairs
