"""Element sets as satellites of the `sgp4` package, to be propagated (extra `sgp4`).

A set that a TLE holds is handed over as its two lines, so that a satellite is the same bit for bit
as one of the original lines. Any other is handed over by its numbers, with the exact epoch.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import radians
from typing import TYPE_CHECKING, Any

from oor.errors import LimitError, OorError

if TYPE_CHECKING:
    from oor.registry.elset import ElementSet

_DAY_US = 86_400_000_000
_JULIAN_DAY_OF_1949_END = 2433281.5
_JULIAN_DAY_OF_1970 = 2440587.5
_TURNS_A_DAY_TO_RADIANS_A_MINUTE = 720.0 / 3.141592653589793


class MissingExtraError(OorError, ImportError):
    """A package that is an extra of oor is not installed; the message says which."""


def satrec(elset: ElementSet, *, gravity: str = "wgs72") -> Any:
    """The `sgp4.api.Satrec` of a set; `gravity` is wgs72, wgs72old or wgs84.

    Raises MissingExtraError without `sgp4`, LimitError for a set of SGP4-XP. Cost: 3 to 60 us. The
    satellite number of a set past 339,999 is 0: `sgp4` holds none above.
    """
    api = _sgp4()
    constants = {"wgs72": api.WGS72, "wgs72old": api.WGS72OLD, "wgs84": api.WGS84}
    if gravity not in constants:
        raise LimitError(f"{gravity!r} is no gravity model; they are {', '.join(constants)}")
    try:
        one, two = elset.lines[-2:]
    except LimitError:
        return _by_numbers(api, elset, constants[gravity])
    return api.Satrec.twoline2rv(one, two, constants[gravity])


def satrec_array(elsets: Iterable[ElementSet], *, gravity: str = "wgs72") -> Any:
    """The `sgp4.api.SatrecArray` of sets in their order, to propagate at once. As `satrec`."""
    satellites = [satrec(elset, gravity=gravity) for elset in elsets]
    return _sgp4().SatrecArray(satellites)


def _by_numbers(api: Any, elset: ElementSet, gravity: Any) -> Any:
    if elset.bstar is None or elset.mean_motion_ddot is None:
        raise LimitError("a set with BTERM or AGOM is for SGP4-XP, which sgp4 does not have")
    satellite = api.Satrec()
    whole, part = divmod(elset.epoch_us, _DAY_US)
    day, fraction = _JULIAN_DAY_OF_1970 + whole, part / _DAY_US
    turns = float(elset.mean_motion) / _TURNS_A_DAY_TO_RADIANS_A_MINUTE
    satellite.sgp4init(
        gravity,
        "i",
        elset.norad_cat_id if elset.norad_cat_id <= 339_999 else 0,
        day + fraction - _JULIAN_DAY_OF_1949_END,
        float(elset.bstar),
        float(elset.mean_motion_dot) / (_TURNS_A_DAY_TO_RADIANS_A_MINUTE * 1440.0),
        float(elset.mean_motion_ddot) / (_TURNS_A_DAY_TO_RADIANS_A_MINUTE * 1440.0 * 1440.0),
        float(elset.eccentricity),
        radians(float(elset.arg_of_pericenter)),
        radians(float(elset.inclination)),
        radians(float(elset.mean_anomaly)),
        turns,
        radians(float(elset.ra_of_asc_node)),
    )
    # The days since 1949 that it took lose up to a microsecond; these two do not.
    satellite.jdsatepoch, satellite.jdsatepochF = day, fraction
    return satellite


def _sgp4() -> Any:
    try:
        from sgp4 import api
    except ImportError as error:
        raise MissingExtraError("this needs sgp4: pip install 'oor[sgp4]'") from error
    return api
