"""An element set that came as lines of 69 columns, and its fields read from them on demand."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from oor.registry.elset import FLAG_NAMED, ElementSet, register
from oor.registry.formats import Format
from oor.registry.omm.model import epoch_text

_TRAILING = b" \t\r\n\\"


class TleSet(ElementSet):
    """Two lines, with a name line or without. A field costs about 2 us.

    `text` is the original: name line if there was one, two element lines, line ends, byte for byte.
    """

    __slots__ = ()

    format: ClassVar[Format] = Format.TLE

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

    @property
    def fields(self) -> Mapping[str, str]:
        """The 17 fields of a TLE by their upper-case CCSDS names, as a message would write them."""
        values = {
            "OBJECT_NAME": self.object_name,
            "OBJECT_ID": self.object_id,
            "EPOCH": epoch_text(self.epoch_us),
            "MEAN_MOTION": self.mean_motion,
            "ECCENTRICITY": self.eccentricity,
            "INCLINATION": self.inclination,
            "RA_OF_ASC_NODE": self.ra_of_asc_node,
            "ARG_OF_PERICENTER": self.arg_of_pericenter,
            "MEAN_ANOMALY": self.mean_anomaly,
            "EPHEMERIS_TYPE": self.ephemeris_type,
            "CLASSIFICATION_TYPE": self.classification_type.strip(),
            "NORAD_CAT_ID": self.norad_cat_id,
            "ELEMENT_SET_NO": self.element_set_no,
            "REV_AT_EPOCH": self.rev_at_epoch,
            "BSTAR": self.bstar,
            "MEAN_MOTION_DOT": self.mean_motion_dot,
            "MEAN_MOTION_DDOT": self.mean_motion_ddot,
        }
        return {name: str(value) for name, value in values.items() if value not in (None, "")}

    @property
    def named(self) -> bool:
        """Whether the first line is a name line."""
        return bool(self.record[9] & FLAG_NAMED)

    @property
    def object_name(self) -> str | None:
        """The name line without a leading "0 "; None if there is no name line."""
        return name_of(self.text.partition(b"\n")[0]) if self.named else None

    @property
    def object_id(self) -> str | None:
        """International designator as "1998-067A"; None where the columns are blank.

        Columns that do not follow the pattern come back as they stand, without blanks around.
        """
        return designator_of(self.line1[9:17])

    @property
    def classification_type(self) -> str:
        """U, C or S; a space where the column is blank."""
        return self.line1[7]

    @property
    def mean_motion_dot(self) -> Decimal:
        return Decimal(self.line1[33:43].strip())

    @property
    def mean_motion_ddot(self) -> Decimal:
        return _scaled(self.line1[44:52])

    @property
    def bstar(self) -> Decimal:
        return _scaled(self.line1[53:61])

    @property
    def ephemeris_type(self) -> int | None:
        return _whole(self.line1[62])

    @property
    def element_set_no(self) -> int | None:
        return _whole(self.line1[64:68])

    @property
    def inclination(self) -> Decimal:
        return Decimal(self.line2[8:16].strip())

    @property
    def ra_of_asc_node(self) -> Decimal:
        return Decimal(self.line2[17:25].strip())

    @property
    def eccentricity(self) -> Decimal:
        return Decimal("0." + self.line2[26:33].replace(" ", "0"))

    @property
    def arg_of_pericenter(self) -> Decimal:
        return Decimal(self.line2[34:42].strip())

    @property
    def mean_anomaly(self) -> Decimal:
        return Decimal(self.line2[43:51].strip())

    @property
    def mean_motion(self) -> Decimal:
        return Decimal(self.line2[52:63].strip())

    @property
    def rev_at_epoch(self) -> int | None:
        return _whole(self.line2[63:68])


register(Format.TLE, TleSet)


def name_of(line: bytes) -> str:
    """The name in a name line, without a leading "0 "."""
    name = _decode(line.rstrip(_TRAILING))
    return name[2:].strip() if name.startswith("0 ") else name.strip()


def designator_of(columns: str) -> str | None:
    """Columns 10 to 17 of line 1 as an international designator; None if they are blank."""
    text = columns.strip()
    if len(text) < 6 or not text[:5].isdigit() or " " in text:
        return text or None
    return f"{_full_year(int(text[:2]))}-{text[2:5]}{text[5:]}"


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
