"""Indexes beside the element sets: the newest set of each object, designators and names.

Designators and names are written with the batch that brings them. The newest sets of a delivery are
written when it ends, so that a history of millions of sets costs one record an object; until then a
record says that the delivery is open, and readers look for the newest sets themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from oor.errors import FormatError
from oor.registry import keys
from oor.registry.store import Pairs, Reader

INDEX_FORMAT = 1
NEWEST_FORMAT = 2
"""Of the record of a newest set that ends with the set's value; 1: it ends with its key."""
_HEAD = bytes(8) + bytes([INDEX_FORMAT])
_HEAD_SIZE = len(_HEAD)
_KEY_END = _HEAD_SIZE + keys.KEY_SIZE
_NEWEST_FORMATS = (INDEX_FORMAT, NEWEST_FORMAT)
_DESIGNATOR = bytes([keys.Kind.DESIGNATOR])
_NAME = bytes([keys.Kind.NAME])


def payload(key: bytes, value: bytes) -> bytes:
    """What a record of an index or a delivery holds. Raises FormatError for a later format."""
    if len(value) < _HEAD_SIZE or value[8] != INDEX_FORMAT:
        raise _unread(key)
    return value[_HEAD_SIZE:]


def _unread(key: bytes) -> FormatError:
    return FormatError(f"the record {key.hex()} is of a format that this build does not read")


def record(content: bytes = b"") -> bytes:
    """A value of this format; the log puts in its LSN."""
    return _HEAD + content


# ---- reading ----


def is_open(reader: Reader) -> bool:
    """Whether a delivery has begun and not ended: the index of newest sets is not up to date."""
    return reader.get(keys.OPEN_KEY) is not None


def newest_of(name: bytes, record: bytes) -> tuple[bytes, bytes | None]:
    """The key of the newest set that a record names, and the set's value if the record has it."""
    if len(record) < _KEY_END or record[8] not in _NEWEST_FORMATS:
        raise _unread(name)
    return record[_HEAD_SIZE:_KEY_END], record[_KEY_END:] or None


def newest_sets(reader: Reader) -> tuple[list[bytes], list[bytes | None]]:
    """Key of every object's newest set, by catalog number, and its value where that is at hand.

    Only if not `is_open`.
    """
    at, end = _HEAD_SIZE, _KEY_END
    names: list[bytes] = []
    values: list[bytes | None] = []
    for name, record in reader.scan(prefix=keys.NEWEST_PREFIX):
        if record[8] not in _NEWEST_FORMATS:
            raise _unread(name)
        names.append(record[at:end])
        values.append(record[end:] or None)
    return names, values


def labelled(reader: Reader, prefix: bytes) -> list[int]:
    """Catalog numbers of the designators or names that begin like this, rising."""
    return sorted({keys.number_of_label(key) for key, _ in reader.scan(prefix=prefix)})


# ---- writing ----


class Label(NamedTuple):
    """What an object is called in one place; None: it is not."""

    number: int
    designator: str | None
    name: str | None


def label_records(labels: Iterable[Label]) -> Pairs:
    """The records of designators and names, each once."""
    found: dict[bytes, bytes] = {}
    for number, designator, name in labels:
        end = b"\0" + number.to_bytes(4, "big")
        if designator is not None:
            found[_DESIGNATOR + designator[:255].upper().encode() + end] = _HEAD
        if name is not None:
            found[_NAME + name[:255].casefold().encode() + end] = _HEAD + name[:255].encode()
    return list(found.items())


def newest_records(newest: Iterable[bytes]) -> Pairs:
    """The records that name these keys as those of their objects' newest sets, without values."""
    return [(keys.NEWEST_PREFIX + key[1:5], _HEAD + key) for key in newest]
