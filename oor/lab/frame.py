"""What does a frame of the log look like, and what does one flipped bit do? `oor lab frame`.

A store writes a batch and a put, each durable, and the power goes. Then every bit of both frames is
flipped, one at a time, and each time the analysis of a recovery says what it makes of it. The first
frame is promised: the second one states that it was durable. The second is promised by nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import oor
from oor import names, native
from oor.analysis import analyze
from oor.errors import CorruptionError
from oor.native import ffi, lib

BATCH: Final = {b"25544": b"ISS (ZARYA)", b"00005": None}
PUT: Final = (b"20580", b"HST")
OPTIONS: Final[dict[str, Any]] = {
    "segment_bytes": 64 << 10,
    "tail_bytes": 16 << 10,
    "spare_segments": 0,
    "background": False,
}
HEADER: Final = (
    ("header crc", 4), ("body crc", 4), ("body size", 4), ("op count", 4),
    ("first LSN", 8), ("durable LSN", 8), ("flags", 4), ("marker", 4),
)  # fmt: skip
"""The fields in front of each frame; docs/formats/segment.md says what each means."""


@dataclass(frozen=True, slots=True)
class Field:
    """A piece of a frame: where it stands in the segment, its bytes, and what they say."""

    offset: int
    name: str
    data: bytes
    meaning: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, field by field, and what a recovery made of each of its bits flipped alone."""

    title: str
    fields: tuple[Field, ...]
    first_lsn: int
    bits: int
    refused: int
    """Analysis refuses the store, and names segment, offset and LSNs."""
    ended: int
    """The log ends in front of the frame, as after a torn write."""
    silent: int
    """Neither: a bit that changed nothing that a reader sees."""
    example: str
    """What a refusal says."""


@dataclass(frozen=True, slots=True)
class FrameLab:
    """Both frames of the segment, and its name."""

    segment: str
    promised: Frame
    last: Frame

    def figures(self) -> dict[str, Any]:
        """The counts by name."""
        return {
            f"{name}_{what}": getattr(frame, what)
            for name, frame in (("promised", self.promised), ("last", self.last))
            for what in ("bits", "refused", "ended", "silent", "first_lsn")
        }


def run(directory: str) -> FrameLab:
    """Write two frames below `directory`, which is there, and flip each bit of them.

    Cost: one analysis of a small store a bit, about a thousand.
    """
    path = os.path.join(directory, "frame.oor")
    with oor.open(path, durability="sync", **OPTIONS) as db:
        db.write(BATCH)
        db.put(*PUT)
        left = _after_power_loss(db.path)
    image = os.path.join(directory, "image.oor")
    native.make_dir(image)
    for name, data in left.items():
        _put(image, name, data)
    segment = next(name for name in left if name.endswith(".wal"))
    data = left[segment]
    first = lib.OOR_SEGMENT_HEADER_SIZE
    second = first + _inspect(data, first).size
    return FrameLab(
        segment,
        _frame("a batch of a put and a delete", image, segment, data, first, list(BATCH.items())),
        _frame("one put, the last thing in the log", image, segment, data, second, [PUT]),
    )


def _after_power_loss(path: str) -> dict[str, bytes]:
    """What is durable at this moment: all files but the shared tail, which is memory."""
    return {
        name: native.read_file(os.path.join(path, name))
        for name in native.list_dir(path)
        if name not in (names.TAIL, names.LOCK)
    }


def _put(directory: str, name: str, data: bytes) -> None:
    with native.File(os.path.join(directory, name), native.WRITE | native.CREATE) as file:
        file.write(data, 0)


def _inspect(segment: bytes, offset: int) -> Any:
    info = ffi.new("oor_frame_info *")
    assert lib.oor_frame_inspect(segment, len(segment), offset, info), "a frame was written here"
    return info


# ---- one frame -----------------------------------------------------------------------------------


def _frame(
    title: str,
    image: str,
    segment: str,
    data: bytes,
    offset: int,
    ops: list[tuple[bytes, bytes | None]],
) -> Frame:
    info = _inspect(data, offset)
    fields = tuple(_fields(data, offset, info, ops))
    size = sum(len(field.data) for field in fields)
    assert size == lib.OOR_FRAME_HEADER_SIZE + info.body_size, "the ops are what was written"
    outcomes: Counter[str] = Counter()
    example = ""
    path = os.path.join(image, segment)
    for bit in range(size * 8):
        place = offset + bit // 8
        with native.File(path, native.WRITE) as file:
            file.write(bytes([data[place] ^ 1 << bit % 8]), place)
            outcome, text = _outcome(image, info.first_lsn)
            file.write(data[place : place + 1], place)
        outcomes[outcome] += 1
        example = example or text
    return Frame(
        title, fields, info.first_lsn, size * 8,
        outcomes["refused"], outcomes["ended"], outcomes["silent"], example,
    )  # fmt: skip


def _outcome(image: str, first_lsn: int) -> tuple[str, str]:
    """What analysis makes of the image, in a word, and in its own words where it refuses."""
    try:
        plan = analyze(image)
    except CorruptionError as error:
        return "refused", str(error)
    if plan.problem is not None:
        return "refused", str(plan.problem).replace(image + os.sep, "")
    return ("ended", "") if plan.log_end_lsn < first_lsn else ("silent", "")


def _fields(
    data: bytes, offset: int, info: Any, ops: list[tuple[bytes, bytes | None]]
) -> list[Field]:
    meanings = (
        "of all that follows up to the body, the salt of the segment in front: verifies",
        "of the body, the salt in front: verifies",
        f"{info.body_size} bytes",
        f"{info.op_count}, all of them or none",
        f"{info.first_lsn}; each further op has the next one",
        f"{info.durable_lsn}: everything up to here was on stable storage",
        "none" if not info.flags else f"{info.flags}",
        "so that a search for frames passes over other bytes",
    )
    named = [(name, size, text) for (name, size), text in zip(HEADER, meanings, strict=True)]
    for key, value in ops:
        named.append(("kind", 1, "delete" if value is None else "put"))
        named.append(("key size", 2, f"{len(key)}"))
        named.append(("value size", 4, f"{len(value or b'')}"))
        named.append(("key", len(key), key.decode()))
        if value is not None:
            named.append(("value", len(value), value.decode()))
    found = []
    for name, size, meaning in named:
        found.append(Field(offset, name, data[offset : offset + size], meaning))
        offset += size
    return found


# ---- showing -------------------------------------------------------------------------------------


def report(found: FrameLab) -> str:
    """Both frames in lines of text, and what the flipped bits did."""
    parts = []
    for frame in (found.promised, found.last):
        lines = [f"{found.segment}, offset {frame.fields[0].offset:,}: {frame.title}"]
        for field in frame.fields:
            shown = field.data[:8].hex(" ") + (" .." if len(field.data) > 8 else "")
            lines.append(f"  {field.offset:6,}  {shown:<26}  {field.name:<11}  {field.meaning}")
        lines.append(
            f"each of its {frame.bits:,} bits flipped alone: {frame.refused:,} refused, "
            f"{frame.ended:,} times the end of the log, {frame.silent:,} silent"
        )
        if frame.example:
            lines.append(f"  {frame.example}")
        parts.append("\n".join(lines))
    parts.append(
        "The first frame is promised by the durable LSN of the second: without it the store is\n"
        "damaged, and it is refused. Nothing promises the second: it could be a write that the\n"
        "loss of power cut off, and on one machine nobody can tell."
    )
    return "\n\n".join(parts)
