"""Element sets into files of any format, one behind the other, without holding them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from oor.errors import LimitError
from oor.registry import tle_write
from oor.registry.elset import ElementSet
from oor.registry.omm import csv, xml

FORMATS = ("original", "tle", "2le", "3le", "kvn", "xml", "json", "ndjson", "csv")
"""What `writer` takes. "original" is each record as it was read, "ndjson" one object a line."""


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A set that the wanted format cannot hold, and why. It is not in the output."""

    elset: ElementSet
    reason: str


class Writer(Protocol):
    """Makes the text of a file: its head, a piece for each set, its tail."""

    def head(self) -> str: ...

    def one(self, elset: ElementSet) -> str:
        """Raises LimitError for a set that the format cannot hold."""

    def tail(self) -> str: ...


def written(
    sets: Iterable[ElementSet],
    form: str,
    refused: Callable[[Unwritable], object],
    *,
    rounded: bool = False,
) -> Iterator[bytes]:
    """The pieces of a file of these sets; what the format cannot hold goes to `refused`.

    Raises LimitError for another format than those of FORMATS. Cost: 5 to 60 us a set.
    """
    writer = _writer(form, rounded)
    yield writer.head().encode()
    for elset in sets:
        if form == "original":
            yield original(elset)
            continue
        try:
            piece = writer.one(elset)
        except LimitError as error:
            refused(Unwritable(elset, error.message))
        else:
            yield piece.encode()
    yield writer.tail().encode()


def original(elset: ElementSet) -> bytes:
    """The record of a set as it was read, with a line end."""
    text = elset.text
    return text if text.endswith(b"\n") else text + b"\n"


def _writer(form: str, rounded: bool) -> Writer:
    if form not in FORMATS:
        raise LimitError(f"{form!r} is no format to write; they are {', '.join(FORMATS)}")
    if form in tle_write.SHAPES:
        return _Lines(form, rounded)
    makers: dict[str, Callable[[], Writer]] = {"xml": _Xml, "json": _Json, "csv": _Csv}
    return makers[form]() if form in makers else _Plain("json" if form == "ndjson" else "kvn")


class _Plain:
    """Messages one behind the other."""

    def __init__(self, form: str) -> None:
        self._form = form

    def head(self) -> str:
        return ""

    def one(self, elset: ElementSet) -> str:
        text = elset.to_omm(self._form)
        return text if text.endswith("\n") else text + "\n"

    def tail(self) -> str:
        return ""


class _Lines(_Plain):
    def __init__(self, form: str, rounded: bool) -> None:
        super().__init__(form)
        self._rounded = rounded

    def one(self, elset: ElementSet) -> str:
        return elset.to_tle(self._form, rounded=self._rounded)


class _Xml:
    def head(self) -> str:
        return xml.HEAD

    def one(self, elset: ElementSet) -> str:
        return xml.message(elset.fields)

    def tail(self) -> str:
        return xml.TAIL


class _Json:
    def __init__(self) -> None:
        self._first = True

    def head(self) -> str:
        return "["

    def one(self, elset: ElementSet) -> str:
        text = elset.to_omm("json")
        first, self._first = self._first, False
        return f"\n{text}" if first else f",\n{text}"

    def tail(self) -> str:
        return "\n]\n"


class _Csv:
    """A table with the columns that its first set needs; sets that need others are refused."""

    def __init__(self) -> None:
        self._columns: list[str] = []

    def head(self) -> str:
        return ""

    def one(self, elset: ElementSet) -> str:
        fields = elset.fields
        head = ""
        if not self._columns:
            self._columns = csv.columns(fields)
            head = csv.header(self._columns)
        for name in fields:
            if name not in self._columns:
                raise LimitError(f"the table has no column {name}: its first set has none")
        return head + csv.row(self._columns, fields)

    def tail(self) -> str:
        return "" if self._columns else csv.header(csv.columns({}))
