"""Frames of a segment, read by a reader of its own: what the engine's reader says is checked by it.

It parses the grammar at the top of csrc/frame.c with nothing of the engine but the checksum.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from oor.native import lib

HEADER = 4096
_HEAD = struct.Struct("<8sII16sQQ")
_FRAME = struct.Struct("<IIIIQQII")
_MARKER = struct.pack("<I", 0x464F4F52)
_MAGIC = b"OORWAL\0\1"


@dataclass(frozen=True, slots=True)
class FrameRead:
    """One frame that verifies."""

    epoch: int
    offset: int
    first_lsn: int
    count: int
    durable_lsn: int
    body_crc: int


def frames_in(segment: bytes) -> list[FrameRead]:
    """Every frame that verifies under the segment's own header, wherever it stands."""
    if segment[:8] != _MAGIC:
        return []
    _, _, _, database_id, epoch, number = _HEAD.unpack_from(segment)
    return frames_of(segment, database_id, epoch, number)


def frames_of(
    segment: bytes, database_id: bytes, epoch: int, number: int, base: int = 0
) -> list[FrameRead]:
    """Every frame of that segment in these bytes, which begin at offset `base` of it."""
    salt = _crc(0, database_id + struct.pack("<QQ", epoch, number))
    found = []
    at = segment.find(_MARKER, 0 if base else HEADER)
    while at >= 0:
        start = at - _FRAME.size + len(_MARKER)
        if start >= 0 and (base + start) % 8 == 0:
            read = _verified(segment, start, base, salt, epoch)
            if read is not None:
                found.append(read)
        at = segment.find(_MARKER, at + 1)
    return found


def _verified(segment: bytes, start: int, base: int, salt: int, epoch: int) -> FrameRead | None:
    head_crc, body_crc, size, count, first, durable, _, _ = _FRAME.unpack_from(segment, start)
    head = struct.pack("<Q", base + start) + segment[start + 4 : start + _FRAME.size]
    if head_crc != lib.oor_crc32c_mask(_crc(salt, head)):
        return None
    body = segment[start + _FRAME.size : start + _FRAME.size + size]
    if len(body) < size or body_crc != lib.oor_crc32c_mask(_crc(salt, body)):
        return None
    return FrameRead(epoch, base + start, first, count, durable, body_crc)


def _crc(crc: int, data: bytes) -> int:
    return int(lib.oor_crc32c(crc, data, len(data)))
