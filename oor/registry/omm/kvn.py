"""Messages as lines of `NAME = value`, one behind the other.

    input   := (message | blank)*
    message := version line*            from its version to the next one's, or to the end
    version := "CCSDS_OMM_VERS" "=" text "\\n"
    line    := NAME "=" text ["[" unit "]"] "\\n"  |  "COMMENT" text "\\n"  |  blank

A message has no mark of its end, so the last line of an input must have its line end: without it
nobody knows whether a digit is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oor.registry.omm import model
from oor.registry.omm.model import RECORD_SIZE_MAX, Fields, Refused
from oor.registry.omm.split import RECORD, STRUCTURE, Piece
from oor.registry.omm.text import decoded

_BLANK = re.compile(rb"(?:[ \t\r]*+\n)++")
_VERSION = re.compile(rb"[ \t]*CCSDS_OMM_VERS[ \t]*=")
_NEXT = re.compile(rb"\n(?=[ \t]*CCSDS_OMM_VERS[ \t]*=)")
# More bytes than blank space and the name of the version need.
_LINE_HEAD = 64
_UNIT = re.compile(r"(.*?)\s*\[([^\[\]]*)\]")


class Splitter:
    """From one version line to the next."""

    closed = True

    def next(self, text: bytes, at: int, at_end: bool) -> Piece | None:
        stop = at + RECORD_SIZE_MAX
        blank = _BLANK.match(text, at, stop)
        if blank is not None:
            return Piece(STRUCTURE, blank.end())
        if at_end and text[at:stop].isspace():
            return Piece(STRUCTURE, min(stop, len(text)))
        whole = at_end or len(text) >= stop + _LINE_HEAD
        found = _NEXT.search(text, at, stop + _LINE_HEAD)
        opened = _VERSION.match(text, at, stop) is not None
        if found is not None and found.end() <= stop:
            return Piece(RECORD if opened else "omm-text", found.end())
        if not whole:
            return None
        if not opened:
            return Piece("omm-text", min(stop, len(text)))
        if len(text) > stop:
            return Piece("omm-size", stop)
        ended = text[at:].rstrip(b" \t\r").endswith(b"\n")
        return Piece(RECORD if ended else "omm-cut", len(text))

    def resync(self, raw: bytes) -> int:
        return len(raw)

    def stored(self, raw: bytes) -> bytes:
        return raw

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def read(raw: bytes) -> Fields:
    """The fields of one message. Raises Refused. About 15 us."""
    fields: Fields = {}
    for line in decoded(raw).split("\n"):
        line = line.strip()
        if not line or line.endswith(("_START", "_STOP")):
            continue
        name, sign, value = line.partition("=")
        name = name.rstrip()
        if name == model.COMMENT or name.startswith(model.COMMENT + " "):
            model.add(fields, model.COMMENT, line[len(model.COMMENT) :])
            continue
        if not sign:
            raise Refused("omm-record")
        value, unit = value.strip(), None
        if name in model.UNITS and (match := _UNIT.fullmatch(value)):
            value, unit = match.groups()
        model.add(fields, name, value, unit)
    return fields


def write(fields: Mapping[str, str]) -> str:
    """A message of these fields, as the standard orders them."""
    fields = model.with_frame(fields)
    lines: list[str] = []
    for name, value in model.ordered(fields):
        if name == model.COMMENT:
            lines.extend(f"COMMENT {line}" for line in value.split("\n"))
            continue
        if name not in model.PLACE:
            name = f"USER_DEFINED_{name}"
        lines.append(f"{name} = {value}".rstrip())
    return "\n".join(lines) + "\n"
