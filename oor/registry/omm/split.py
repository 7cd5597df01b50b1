"""What the formats say to the scanner about a stream: which piece comes next."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

RECORD = "record"
STRUCTURE = "structure"


class Piece(NamedTuple):
    """What comes next: RECORD, STRUCTURE or the id of the rule it breaks, and where it ends."""

    kind: str
    end: int


class Splitter(Protocol):
    """Cuts an input of one format into pieces. It may keep what earlier pieces told it."""

    def next(self, text: bytes, at: int, at_end: bool) -> Piece | None:
        """The piece that begins at `text[at]`; None: not all of it is there yet.

        It is decided by the RECORD_SIZE_MAX bytes from `at` on, or by fewer if the input ends.
        """

    def resync(self, raw: bytes) -> int:
        """How many bytes of a record that is not well-formed to refuse before looking again."""

    def stored(self, raw: bytes) -> bytes:
        """The record as a message that can be read alone."""

    @property
    def closed(self) -> bool:
        """Whether everything that was opened has been closed: if not, the input was cut."""

    def state(self) -> dict[str, Any]:
        """What another splitter needs to go on from here, as JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""
