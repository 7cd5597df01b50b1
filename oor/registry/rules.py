"""Why bytes of an input are refused. Rule ids stand in quarantine files and never change."""

from __future__ import annotations

from dataclasses import dataclass

TLE_REASONS: dict[str, str] = {
    "long-line": "longer than 1,024 bytes",
    "text": "neither a name nor an element line",
    "name-alone": "a name line without element lines behind it",
    "line-1-missing": "line 2 of a set without its line 1",
    "line-2-missing": "line 1 of a set without its line 2",
    "byte": "a byte that is not printable ASCII",
    "length": "not 69 columns long",
    "checksum-missing": "68 columns: the check digit is missing",
    "column": "a character that the field does not allow",
    "checksum": "the check digit is wrong",
    "catalog-number": "an Alpha-5 catalog number that begins with I or O",
    "catalog-mismatch": "the catalog number is not that of line 1",
    "epoch": "the day of the year is not above 0 and below 367",
    "angle": "an angle beyond its limit (inclination 180 degrees, others 360)",
}
"""What the rules for TLE text mean, in a few words."""

OMM_REASONS: dict[str, str] = {
    "omm-text": "bytes that belong to no message",
    "omm-size": "longer than 65,536 bytes",
    "omm-cut": "the input ends in this message, or before the end of its line: it may be cut",
    "omm-record": "no well-formed message of its format",
    "omm-doctype": "a document type declaration: entities are not expanded",
    "omm-missing": "a field without which there is no element set is missing",
    "omm-duplicate": "a field that is there twice",
    "omm-number": "a value that is no number of at most 40 characters",
    "omm-unit": "a unit that is not the one of its field",
    "omm-range": "a value beyond what its field can be",
    "omm-catalog-number": "a catalog number that is not 1 to 9 digits, nor Alpha-5",
    "omm-epoch": "no date and time of the calendar or of the day of the year",
    "omm-epoch-precision": "an epoch finer than a microsecond",
    "omm-model": "a center, frame, time system or theory that is not SGP4's",
}
"""What the rules for messages mean; they are the same for KVN, XML, JSON and CSV."""

REASONS: dict[str, str] = TLE_REASONS | OMM_REASONS
"""What each rule means, in a few words."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Bytes of an input that are no element set, and why.

    `offset` (bytes from 0) and `line` (from 1) say where `raw` begins in the input, uncompressed;
    `fault_line` and `column` (from 1; 0: the whole line) where the rule was broken; `field` names
    the field of a message at fault, if it is one.
    """

    rule: str
    offset: int
    line: int
    fault_line: int
    column: int
    raw: bytes
    field: str = ""

    @property
    def reason(self) -> str:
        """One sentence for people."""
        place = f"line {self.fault_line}"
        if self.column:
            place += f", column {self.column}"
        if self.field:
            place += f", {self.field}"
        return f"{place}: {REASONS[self.rule]}"
