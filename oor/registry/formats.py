"""The formats of element sets: their numbers in stored values, and how they are told apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import chain

from oor.errors import LimitError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_HEAD_SIZE = 4096


class Format(IntEnum):
    """The format byte of a stored value. Numbers never change their meaning."""

    TLE = 1
    KVN = 2
    XML = 3
    JSON = 4
    CSV = 5

    @property
    def word(self) -> str:
        """The name people write: tle, kvn, xml, json or csv."""
        return self.name.lower()


_ALIASES = {"2le": Format.TLE, "3le": Format.TLE}


def format_of(name: str | Format) -> Format:
    """The format of a name; 2le and 3le are TLE. Raises LimitError for another name."""
    if isinstance(name, Format):
        return name
    found = _ALIASES.get(name.lower()) or Format.__members__.get(name.upper())
    if found is None:
        known = ", ".join([*(form.word for form in Format), *_ALIASES])
        raise LimitError(f"{name!r} is no format of element sets; they are {known}")
    return found


_KVN = re.compile(rb"\s*(?:COMMENT[^\n]*\n\s*)*CCSDS_OMM_VERS[ \t]*=")
_XML = re.compile(rb"\s*<(?:\?xml\s|!--|!DOCTYPE\s|(?:[\w.-]+:)?(?:ndm|omm)[\s>/])")
_JSON = re.compile(rb'\s*(?:\[\s*(?:\{|\]\s*\Z)|\{\s*["}])')
_CSV = re.compile(rb'\s*(?:[A-Z0-9_" \t]*,[^\r\n]*\b|"?)NORAD_CAT_ID"?\s*[,\r\n]')


def recognised(head: bytes) -> Format:
    """The format of an input by its first bytes; what nothing else begins like is taken for TLE."""
    head = head.removeprefix(BYTE_ORDER_MARK)
    for pattern, form in (
        (_KVN, Format.KVN), (_XML, Format.XML), (_JSON, Format.JSON), (_CSV, Format.CSV),
    ):  # fmt: skip
        if pattern.match(head):
            return form
    return Format.TLE


def looked_at(chunks: Iterable[bytes]) -> tuple[Format, Iterator[bytes]]:
    """The format of an input, and all of its chunks. Reads at least 4 KiB ahead, or to the end."""
    rest = iter(chunks)
    seen: list[bytes] = []
    size = 0
    for chunk in rest:
        seen.append(chunk)
        size += len(chunk)
        if size >= _HEAD_SIZE:
            break
    head = b"".join(seen) if len(seen) != 1 else seen[0]
    return recognised(head[:_HEAD_SIZE]), chain((head,) if head else (), rest)
