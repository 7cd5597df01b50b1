"""Messages in a stream: cut out, read, checked and counted, in bounded memory.

    input := (record | reject | structure)*

A record is one message. Structure is what holds messages together: blank space, brackets, wrapping
tags, the header of a table. Everything else is a reject. The splitter of a format says which comes
next; where the chunks of an input are cut makes no difference to it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, NamedTuple

from oor.native import ffi
from oor.registry.elset import ElementSet, unstored
from oor.registry.formats import BYTE_ORDER_MARK, Format
from oor.registry.index import Label
from oor.registry.keys import ElsetKey
from oor.registry.omm.forms import FORMS
from oor.registry.omm.model import RECORD_SIZE_MAX, Refused, identify
from oor.registry.omm.set import OmmSet
from oor.registry.omm.split import RECORD, STRUCTURE
from oor.registry.roster import Roster
from oor.registry.rules import Rejected
from oor.registry.store import Columns, Pair, Pairs, joined
from oor.registry.tle_scan import BATCH_SETS

_READ_AHEAD = 4 * RECORD_SIZE_MAX


class _Found(NamedTuple):
    key: ElsetKey
    text: bytes
    offset: int
    label: Label


class OmmBatch:
    """Messages that are element sets, and rejects, in the order of the input."""

    __slots__ = ("_format", "_found", "rejected", "state")

    def __init__(
        self, form: Format, found: list[_Found], rejected: list[Rejected], state: dict[str, Any]
    ) -> None:
        self._format = form
        self._found = found
        self.rejected = rejected
        self.state = state
        """That of the scanner when it had found this and nothing more."""

    @property
    def count(self) -> int:
        """Sets found."""
        return len(self._found)

    def raw_sets(self) -> Any:
        """What is needed of the sets to tell them apart, as an array of oor_tle_set."""
        sets = ffi.new("oor_tle_set[]", max(self.count, 1))
        for raw, found in zip(sets, self._found, strict=False):
            raw.catalog_number, raw.epoch_us, _, raw.digest = found.key
        return sets

    def keys(self, source_id: int, keep: bytes | None = None) -> list[bytes]:
        """The key of each set, in the order of the input, or of those kept."""
        return [one.key._replace(source_id=source_id).encode() for one in self._kept(keep)]

    def columns(
        self, source_id: int, keep: bytes | None = None, head: Sequence[Pair] = ()
    ) -> Columns:  # fmt: skip
        """Keys and values of all sets, or of those whose byte in `keep` is not 0, behind `head`."""
        values = [unstored(self._format, 0, found.text) for found in self._kept(keep)]
        return joined([*head, *zip(self.keys(source_id, keep), values, strict=True)])

    def new_labels(self, roster: Roster, keep: bytes) -> tuple[Pairs, list[Label]]:
        """Of the kept sets: no records of labels, and the labels that the roster had not met."""
        met = roster.other_labels
        labels = {found.label: None for found in self._kept(keep) if found.label not in met}
        met.update(labels)
        return [], list(labels)

    def keep_newest(self, roster: Roster, keep: bytes, source_id: int, first_lsn: int) -> None:
        """Messages are long, and looked up when they are asked for."""

    def _kept(self, keep: bytes | None) -> Sequence[_Found]:
        return self._found if keep is None else list(compress(self._found, keep))

    def element_sets(self, source_id: int = 0, source: str | None = None) -> Iterator[ElementSet]:
        """Each set as an object; `lsn` is 0."""
        for key, found in zip(self.keys(source_id), self._found, strict=True):
            yield OmmSet(key, unstored(self._format, 0, found.text), source)

    def offsets(self) -> list[int]:
        """Where each set begins, in bytes from the start of the input."""
        return [found.offset for found in self._found]


class OmmScanner:
    """Reads one input of messages. It knows how far it has read and has counted every byte.

    Threads: one at a time. Memory: a chunk of the caller's, 256 KiB, and one batch.
    """

    def __init__(self, form: Format, batch_sets: int = BATCH_SETS) -> None:
        self._format = form
        self._read = FORMS[form].read
        self._splitter = FORMS[form].splitter()
        self._batch_sets = batch_sets
        self._lines = 0
        self.offset = 0
        """Bytes done with; once `batches` has ended, all of them."""
        self.set_count = 0
        self.reject_count = 0
        self.ended = False

    @property
    def cut(self) -> bool:
        """Whether the input ended before everything that it opened was closed."""
        return self.ended and not self._splitter.closed

    def state(self) -> dict[str, Any]:
        """How far the input has been read, as JSON; valid between two batches."""
        return {
            "offset": self.offset, "lines": self._lines, "sets": self.set_count,
            "rejects": self.reject_count, "splitter": self._splitter.state(),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another scanner was; `batches` then takes what follows its offset."""
        self.offset, self._lines = state["offset"], state["lines"]
        self.set_count, self.reject_count = state["sets"], state["rejects"]
        self._splitter.restore(state["splitter"])

    def batches(self, chunks: Iterable[bytes]) -> Generator[OmmBatch, None, None]:
        """Scan an input to its end. Where its chunks are cut makes no difference."""
        first = self.offset == 0
        rest = b""
        for chunk in _joined(chunks):
            text = rest + chunk if rest else chunk
            at = 0
            if first and text.startswith(BYTE_ORDER_MARK):
                at = self.offset = len(BYTE_ORDER_MARK)
            first = False
            at = yield from self._scan(text, at, at_end=False)
            rest = text[at:]
        yield from self._scan(rest, 0, at_end=True)
        self.ended = True

    def _scan(self, text: bytes, at: int, *, at_end: bool) -> Any:
        found: list[_Found] = []
        rejected: list[Rejected] = []
        while at < len(text):
            piece = self._splitter.next(text, at, at_end)
            if piece is None:
                assert not at_end, "the end of an input leaves nothing undecided"
                break
            kind, end = piece
            assert at < end <= len(text)
            if kind == RECORD:
                end = self._take(text, at, end, found, rejected)
            elif kind != STRUCTURE:
                rejected.append(self._rejected(kind, text[at:end]))
            self._lines += text.count(b"\n", at, end)
            self.offset += end - at
            at = end
            if len(found) + len(rejected) >= self._batch_sets:
                yield self._batch(found, rejected)
                found, rejected = [], []
        if found or rejected:
            yield self._batch(found, rejected)
        return at

    def _take(
        self, text: bytes, at: int, end: int, found: list[_Found], rejected: list[Rejected]
    ) -> int:
        """Read the record text[at:end]; returns where to go on, before `end` if it is damaged."""
        raw = text[at:end]
        stored = self._splitter.stored(raw)
        try:
            fields = self._read(stored)
            number, epoch_us, digest = identify(fields)
        except Refused as refused:
            if refused.rule == "omm-record":
                end = at + self._splitter.resync(raw)
            rejected.append(self._rejected(refused.rule, text[at:end], refused.field))
        else:
            label = Label(number, fields.get("OBJECT_ID"), fields.get("OBJECT_NAME"))
            found.append(_Found(ElsetKey(number, epoch_us, 0, digest), stored, self.offset, label))
        return end

    def _rejected(self, rule: str, raw: bytes, field: str = "") -> Rejected:
        line = self._lines + 1
        return Rejected(rule, self.offset, line, line, 0, raw, field)

    def _batch(self, found: list[_Found], rejected: list[Rejected]) -> OmmBatch:
        self.set_count += len(found)
        self.reject_count += len(rejected)
        return OmmBatch(self._format, found, rejected, self.state())


def _joined(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Small chunks put together: what a message lacks is looked for once a chunk."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= _READ_AHEAD:
            yield b"".join(parts) if len(parts) > 1 else parts[0]
            parts, size = [], 0
    if parts:
        yield b"".join(parts)
