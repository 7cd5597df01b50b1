"""One element set: its original record, and its fields decoded from it on demand, exactly.

Field names and units are those of the CCSDS Orbit Mean-Elements Message, in lower case: degrees,
turns a day and its powers, B* in inverse Earth radii. Numbers are Decimals with the digits of the
text. What a set is read from, lines (`tle_set`) or a message (`omm.set`), makes no difference.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from oor.errors import FormatError, LimitError
from oor.registry import tle_write
from oor.registry.formats import Format, format_of
from oor.registry.keys import ElsetKey
from oor.registry.omm import model
from oor.registry.omm.forms import FORMS

FLAG_NAMED = 1
VALUE_HEADER_SIZE = 10
_FORMAT_AT = 8

_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)
_OTHER_NUMBERS = frozenset(model.NUMBERS) - {*model.WHOLE, "NORAD_CAT_ID"}

_classes: dict[int, type[ElementSet]] = {}


def register(form: Format, cls: type[ElementSet]) -> None:
    """Let `ElementSet.from_record` make sets of this format."""
    _classes[form] = cls


def unstored(form: Format, flags: int, text: bytes) -> bytes:
    """The record of a set that was parsed and not stored: its LSN is 0."""
    return bytes(_FORMAT_AT) + bytes([form, flags]) + text


@dataclass(frozen=True, repr=False)
class ElementSet(abc.ABC):
    """A set that has passed every check of its format. Immutable; made in less than 1 us.

    `key` and `record` are the pair that a store holds, and nothing of them is read before it is
    asked for. `source` is None where no source was named. Every field of the standard is an
    attribute by its lower-case name: None where the record has none, text, or a number (int or
    exact Decimal).
    """

    __slots__ = ("key", "record", "source")

    key: bytes
    record: bytes
    source: str | None

    def __repr__(self) -> str:
        name, epoch = type(self).__name__, f"{self.epoch:%Y-%m-%dT%H:%M:%S.%fZ}"
        return f"<{name} {self.norad_cat_id} {epoch} source={self.source!r} lsn={self.lsn}>"

    def __reduce__(self) -> Any:
        return type(self), (self.key, self.record, self.source)

    @staticmethod
    def from_record(key: bytes, value: bytes, source: str | None = None) -> ElementSet:
        """The set of one stored pair. Raises FormatError for a value of a later format."""
        cls = _classes.get(value[_FORMAT_AT]) if len(value) > VALUE_HEADER_SIZE else None
        if cls is None:
            raise FormatError(
                f"the record {key.hex()} is of a format that this build does not read"
            )
        # As the constructor does, in a third of the time.
        made = _new(cls)
        _set_key(made, key)
        _set_record(made, value)
        _set_source(made, source)
        return made

    # ---- the record ----

    @property
    def text(self) -> bytes:
        """The original record, byte for byte; `format` says how to read it."""
        return self.record[VALUE_HEADER_SIZE:]

    @property
    def lsn(self) -> int:
        """The LSN of the mutation that stored it; 0: it was parsed and not stored."""
        return int.from_bytes(self.record[:_FORMAT_AT], "little")

    @property
    @abc.abstractmethod
    def format(self) -> Format:
        """How `text` is to be read."""

    @property
    @abc.abstractmethod
    def fields(self) -> Mapping[str, str]:
        """Every value by its upper-case CCSDS name, as text; what is absent is no entry."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Name line (if any) and element lines. Raises LimitError where no TLE can hold the set."""
        return tuple(self.to_tle().splitlines())

    @property
    def line1(self) -> str:
        """The first element line, 69 columns. Raises LimitError as `lines` does."""
        return self.lines[-2]

    @property
    def line2(self) -> str:
        """The second element line, 69 columns. Raises LimitError as `lines` does."""
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
        """64-bit digest of the element fields; the name has no part in it."""
        return ElsetKey.decode(self.key).digest

    @property
    def object_name(self) -> str | None:
        """The name; None if there is none."""
        return self.fields.get("OBJECT_NAME")

    @property
    def object_id(self) -> str | None:
        """International designator, as "1998-067A" if it follows the pattern; None: none."""
        return self.fields.get("OBJECT_ID")

    @property
    def classification_type(self) -> str | None:
        """U, C or S; a space where the column of a TLE is blank."""
        return self.fields.get("CLASSIFICATION_TYPE")

    # ---- elements ----

    @property
    def mean_motion_dot(self) -> Decimal:
        """First derivative of the mean motion divided by two, turns a day squared."""
        return Decimal(self.fields["MEAN_MOTION_DOT"])

    @property
    def mean_motion_ddot(self) -> Decimal | None:
        """Second derivative of the mean motion divided by six, turns a day cubed; None: AGOM."""
        return self._number("MEAN_MOTION_DDOT")

    @property
    def bstar(self) -> Decimal | None:
        """Drag term B*, inverse Earth radii; None for a set that has BTERM."""
        return self._number("BSTAR")

    @property
    def ephemeris_type(self) -> int | None:
        """0 for SGP4, 4 for SGP4-XP; None where the record does not say."""
        return self._whole("EPHEMERIS_TYPE")

    @property
    def element_set_no(self) -> int | None:
        """0 to 9999 in TLEs; not a version, it wraps. None where the record does not say."""
        return self._whole("ELEMENT_SET_NO")

    @property
    def inclination(self) -> Decimal:
        """Degrees, 0 to 180."""
        return Decimal(self.fields["INCLINATION"])

    @property
    def ra_of_asc_node(self) -> Decimal:
        """Right ascension of the ascending node, degrees."""
        return Decimal(self.fields["RA_OF_ASC_NODE"])

    @property
    def eccentricity(self) -> Decimal:
        """At least 0 and below 1."""
        return Decimal(self.fields["ECCENTRICITY"])

    @property
    def arg_of_pericenter(self) -> Decimal:
        """Degrees."""
        return Decimal(self.fields["ARG_OF_PERICENTER"])

    @property
    def mean_anomaly(self) -> Decimal:
        """Degrees."""
        return Decimal(self.fields["MEAN_ANOMALY"])

    @property
    def mean_motion(self) -> Decimal:
        """Turns a day."""
        return Decimal(self.fields["MEAN_MOTION"])

    @property
    def rev_at_epoch(self) -> int | None:
        """Turn number at epoch; None where the record does not say."""
        return self._whole("REV_AT_EPOCH")

    def __getattr__(self, name: str) -> Any:
        """The fields that only messages have, by their lower-case names: text, Decimal or None."""
        upper = name.upper()
        if name == upper or upper not in model.PLACE:
            raise AttributeError(f"an element set has no field {name!r}", name=name, obj=self)
        return self._number(upper) if upper in _OTHER_NUMBERS else self.fields.get(upper)

    # ---- out ----

    def to_tle(self, form: str = "tle", *, number: int | None = None, rounded: bool = False) -> str:
        """The set as lines: "tle" with its bare name, "2le" without, "3le" with "0 NAME".

        Original lines come back as they are. A message is written in the usual layout, in Alpha-5
        from number 100,000 on. Raises LimitError, which says what does not fit, where a TLE cannot
        hold the set without a loss; `rounded` rounds what has too many digits, and `number` is a
        stand-in for a catalog number that has too many.
        """
        if self.format is Format.TLE and number is None:
            one, two = self.lines[-2:]
        else:
            one, two = tle_write.element_lines(self, number=number, rounded=rounded)
        return tle_write.text(self.object_name, one, two, form)

    def to_omm(self, form: str = "kvn") -> str:
        """The set as a message: "kvn", "xml" (a document), "json" (an object) or "csv" (two rows).

        No digit is lost, and values of user-defined names come along. Raises LimitError for another
        form. Where a TLE has no value for what a message must have, that is SGP4's: EARTH, TEME,
        UTC; CREATION_DATE and ORIGINATOR are empty.
        """
        wanted = format_of(form)
        if wanted is Format.TLE:
            raise LimitError("an OMM is kvn, xml, json or csv; to_tle writes TLEs")
        return FORMS[wanted].write(self.fields)

    def to_dict(self) -> dict[str, Any]:
        """All fields in a fixed order, ready for json.dumps; those that only messages have, behind.

        Decimals become floats where a float's text reads back as the same number, else text.
        """
        result: dict[str, Any] = {name: getattr(self, name) for name in _FIELDS}
        result["epoch"] = self.epoch.isoformat(timespec="microseconds").replace("+00:00", "Z")
        for name, value in result.items():
            if isinstance(value, Decimal):
                result[name] = _plain(value)
        if self.format is Format.TLE:
            result["lines"] = list(self.lines)
        else:
            result["format"] = self.format.word
            result["other"] = {n: v for n, v in self.fields.items() if n.lower() not in result}
        return result

    def _number(self, name: str) -> Decimal | None:
        text = self.fields.get(name)
        return None if text is None else Decimal(text)

    def _whole(self, name: str) -> int | None:
        text = self.fields.get(name)
        return None if text is None else int(text)


_new = object.__new__
_set_key, _set_record, _set_source = (
    ElementSet.__dict__[name].__set__ for name in ElementSet.__slots__
)

_FIELDS = (
    "object_name", "object_id", "norad_cat_id", "classification_type", "epoch", "mean_motion",
    "eccentricity", "inclination", "ra_of_asc_node", "arg_of_pericenter", "mean_anomaly",
    "ephemeris_type", "element_set_no", "rev_at_epoch", "bstar", "mean_motion_dot",
    "mean_motion_ddot", "epoch_us", "source", "lsn",
)  # fmt: skip


def _plain(value: Decimal) -> float | str:
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)
