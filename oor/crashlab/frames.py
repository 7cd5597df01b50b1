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


class Frames:
    """The frames of one use of a segment, followed write by write in little memory."""

    def __init__(self) -> None:
        self.epoch = 0
        self.last_lsn = 0
        """Of the last mutation."""
        self.highest_lsn = 0
        """Up to where nothing is missing: a note behind LSNs that were passed over counts too."""
        self._salt: int | None = None
        self._head = bytearray()
        self._end = HEADER  # where the next frame begins
        self._rest = bytearray()  # what stands there

    @staticmethod
    def begin_with(offset: int, data: bytes) -> bool:
        """Whether these bytes begin a new use of a segment, as far as they go."""
        return offset == 0 and _MAGIC.startswith(data[: len(_MAGIC)])

    def take(self, offset: int, data: bytes) -> int:
        """These bytes are written; returns `highest_lsn` of the frames that are whole now."""
        if self._salt is None and offset <= len(self._head) < _HEAD.size:
            self._head[offset:] = data[:HEADER]
            if len(self._head) >= _HEAD.size and self._head.startswith(_MAGIC):
                _, _, _, database_id, self.epoch, number = _HEAD.unpack_from(self._head)
                self._salt = _crc(0, database_id + struct.pack("<QQ", self.epoch, number))
        if self._salt is None or offset + len(data) <= self._end:
            return self.highest_lsn
        start = max(offset, self._end)
        place = start - self._end
        self._rest.extend(bytes(max(0, place - len(self._rest))))
        self._rest[place : place + offset + len(data) - start] = data[start - offset :]
        self._walk(self._salt)
        return self.highest_lsn

    def _walk(self, salt: int) -> None:
        rest, at = bytes(self._rest), 0
        while at + _FRAME.size <= len(rest):
            if rest[at + _FRAME.size - 4 : at + _FRAME.size] != _MARKER:
                break
            read = _verified(rest, at, self._end, salt, self.epoch)
            if read is None:
                break
            size = -(-(_FRAME.size + _FRAME.unpack_from(rest, at)[2]) // 8) * 8
            self.highest_lsn = max(self.highest_lsn, read.first_lsn + read.count - 1)
            if read.count:
                self.last_lsn = self.highest_lsn
            at += size
        self._end += at
        del self._rest[:at]


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
