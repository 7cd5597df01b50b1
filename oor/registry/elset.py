"""One element set: its original lines, and its fields decoded from them on demand, exactly.

Field names and units are those of the CCSDS Orbit Mean-Elements Message, in lower case: degrees,
turns a day and its powers, B* in inverse Earth radii. Numbers are Decimals with the digits of the
text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from oor.errors import FormatError
from oor.registry.keys import ElsetKey

FORMAT_TEXT = 1
"""The only format of a stored value so far: lines of text, byte for byte."""
FLAG_NAMED = 1
VALUE_HEADER_SIZE = 10

_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)
_TRAILING = b" \t\r\n\\"


@dataclass(frozen=True, slots=True)
class ElementSet:
    """A set that has passed every check of the scanner. Immutable; a field costs about 2 us.

    `text` is the original: name line if there was one, two element lines, line ends, byte for byte.
    `source` is None where no source was named; `lsn` is 0 for a set that was parsed and not stored.
    """

    key: bytes
    text: bytes = field(repr=False)
    named: bool = field(repr=False)
    source: str | None = None
    lsn: int = 0

    @classmethod
    def from_record(cls, key: bytes, value: bytes, source: str | None = None) -> ElementSet:
        """The set of one stored pair. Raises FormatError for a value of a later format."""
        if len(value) <= VALUE_HEADER_SIZE or value[8] != FORMAT_TEXT:
            raise FormatError(
                f"the record {key.hex()} is of a format that this build does not read"
            )
        lsn = int.from_bytes(value[:8], "little")
        return cls(key, value[VALUE_HEADER_SIZE:], bool(value[9] & FLAG_NAMED), source, lsn)

    # ---- lines ----

    @property
    def lines(self) -> tuple[str, ...]:
        """Name line (if any) and element lines, without what trails them; never blank lines."""
        stripped = (line.rstrip(_TRAILING) for line in self.text.split(b"\n"))
        return tuple(_decode(line) for line in stripped if line)

    @property
    def line1(self) -> str:
        """The first element line, 69 columns."""
        return self.lines[-2]

    @property
    def line2(self) -> str:
        """The second element line, 69 columns."""
        return self.lines[-1]

    # ---- identity ----

    @property
    def norad_cat_id(self) -> int:
        """Catalog number; Alpha-5 is decoded."""
        return int.from_bytes(self.key[1:5], "big")

    @property
    def epoch_us(self) -> int:
        """Epoch in microseconds since 1970-01-01 UTC, exact: a TLE's unit is 864 of them."""
        return int.from_bytes(self.key[5:13], "big") - 2**63

    @property
    def epoch(self) -> datetime:
        """Epoch as an aware datetime, UTC, exact to the microsecond."""
        return _EPOCH_0 + timedelta(microseconds=self.epoch_us)

    @property
    def digest(self) -> int:
        """64-bit digest of the element fields' text; the name line has no part in it."""
        return ElsetKey.decode(self.key).digest

    @property
    def object_name(self) -> str | None:
        """The name line without a leading "0 "; None if there is no name line."""
        if not self.named:
            return None
        name = self.lines[0]
        return name[2:].strip() if name.startswith("0 ") else name.strip()

    @property
    def object_id(self) -> str | None:
        """International designator as "1998-067A"; None where the columns are blank.

        Columns that do not follow the pattern come back as they stand, without blanks around.
        """
        text = self.line1[9:17].strip()
        if len(text) < 6 or not text[:5].isdigit() or " " in text:
            return text or None
        return f"{_full_year(int(text[:2]))}-{text[2:5]}{text[5:]}"

    @property
    def classification_type(self) -> str:
        """U, C or S; a space where the column is blank."""
        return self.line1[7]

    # ---- elements ----

    @property
    def mean_motion_dot(self) -> Decimal:
        """First derivative of the mean motion divided by two, turns a day squared."""
        return Decimal(self.line1[33:43].strip())

    @property
    def mean_motion_ddot(self) -> Decimal:
        """Second derivative of the mean motion divided by six, turns a day cubed."""
        return _scaled(self.line1[44:52])

    @property
    def bstar(self) -> Decimal:
        """Drag term B*, inverse Earth radii."""
        return _scaled(self.line1[53:61])

    @property
    def ephemeris_type(self) -> int | None:
        """0 for SGP4; None where the column is blank."""
        return _whole(self.line1[62])

    @property
    def element_set_no(self) -> int | None:
        """0 to 9999; not a version, it wraps. None where the columns are blank."""
        return _whole(self.line1[64:68])

    @property
    def inclination(self) -> Decimal:
        """Degrees, 0 to 180."""
        return Decimal(self.line2[8:16].strip())

    @property
    def ra_of_asc_node(self) -> Decimal:
        """Right ascension of the ascending node, degrees."""
        return Decimal(self.line2[17:25].strip())

    @property
    def eccentricity(self) -> Decimal:
        """0 to 0.9999999."""
        return Decimal("0." + self.line2[26:33].replace(" ", "0"))

    @property
    def arg_of_pericenter(self) -> Decimal:
        """Degrees."""
        return Decimal(self.line2[34:42].strip())

    @property
    def mean_anomaly(self) -> Decimal:
        """Degrees."""
        return Decimal(self.line2[43:51].strip())

    @property
    def mean_motion(self) -> Decimal:
        """Turns a day."""
        return Decimal(self.line2[52:63].strip())

    @property
    def rev_at_epoch(self) -> int | None:
        """Turn number at epoch, 0 to 99999; None where the columns are blank."""
        return _whole(self.line2[63:68])

    def to_dict(self) -> dict[str, Any]:
        """All fields in a fixed order, ready for json.dumps.

        Decimals become floats: no field has more than 11 digits, so their text reads back the same.
        """
        result: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        result["epoch"] = self.epoch.isoformat(timespec="microseconds").replace("+00:00", "Z")
        for name, value in result.items():
            if isinstance(value, Decimal):
                result[name] = float(value)
        result["lines"] = list(self.lines)
        return result


_FIELDS = (
    "object_name", "object_id", "norad_cat_id", "classification_type", "epoch", "mean_motion",
    "eccentricity", "inclination", "ra_of_asc_node", "arg_of_pericenter", "mean_anomaly",
    "ephemeris_type", "element_set_no", "rev_at_epoch", "bstar", "mean_motion_dot",
    "mean_motion_ddot", "epoch_us", "source", "lsn",
)  # fmt: skip


def _decode(line: bytes) -> str:
    """Names are UTF-8 or, where that fails, Latin-1; element lines are ASCII."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _full_year(year: int) -> int:
    return year + (1900 if year >= 57 else 2000)


def _whole(text: str) -> int | None:
    return int(text) if text.strip() else None


def _scaled(text: str) -> Decimal:
    """Eight columns: sign, five digits behind an implied point, signed exponent of ten."""
    exponent = text[6:8].replace(" ", "+", 1)
    return Decimal(f"{text[0].strip()}.{text[1:6]}E{exponent}")
