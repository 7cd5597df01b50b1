"""The fields of a message: their names, order and units, and what makes an element set of them.

Fields are a dict of upper-case CCSDS names to the text of the value as it was written, without
blanks around; an absent, empty or null value is no entry. Names that the standard does not have are
user-defined: the prefix USER_DEFINED_, which two of the formats need, is not part of the name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Context, Decimal
from typing import NamedTuple

from oor.native import lib
from oor.registry import alpha5

RECORD_SIZE_MAX = 65_536
"""Bytes of a message; longer ones are refused unread, so that memory is bounded."""
NUMBER_MAX = 999_999_999

Fields = dict[str, str]

HEADER = ("CREATION_DATE", "ORIGINATOR", "MESSAGE_ID")
METADATA = (
    "OBJECT_NAME", "OBJECT_ID", "CENTER_NAME", "REF_FRAME", "REF_FRAME_EPOCH", "TIME_SYSTEM",
    "MEAN_ELEMENT_THEORY",
)  # fmt: skip
MEAN_ELEMENTS = (
    "EPOCH", "SEMI_MAJOR_AXIS", "MEAN_MOTION", "ECCENTRICITY", "INCLINATION", "RA_OF_ASC_NODE",
    "ARG_OF_PERICENTER", "MEAN_ANOMALY", "GM",
)  # fmt: skip
SPACECRAFT = ("MASS", "SOLAR_RAD_AREA", "SOLAR_RAD_COEFF", "DRAG_AREA", "DRAG_COEFF")
TLE_PARAMETERS = (
    "EPHEMERIS_TYPE", "CLASSIFICATION_TYPE", "NORAD_CAT_ID", "ELEMENT_SET_NO", "REV_AT_EPOCH",
    "BSTAR", "BTERM", "MEAN_MOTION_DOT", "MEAN_MOTION_DDOT", "AGOM",
)  # fmt: skip
_AXES = ("X", "Y", "Z", "X_DOT", "Y_DOT", "Z_DOT")
COVARIANCE = (
    "COV_REF_FRAME",
    *(f"C{row}_{column}" for i, row in enumerate(_AXES) for column in _AXES[: i + 1]),
)
VERSION = "CCSDS_OMM_VERS"
COMMENT = "COMMENT"

STANDARD: tuple[str, ...] = (
    VERSION, COMMENT, *HEADER, *METADATA, *MEAN_ELEMENTS, *SPACECRAFT, *TLE_PARAMETERS, *COVARIANCE,
)  # fmt: skip
"""All names of the standard, in its order."""
PLACE = {name: index for index, name in enumerate(STANDARD)}

TABLE_FIELDS = (
    "OBJECT_NAME", "OBJECT_ID", "EPOCH", "MEAN_MOTION", "ECCENTRICITY", "INCLINATION",
    "RA_OF_ASC_NODE", "ARG_OF_PERICENTER", "MEAN_ANOMALY", "EPHEMERIS_TYPE", "CLASSIFICATION_TYPE",
    "NORAD_CAT_ID", "ELEMENT_SET_NO", "REV_AT_EPOCH", "BSTAR", "MEAN_MOTION_DOT",
    "MEAN_MOTION_DDOT",
)  # fmt: skip
"""The 17 fields that JSON and CSV have at the least; a TLE has all of them and no more."""

UNITS = {
    "SEMI_MAJOR_AXIS": "km", "MEAN_MOTION": "rev/day", "INCLINATION": "deg",
    "RA_OF_ASC_NODE": "deg", "ARG_OF_PERICENTER": "deg", "MEAN_ANOMALY": "deg",
    "GM": "km**3/s**2", "MASS": "kg",
    "SOLAR_RAD_AREA": "m**2", "DRAG_AREA": "m**2", "BSTAR": "1/ER", "BTERM": "m**2/kg",
    "MEAN_MOTION_DOT": "rev/day**2", "MEAN_MOTION_DDOT": "rev/day**3", "AGOM": "m**2/kg",
}  # fmt: skip
WHOLE = ("EPHEMERIS_TYPE", "ELEMENT_SET_NO", "REV_AT_EPOCH")
DECIMAL = (
    *(name for name in MEAN_ELEMENTS if name != "EPOCH"), *SPACECRAFT,
    "BSTAR", "BTERM", "MEAN_MOTION_DOT", "MEAN_MOTION_DDOT", "AGOM", *COVARIANCE[1:],
)  # fmt: skip
NUMBERS = frozenset((*WHOLE, *DECIMAL, "NORAD_CAT_ID"))

# Of each group one field must be there: the last of the standard's order among them, so that a
# message that was cut at the end of a line is never taken for a whole one.
_REQUIRED = (
    ("EPOCH",), ("MEAN_MOTION",), ("ECCENTRICITY",), ("INCLINATION",), ("RA_OF_ASC_NODE",),
    ("ARG_OF_PERICENTER",), ("MEAN_ANOMALY",), ("NORAD_CAT_ID",), ("BSTAR", "BTERM"),
    ("MEAN_MOTION_DOT",), ("MEAN_MOTION_DDOT", "AGOM"),
)  # fmt: skip
_LIMITS = {
    "INCLINATION": (Decimal(0), Decimal(180)),
    "RA_OF_ASC_NODE": (Decimal(-360), Decimal(360)),
    "ARG_OF_PERICENTER": (Decimal(-360), Decimal(360)),
    "MEAN_ANOMALY": (Decimal(-360), Decimal(360)),
    "ECCENTRICITY": (Decimal(0), Decimal("0." + "9" * 40)),
    "MEAN_MOTION": (Decimal(0), Decimal(1000)),
}
_MODEL = {
    "CENTER_NAME": re.compile("EARTH", re.IGNORECASE),
    "REF_FRAME": re.compile("TEME.*", re.IGNORECASE),
    "TIME_SYSTEM": re.compile("UTC", re.IGNORECASE),
    "MEAN_ELEMENT_THEORY": re.compile("SGP.*", re.IGNORECASE),
}
_FRAME = {
    "CREATION_DATE": "", "ORIGINATOR": "", "CENTER_NAME": "EARTH", "REF_FRAME": "TEME",
    "TIME_SYSTEM": "UTC", "MEAN_ELEMENT_THEORY": "SGP4",
}  # fmt: skip
_DIGESTED = (
    "MEAN_MOTION", "ECCENTRICITY", "INCLINATION", "RA_OF_ASC_NODE", "ARG_OF_PERICENTER",
    "MEAN_ANOMALY", "SEMI_MAJOR_AXIS", "BSTAR", "BTERM", "MEAN_MOTION_DOT", "MEAN_MOTION_DDOT",
    "AGOM", "EPHEMERIS_TYPE", "ELEMENT_SET_NO", "REV_AT_EPOCH",
)  # fmt: skip
_DIGESTED_TEXT = ("OBJECT_ID", "CLASSIFICATION_TYPE")

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?", re.ASCII)
_PARTS = re.compile(r"([+-]?)(\d*)\.?(\d*)([eE][+-]?\d{1,2})?", re.ASCII)
_NUMBER_SIZE_MAX = 40
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_EPOCH = re.compile(
    r"(\d{4})-(?:(\d\d)-(\d\d)|(\d{3}))[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)?",
    re.ASCII,
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}", re.ASCII)
_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_EXACT = Context(prec=2 * _NUMBER_SIZE_MAX)
_EPOCH_0 = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


class Refused(Exception):
    """A message breaks a rule; `field` names the field at fault, if it is one.

    Never leaves the scanner, which makes a reject of it.
    """

    def __init__(self, rule: str, field: str = "") -> None:
        super().__init__(rule, field)
        self.rule = rule
        self.field = field


class Identity(NamedTuple):
    """What tells an element set from all others of its source."""

    catalog_number: int
    epoch_us: int
    digest: int


def add(fields: Fields, name: str, value: str, unit: str | None = None) -> None:
    """Take one value into `fields`. Raises Refused for a second value, for a wrong unit, and for
    what not every format could write: odd names, control characters.

    Comments may be many: they become the lines of one. An empty value is none.
    """
    value = value.strip()
    if not value:
        return
    name = name.removeprefix("USER_DEFINED_")
    if not _NAME.fullmatch(name) or (_UNFIT.search(value) and name != COMMENT):
        raise Refused("omm-record", name)
    if unit is not None and unit.strip().lower() != UNITS.get(name, unit.strip()).lower():
        raise Refused("omm-unit", name)
    if name in fields:
        if name != COMMENT:
            raise Refused("omm-duplicate", name)
        value = f"{fields[name]}\n{value}"
    if name == COMMENT:
        lines = (_UNFIT.sub("", line).strip() for line in value.splitlines())
        value = "\n".join(filter(None, lines))
        if not value:
            return
    fields[name] = value


def identify(fields: Mapping[str, str]) -> Identity:
    """Check that the fields make an element set, and say which. Raises Refused. About 10 us."""
    for group in _REQUIRED:
        if not any(name in fields for name in group):
            raise Refused("omm-missing", group[0])
    for name, pattern in _MODEL.items():
        if name in fields and not pattern.fullmatch(fields[name]):
            raise Refused("omm-model", name)
    numbers = {name: _decimal(fields, name) for name in DECIMAL if name in fields}
    for name, (low, high) in _LIMITS.items():
        if not low <= numbers[name] <= high:
            raise Refused("omm-range", name)
    for name in WHOLE:
        if name in fields and not _WHOLE.fullmatch(fields[name]):
            raise Refused("omm-number", name)
    number = catalog_number(fields["NORAD_CAT_ID"])
    epoch_us = parse_epoch(fields["EPOCH"])
    return Identity(number, epoch_us, _digest(fields, numbers))


def catalog_number(text: str) -> int:
    """The number of 1 to 9 digits, or of Alpha-5. Raises Refused."""
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        return alpha5.decode(text)
    except ValueError:
        raise Refused("omm-catalog-number", "NORAD_CAT_ID") from None


def parse_epoch(text: str) -> int:
    """Microseconds since 1970-01-01 UTC, exact. Raises Refused.

    Takes calendar dates and days of the year, no fraction or up to 9 digits of it of which those
    past the sixth are zeros, and a trailing Z.
    """
    match = _EPOCH.fullmatch(text)
    if match is None:
        raise Refused("omm-epoch", "EPOCH")
    year, month, day, day_of_year, hour, minute, second, fraction = match.groups()
    try:
        if day_of_year is None:
            midnight = date(int(year), int(month), int(day))
        else:
            midnight = date(int(year), 1, 1) + timedelta(days=int(day_of_year) - 1)
            if midnight.year != int(year):
                raise Refused("omm-epoch", "EPOCH")
        moment = datetime(
            midnight.year, midnight.month, midnight.day, int(hour), int(minute), int(second)
        )
    except (ValueError, OverflowError):
        raise Refused("omm-epoch", "EPOCH") from None
    whole = (moment - _EPOCH_0) // _MICROSECOND
    if fraction is None:
        return whole
    if fraction[6:].strip("0"):
        raise Refused("omm-epoch-precision", "EPOCH")
    return whole + int(fraction[:6].ljust(6, "0"))


def epoch_text(epoch_us: int) -> str:
    """An epoch as the formats write it: six digits of a second, no zone."""
    moment = _EPOCH_0 + timedelta(microseconds=epoch_us)
    return moment.isoformat(timespec="microseconds")


def ordered(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """Fields in the order of the standard; user-defined ones behind, as they came."""
    return sorted(fields.items(), key=lambda item: PLACE.get(item[0], len(PLACE)))


def with_frame(fields: Mapping[str, str]) -> Fields:
    """The fields with those that a whole message has to have, though a table need not."""
    modern = any(name in fields for name in ("BTERM", "AGOM", "MESSAGE_ID"))
    framed = {VERSION: "3.0" if modern else "2.0", **_FRAME, **fields}
    if fields.get("EPHEMERIS_TYPE") == "4" and "MEAN_ELEMENT_THEORY" not in fields:
        framed["MEAN_ELEMENT_THEORY"] = "SGP4-XP"
    return framed


def plain_number(text: str) -> str:
    """A number without the plus, the leading zeros and the bare point that JSON does not take."""
    match = _PARTS.fullmatch(text)
    if match is None:
        return text
    sign, whole, fraction, exponent = match.groups()
    point = f".{fraction}" if fraction else ""
    return f"{'-' if sign == '-' else ''}{whole.lstrip('0') or '0'}{point}{exponent or ''}"


def _decimal(fields: Mapping[str, str], name: str) -> Decimal:
    text = fields[name]
    if len(text) > _NUMBER_SIZE_MAX or not _NUMBER.fullmatch(text):
        raise Refused("omm-number", name)
    return Decimal(text)


def _digest(fields: Mapping[str, str], numbers: Mapping[str, Decimal]) -> int:
    """SipHash of the element fields by value: `1.50` and `1.5` are one, whatever the format."""
    parts = ["omm"]
    for name in _DIGESTED:
        if name in fields:
            number = numbers.get(name) or Decimal(fields[name])
            parts.append(f"{name}={number.normalize(_EXACT) if number else 0}")
    parts.extend(f"{name}={fields[name]}" for name in _DIGESTED_TEXT if name in fields)
    data = "\n".join(parts).encode()
    return int(lib.oor_tle_digest(data, len(data)))
