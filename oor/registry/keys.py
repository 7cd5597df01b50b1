"""Where the registry's records lie in the key space. csrc/tle_columns.c writes those of sets.

    source      := 0x01 id:u16                             -> format:u8 name
    delivery    := 0x02 id:u32                             -> lsn:u64 format:u8 json
    content     := 0x03 digest:32 source:u16               -> lsn:u64 format:u8 id:u32
    open        := 0x04                                    -> lsn:u64 format:u8 id:u32
    element set := 0x10 number:u32 epoch:u64 source:u16 digest:u64
                                                            -> lsn:u64 format:u8 flags:u8 text
    newest      := 0x20 number:u32                         -> lsn:u64 1:u8 key:23
                                                            -> lsn:u64 2:u8 key:23 value
    designator  := 0x21 text 0x00 number:u32               -> lsn:u64 format:u8
    name        := 0x22 text 0x00 number:u32               -> lsn:u64 format:u8 name

Integers in keys are big-endian, so byte order is the order of the numbers: all sets of an object
lie together, by epoch. The epoch is microseconds since 1970 UTC with the sign bit flipped. The text
in the keys of indexes is UTF-8 without NUL, case folded in names, upper case in designators. The
record of the newest set has the set's value, too, where that is short.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from oor.errors import LimitError


class Kind(IntEnum):
    """The first byte of every key. Numbers never change their meaning.

    0x05 to 0x0f, 0x11 to 0x1f and 0x23 to 0xff are free for records to come.
    """

    SOURCE = 0x01
    DELIVERY = 0x02
    CONTENT = 0x03
    OPEN = 0x04
    ELEMENT_SET = 0x10
    NEWEST = 0x20
    DESIGNATOR = 0x21
    NAME = 0x22


EPOCH_US_MIN = -(2**63)
EPOCH_US_MAX = 2**63 - 1
NUMBER_MAX = 2**32 - 1
SOURCE_ID_MAX = 2**16 - 1

_BIAS = 2**63
_ELSET = struct.Struct(">BIQHQ")
_OBJECT = struct.Struct(">BI")
_MOMENT = struct.Struct(">BIQ")
_SOURCE = struct.Struct(">BH")
_pack_moment = _MOMENT.pack
_ELEMENT_SET = int(Kind.ELEMENT_SET)

KEY_SIZE = _ELSET.size
ELSET_PREFIX = bytes([Kind.ELEMENT_SET])
ELSET_STOP = bytes([Kind.ELEMENT_SET + 1])
SOURCE_PREFIX = bytes([Kind.SOURCE])
DELIVERY_PREFIX = bytes([Kind.DELIVERY])
NEWEST_PREFIX = bytes([Kind.NEWEST])
OPEN_KEY = bytes([Kind.OPEN])


class ElsetKey(NamedTuple):
    """The parts of an element set's key; tuples compare as keys do."""

    catalog_number: int
    epoch_us: int
    source_id: int
    digest: int

    def encode(self) -> bytes:
        """The 23 bytes. Raises struct.error for a part out of its range."""
        number, epoch_us, source_id, digest = self
        return _ELSET.pack(Kind.ELEMENT_SET, number, epoch_us + _BIAS, source_id, digest)

    @classmethod
    def decode(cls, key: bytes) -> ElsetKey:
        """The parts of 23 bytes. Raises LimitError for bytes that are no element set's key."""
        if len(key) != KEY_SIZE or key[0] != Kind.ELEMENT_SET:
            raise LimitError(f"{key!r} is no key of an element set")
        _, number, epoch, source_id, digest = _ELSET.unpack(key)
        return cls(number, epoch - _BIAS, source_id, digest)


def object_start(number: int) -> bytes:
    """The bound below an object's keys and above all smaller numbers'. `number` up to 2**32."""
    return ELSET_STOP if number > NUMBER_MAX else _OBJECT.pack(Kind.ELEMENT_SET, number)


def moment_start(number: int, epoch_us: int) -> bytes:
    """The bound below an object's keys from this epoch on. Epochs past i64 count as its ends."""
    if epoch_us > EPOCH_US_MAX:
        return object_start(number + 1)
    if epoch_us < EPOCH_US_MIN:
        epoch_us = EPOCH_US_MIN
    return _pack_moment(_ELEMENT_SET, number, epoch_us + _BIAS)


def delivery_key(delivery_id: int) -> bytes:
    """The key of a delivery's record."""
    return _OBJECT.pack(Kind.DELIVERY, delivery_id)


def content_key(digest: bytes, source_id: int) -> bytes:
    """The key that leads from the content of an input to its delivery."""
    return bytes([Kind.CONTENT]) + digest + source_id.to_bytes(2, "big")


def newest_key(number: int) -> bytes:
    """The key of the record that names an object's newest set."""
    return _OBJECT.pack(Kind.NEWEST, number)


def designator_prefix(text: str) -> bytes:
    """The bound of the keys of designators that begin with `text`."""
    return bytes([Kind.DESIGNATOR]) + _label(text.upper())


def name_prefix(text: str) -> bytes:
    """The bound of the keys of names that begin with `text`, in any case."""
    return bytes([Kind.NAME]) + _label(text.casefold())


def number_of_label(key: bytes) -> int:
    """The catalog number in the key of a designator or a name."""
    return int.from_bytes(key[-4:], "big")


def _label(text: str) -> bytes:
    return text.replace("\0", "").encode("utf-8", "replace")


def source_key(source_id: int) -> bytes:
    """The key of a source's record."""
    return _SOURCE.pack(Kind.SOURCE, source_id)


def source_id_of(key: bytes) -> int:
    """The id in a source record's key."""
    return int(_SOURCE.unpack(key)[1])
