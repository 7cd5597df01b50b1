"""Fields as the lines of a TLE, in the usual layout; or a refusal that says what does not fit.

The columns are those of csrc/tle_line.c. What a field cannot hold exactly is refused unless the
caller wants it rounded.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING

from oor.errors import LimitError
from oor.registry import alpha5

if TYPE_CHECKING:
    from oor.registry.elset import ElementSet

SHAPES = ("tle", "2le", "3le")
UNIT_US = 864
"""Microseconds of the last digit of a TLE's epoch."""

_NAME_SIZE_MAX = 80
_DESIGNATOR = re.compile(r"(\d{4})-(\d{3})([A-Z]{1,3})", re.ASCII)
_COLUMNS = re.compile(r"[A-Z0-9 ]{1,8}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WIDE = Context(prec=100)
_SMALLEST = Decimal("1E-14")
_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000


def element_lines(
    elset: ElementSet, *, number: int | None = None, rounded: bool = False
) -> tuple[str, str]:
    """Lines 1 and 2 of a set, each of 69 columns. Raises LimitError."""
    for name in ("BTERM", "AGOM"):
        if name in elset.fields:
            raise LimitError(f"a TLE cannot hold {name}, which SGP4-XP needs")
    assert elset.bstar is not None and elset.mean_motion_ddot is not None
    columns = alpha5.encode(elset.norad_cat_id if number is None else number)
    kind = elset.classification_type or "U"
    if len(kind) != 1 or not (kind == " " or "A" <= kind <= "Z"):
        raise _refusal("CLASSIFICATION_TYPE", kind)
    one = (
        f"1 {columns}{kind} {_designator(elset.object_id)} {_epoch(elset.epoch_us, rounded)} "
        f"{_rate(elset.mean_motion_dot, rounded)} "
        f"{_scaled('MEAN_MOTION_DDOT', elset.mean_motion_ddot, rounded)} "
        f"{_scaled('BSTAR', elset.bstar, rounded)} "
        f"{_whole('EPHEMERIS_TYPE', elset.ephemeris_type, 1)} "
        f"{_whole('ELEMENT_SET_NO', elset.element_set_no, 4)}"
    )
    eccentricity = _fixed("ECCENTRICITY", elset.eccentricity, 9, 7, rounded)
    two = (
        f"2 {columns} {_fixed('INCLINATION', elset.inclination, 8, 4, rounded)} "
        f"{_fixed('RA_OF_ASC_NODE', elset.ra_of_asc_node, 8, 4, rounded)} {eccentricity[2:]} "
        f"{_fixed('ARG_OF_PERICENTER', elset.arg_of_pericenter, 8, 4, rounded)} "
        f"{_fixed('MEAN_ANOMALY', elset.mean_anomaly, 8, 4, rounded)} "
        f"{_fixed('MEAN_MOTION', elset.mean_motion, 11, 8, rounded)}"
        f"{_whole('REV_AT_EPOCH', elset.rev_at_epoch, 5)}"
    )
    return one + check_digit(one), two + check_digit(two)


def text(name: str | None, one: str, two: str, form: str = "tle") -> str:
    """The lines of a set in one of three shapes: "tle", "2le", "3le". Raises LimitError."""
    if form not in SHAPES:
        raise LimitError(f"{form!r} is no shape of a TLE; they are tle, 2le and 3le")
    if name is None or form == "2le":
        return f"{one}\n{two}\n"
    unfit = _CONTROL.search(name) or name.endswith("\\") or len(name.encode()) > _NAME_SIZE_MAX - 2
    if unfit:
        raise _refusal("OBJECT_NAME", name)
    # Without the zero these would be read as an element line, or as a name that had one.
    numbered = form == "3le" or name[:2] in ("0 ", "1 ", "2 ")
    return f"{'0 ' if numbered else ''}{name}\n{one}\n{two}\n"


def check_digit(columns: str) -> str:
    """The check digit of 68 columns: the sum of the digits, a minus counting 1, modulo 10."""
    return str(sum(int(x) if x.isdigit() else x == "-" for x in columns) % 10)


def _refusal(name: str, value: object) -> LimitError:
    return LimitError(f"a TLE cannot hold {name} {value}")


def _designator(object_id: str | None) -> str:
    if object_id is None:
        return " " * 8
    match = _DESIGNATOR.fullmatch(object_id)
    if match is not None and 1957 <= int(match[1]) <= 2056:
        return f"{match[1][2:]}{match[2]}{match[3]:<3}"
    if _COLUMNS.fullmatch(object_id):
        return f"{object_id:<8}"
    raise _refusal("OBJECT_ID", object_id)


def _epoch(epoch_us: int, rounded: bool) -> str:
    units, rest = divmod(epoch_us, UNIT_US)
    if rest and not rounded:
        raise LimitError(
            f"a TLE cannot hold the EPOCH: it is {rest} us past a multiple of {UNIT_US} us"
        )
    moment = _EPOCH_0 + timedelta(microseconds=(units + (2 * rest >= UNIT_US)) * UNIT_US)
    if not 1957 <= moment.year <= 2056:
        raise _refusal("EPOCH", moment.isoformat())
    into = (moment - datetime(moment.year, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    day, part = divmod(into, _DAY_US)
    return f"{moment.year % 100:02d}{day + 1:03d}.{part // UNIT_US:08d}"


def _quantized(name: str, value: Decimal, decimals: int, rounded: bool) -> Decimal:
    short = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN, _WIDE)
    if short != value and not rounded:
        raise LimitError(f"a TLE cannot hold {name} {value}: it has {decimals} digits there")
    return short


def _fixed(name: str, value: Decimal, width: int, decimals: int, rounded: bool) -> str:
    short = _quantized(name, value, decimals, rounded)
    columns = f"{short or abs(short):{width}f}"
    if short < 0 or len(columns) > width or (name == "ECCENTRICITY" and short >= 1):
        raise _refusal(name, value)
    return columns


def _rate(value: Decimal, rounded: bool) -> str:
    short = _quantized("MEAN_MOTION_DOT", value, 8, rounded)
    columns = f"{abs(short):.8f}"
    if not columns.startswith("0."):
        raise _refusal("MEAN_MOTION_DOT", value)
    return ("-" if short < 0 else " ") + columns[1:]


def _scaled(name: str, value: Decimal, rounded: bool) -> str:
    """Sign, five digits behind an implied point, signed exponent of ten."""
    short = Context(prec=5, rounding=ROUND_HALF_EVEN).plus(value)
    if short.adjusted() < _SMALLEST.adjusted() + 4:
        # Small numbers have fewer digits rather than a longer exponent.
        short = value.quantize(_SMALLEST, ROUND_HALF_EVEN, _WIDE)
    if short != value and not rounded:
        raise LimitError(f"a TLE cannot hold {name} {value}: it has 5 digits there, and 1E-14")
    if not short:
        return " 00000-0"
    exponent = max(short.adjusted() + 1, -9)
    if exponent > 9:
        raise _refusal(name, value)
    mantissa = int(abs(short).scaleb(5 - exponent, _WIDE))
    sign = "-" if exponent <= 0 else "+"
    return f"{'-' if value < 0 else ' '}{mantissa:05d}{sign}{abs(exponent)}"


def _whole(name: str, value: int | None, width: int) -> str:
    columns = f"{'' if value is None else value:>{width}}"
    if len(columns) > width:
        raise _refusal(name, value)
    return columns
