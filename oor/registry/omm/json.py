"""Messages as JSON objects: an array of them, one alone, or one behind the other (one a line).

    input  := (object | "[" | "]" | "," | blank)*
    object := "{" name ":" value ("," name ":" value)* "}"      values are text, numbers or null

Objects of objects are no messages. Numbers are taken by their text, as if they were in quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from oor.registry.omm import model
from oor.registry.omm.model import RECORD_SIZE_MAX, Fields, Refused
from oor.registry.omm.split import RECORD, STRUCTURE, Piece
from oor.registry.omm.text import decoded

_STRUCTURE = re.compile(rb"[\s,\[\]]++")
# An object without objects in it; a text ends at the end of its line, if not at its quote.
_OBJECT = re.compile(rb'\{[^{}"]*+(?:"[^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+"[^{}"]*+)*+\}')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


class Splitter:
    """Objects of the top level or of an array."""

    def __init__(self) -> None:
        self._depth = 0

    @property
    def closed(self) -> bool:
        return self._depth <= 0

    def next(self, text: bytes, at: int, at_end: bool) -> Piece | None:
        stop = at + RECORD_SIZE_MAX
        structure = _STRUCTURE.match(text, at, stop)
        if structure is not None:
            self._depth += text.count(b"[", at, structure.end())
            self._depth -= text.count(b"]", at, structure.end())
            return Piece(STRUCTURE, structure.end())
        whole = _OBJECT.match(text, at, stop)
        if whole is not None:
            return Piece(RECORD, whole.end())
        if not at_end and len(text) <= stop:
            return None
        following = text.find(b"{", at + 1, stop)
        if following > 0:
            return Piece("omm-record" if text[at] == 0x7B else "omm-text", following)
        if text[at] != 0x7B:
            return Piece("omm-text", min(stop, len(text)))
        return Piece("omm-size" if len(text) > stop else "omm-cut", min(stop, len(text)))

    def resync(self, raw: bytes) -> int:
        """A quote that is missing joins two objects: look again from the next brace."""
        following = raw.find(b"{", 1)
        return following if following > 0 else len(raw)

    def stored(self, raw: bytes) -> bytes:
        return raw

    def state(self) -> dict[str, Any]:
        return {"depth": self._depth}

    def restore(self, state: dict[str, Any]) -> None:
        self._depth = state["depth"]


def read(raw: bytes) -> Fields:
    """The fields of one object. Raises Refused. About 15 us."""
    fields: Fields = {}
    try:
        pairs = json.loads(
            decoded(raw), parse_float=str, parse_int=str, parse_constant=_refuse,
            object_pairs_hook=list,
        )  # fmt: skip
    except (ValueError, RecursionError):
        raise Refused("omm-record") from None
    for name, value in pairs:
        if value is None:
            continue
        if not isinstance(value, str):
            raise Refused("omm-record", name)
        model.add(fields, name, value)
    return fields


def _refuse(name: str) -> str:
    raise ValueError(name)


def write(fields: Mapping[str, str]) -> str:
    """An object of these fields on one line; numbers are numbers, digit for digit."""
    parts = []
    for name, value in model.ordered(fields):
        if name not in model.NUMBERS:
            parts.append(f"{json.dumps(name)}:{json.dumps(value)}")
            continue
        number = model.plain_number(value)
        parts.append(f'"{name}":{number if _NUMBER.fullmatch(number) else json.dumps(value)}')
    return "{" + ",".join(parts) + "}"
