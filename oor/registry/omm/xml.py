"""Messages as `omm` elements, alone or in an `ndm` element.

    input   := (message | wrapper | comment | instruction | blank)*
    message := "<omm" ... "</omm>"
    wrapper := "<ndm" ... ">"  |  "</ndm>"

Messages are cut out by their tags and each is parsed for itself, so one that is damaged costs no
other, and memory is bounded. A document type is refused, and a message has none: no entity but the
five of XML and character references can be expanded, whatever an input declares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from oor.registry.omm import model
from oor.registry.omm.model import RECORD_SIZE_MAX, Fields, Refused
from oor.registry.omm.split import RECORD, STRUCTURE, Piece

_BLANK = re.compile(rb"\s++")
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_INSTRUCTION = re.compile(rb"<\?.*?\?>", re.DOTALL)
_DOCTYPE = re.compile(
    rb"<!DOCTYPE(?:[^<>\[\"']|\"[^\"]*+\"|'[^']*+')*+(?:\[.*?\]\s*+)?>", re.DOTALL
)
_WRAPPER = re.compile(rb"<(/?)(?:[\w.-]+:)?ndm(?:\s(?:[^<>\"']|\"[^\"<]*+\"|'[^'<]*+')*+)?>")
_OPEN = re.compile(rb"<(?:[\w.-]+:)?omm(?=[\s>/])")
_FOLLOWING = re.compile(rb"<(?:(?:[\w.-]+:)?omm[\s>/]|/?(?:[\w.-]+:)?ndm[\s>])")


class Splitter:
    """Elements named `omm`, whatever their prefix."""

    def __init__(self) -> None:
        self._depth = 0

    @property
    def closed(self) -> bool:
        return self._depth <= 0

    def next(self, text: bytes, at: int, at_end: bool) -> Piece | None:
        stop = at + RECORD_SIZE_MAX
        blank = _BLANK.match(text, at, stop)
        if blank is not None:
            return Piece(STRUCTURE, blank.end())
        for pattern, kind in _MARKUPS:
            match = pattern.match(text, at, stop)
            if match is not None:
                if pattern is _WRAPPER:
                    self._depth += -1 if match[1] else 1
                return Piece(kind, match.end())
        if not at_end and len(text) <= stop:
            return None
        return self._refused(text, at)

    def _refused(self, text: bytes, at: int) -> Piece:
        """To the next tag of a message or of what messages lie in."""
        stop = at + RECORD_SIZE_MAX
        opened = _OPEN.match(text, at, stop) is not None
        following = _FOLLOWING.search(text, at + 1, stop)
        if following is not None:
            return Piece("omm-record" if opened else "omm-text", following.start())
        if not opened:
            return Piece("omm-text", min(stop, len(text)))
        return Piece("omm-size" if len(text) > stop else "omm-cut", min(stop, len(text)))

    def resync(self, raw: bytes) -> int:
        return len(raw)

    def stored(self, raw: bytes) -> bytes:
        return raw

    def state(self) -> dict[str, Any]:
        return {"depth": self._depth}

    def restore(self, state: dict[str, Any]) -> None:
        self._depth = state["depth"]


# A message ends with its end tag, before which no other begins.
_MESSAGE = re.compile(
    rb"<(?:[\w.-]+:)?omm(?=[\s>/])(?:[^<]++|<(?!/?(?:[\w.-]+:)?omm[\s>/]))*+</(?:[\w.-]+:)?omm\s*+>"
)
_MARKUPS = (
    (_MESSAGE, RECORD),
    (_WRAPPER, STRUCTURE),
    (_COMMENT, STRUCTURE),
    (_INSTRUCTION, STRUCTURE),
    (_DOCTYPE, "omm-doctype"),
)


class _Reader:
    """The leaves of one message as fields."""

    def __init__(self) -> None:
        self.fields: Fields = {}
        self._text: list[str] = []
        self._name = ""
        self._unit: str | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if name == "omm":
            model.add(self.fields, model.VERSION, attributes.get("version", ""))
        elif name == "USER_DEFINED":
            name = attributes.get("parameter", "")
        self._name, self._unit = name, attributes.get("units")
        self._text.clear()

    def data(self, text: str) -> None:
        self._text.append(text)

    def end(self, tag: str) -> None:
        if self._name:
            text = "".join(self._text)
            if self._name.isupper() or tag.endswith("USER_DEFINED"):
                model.add(self.fields, self._name, text, self._unit)
            elif text.strip():
                raise Refused("omm-record", self._name)
        self._name = ""
        self._text.clear()


def read(raw: bytes) -> Fields:
    """The fields of one message. Raises Refused. About 40 us."""
    try:
        raw.decode("utf-8")
        encoding = "utf-8"
    except UnicodeDecodeError:
        encoding = "iso-8859-1"
    parser = expat.ParserCreate(encoding)
    reader = _Reader()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    try:
        parser.Parse(raw, True)
    except expat.ExpatError:
        raise Refused("omm-record") from None
    return reader.fields


def _refuse_doctype(*_: object) -> None:
    raise Refused("omm-doctype")


HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ndm>\n'
TAIL = "</ndm>\n"
_SECTIONS = (
    ("meanElements", model.MEAN_ELEMENTS),
    ("spacecraftParameters", model.SPACECRAFT),
    ("tleParameters", model.TLE_PARAMETERS),
    ("covarianceMatrix", model.COVARIANCE),
)


def message(fields: Mapping[str, str]) -> str:
    """The `omm` element of these fields, without a document around it."""
    fields = model.with_frame(fields)
    version = quoteattr(fields[model.VERSION])
    comments = fields.get(model.COMMENT, "")
    header = "".join(_leaf(model.COMMENT, line) for line in comments.split("\n") if line)
    header += _leaves(fields, model.HEADER)
    data = "".join(
        f"<{name}>{leaves}</{name}>"
        for name, names in _SECTIONS
        if (leaves := _leaves(fields, names))
    )
    users = "".join(
        f"<USER_DEFINED parameter={quoteattr(name)}>{escape(value)}</USER_DEFINED>"
        for name, value in fields.items()
        if name not in model.PLACE
    )
    if users:
        data += f"<userDefinedParameters>{users}</userDefinedParameters>"
    return (
        f'<omm id="CCSDS_OMM_VERS" version={version}><header>{header}</header><body><segment>'
        f"<metadata>{_leaves(fields, model.METADATA)}</metadata><data>{data}</data>"
        "</segment></body></omm>\n"
    )


def write(fields: Mapping[str, str]) -> str:
    """A document of one message."""
    return HEAD + message(fields) + TAIL


def _leaves(fields: Mapping[str, str], names: tuple[str, ...]) -> str:
    return "".join(_leaf(name, fields[name]) for name in names if name in fields)


def _leaf(name: str, value: str) -> str:
    return f"<{name}>{escape(value)}</{name}>"
