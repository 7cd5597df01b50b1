"""Messages as rows of a table whose first row names the columns.

    input := (header | row | blank)*
    row   := cell ("," cell)* ["\\r"] "\\n"
    cell  := text without quote and comma  |  '"' (text | '""')* '"'

A header is a row with a cell NORAD_CAT_ID; a later one, of a file put behind another, counts from
there on. A row is one line: no field of a message has a line end in it. It must have its own, or
nobody knows whether a digit is missing. A row is stored with its header in front.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from oor.registry.omm import model
from oor.registry.omm.model import RECORD_SIZE_MAX, Fields, Refused
from oor.registry.omm.split import RECORD, STRUCTURE, Piece
from oor.registry.omm.text import decoded

_NUMBER_NAME = b"NORAD_CAT_ID"
_HEADER_SIZE_MAX = 16_384


class Splitter:
    """Lines; knows the header in force."""

    closed = True

    def __init__(self) -> None:
        self._header = b""
        self._inside = False

    def next(self, text: bytes, at: int, at_end: bool) -> Piece | None:
        stop = at + RECORD_SIZE_MAX - _HEADER_SIZE_MAX
        end = text.find(b"\n", at, stop) + 1
        inside, self._inside = self._inside, False
        if not end:
            if len(text) <= stop:
                self._inside = inside
                return _last(text, at) if at_end else None
            self._inside = True
            return Piece("omm-size", stop)
        if inside:
            return Piece("omm-size", end)
        line = text[at:end].strip()
        if not line:
            return Piece(STRUCTURE, end)
        if _NUMBER_NAME in line and _is_header(line):
            if end - at > _HEADER_SIZE_MAX:
                return Piece("omm-size", end)
            self._header = text[at:end]
            return Piece(STRUCTURE, end)
        return Piece(RECORD if self._header else "omm-text", end)

    def resync(self, raw: bytes) -> int:
        return len(raw)

    def stored(self, raw: bytes) -> bytes:
        return self._header + raw

    def state(self) -> dict[str, Any]:
        return {"header": self._header.decode("latin-1"), "inside": self._inside}

    def restore(self, state: dict[str, Any]) -> None:
        self._header = state["header"].encode("latin-1")
        self._inside = state["inside"]


def _last(text: bytes, at: int) -> Piece:
    """What has no line end, behind the last row."""
    return Piece("omm-cut" if text[at:].strip() else STRUCTURE, len(text))


def _cells(line: str) -> list[str]:
    """Raises Refused for quotes that do not match."""
    if '"' not in line:
        return line.split(",")
    try:
        (cells,) = csv.reader((line,), strict=True)
    except (csv.Error, ValueError):
        raise Refused("omm-record") from None
    return cells


def _is_header(line: bytes) -> bool:
    try:
        return _NUMBER_NAME.decode() in map(str.strip, _cells(decoded(line)))
    except Refused:
        return False


def read(raw: bytes) -> Fields:
    """The fields of one row with its header in front. Raises Refused. About 10 us."""
    header, _, row = raw.partition(b"\n")
    names = _cells(decoded(header).strip())
    cells = _cells(decoded(row).strip("\r\n"))
    if len(cells) != len(names):
        raise Refused("omm-record")
    fields: Fields = {}
    for name, cell in zip(names, cells, strict=True):
        model.add(fields, name.strip(), cell)
    return fields


def header(names: Sequence[str]) -> str:
    """The row that names the columns."""
    return ",".join(names) + "\r\n"


def row(names: Sequence[str], fields: Mapping[str, str]) -> str:
    """The row of these fields under a header of `names`; comments of many lines become one."""
    return ",".join(_quoted(fields.get(name, "")) for name in names) + "\r\n"


def write(fields: Mapping[str, str]) -> str:
    """A table of one row."""
    names = columns(fields)
    return header(names) + row(names, fields)


def columns(fields: Mapping[str, str]) -> list[str]:
    """The columns that these fields need: the usual 17, then the others."""
    names = [name for name, _ in model.ordered(fields) if name not in model.TABLE_FIELDS]
    return [*model.TABLE_FIELDS, *names]


def _quoted(value: str) -> str:
    value = value.replace("\n", " ")
    if '"' in value or "," in value:
        return '"' + value.replace('"', '""') + '"'
    return value
