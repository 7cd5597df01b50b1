"""What a page says of a store: read once, from one snapshot, and plain enough to draw from."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from oor import native
from oor.db import DB
from oor.registry import Delivery, ElementSet, Registry
from oor.stats import Stats

EARTH_RADIUS_KM = 6378.137
_MU = 398600.4418
"""Of the Earth, km^3/s^2; radius and mu as in WGS 84. Altitudes of mean elements are means too."""
_DAY_US = 86_400_000_000

REGIMES = ("LEO", "MEO", "GEO", "HEO", "beyond")
"""LEO: apogee below 2,000 km. GEO: within 200 km of 35,786 km on both sides. HEO: perigee below
2,000 km and apogee above. MEO: perigee between 2,000 km and GEO. Beyond: all that is higher.
"""


@dataclass(frozen=True, slots=True)
class Orbit:
    """The newest set of one object, as a point."""

    number: int
    name: str
    source: str | None
    epoch_us: int
    perigee_km: float
    """Altitude above the equatorial radius."""
    apogee_km: float

    @property
    def regime(self) -> str:
        """One of REGIMES."""
        if self.apogee_km < 2_000:
            return "LEO"
        if self.perigee_km < 2_000:
            return "HEO"
        if max(abs(self.perigee_km - 35_786), abs(self.apogee_km - 35_786)) <= 200:
            return "GEO"
        return "MEO" if self.perigee_km < 35_586 else "beyond"


@dataclass(frozen=True, slots=True)
class Facts:
    """A store at one moment."""

    path: str
    moment: datetime
    orbits: list[Orbit]
    deliveries: list[Delivery]
    sources: list[str]
    stats: Stats
    disk_bytes: int

    @property
    def sets(self) -> int:
        """Sets stored, by the counts of the deliveries."""
        return sum(one.stored for one in self.deliveries)

    @property
    def rules(self) -> Counter[str]:
        """Rejects of all deliveries by rule."""
        total: Counter[str] = Counter()
        for one in self.deliveries:
            total.update(one.rules)
        return total

    def age_days(self, orbit: Orbit) -> float:
        """From its epoch to the moment of the page; below 0 for an epoch that is yet to come."""
        return (self.moment.timestamp() * 1e6 - orbit.epoch_us) / _DAY_US


def gather(db: DB, moment: datetime | None = None) -> Facts:
    """Read what the page shows. `moment` is what ages are counted to; None: now.

    Cost: about 30 us an object.
    """
    registry = Registry(db)
    with registry.snapshot() as catalogue:
        orbits = _orbits(catalogue.latest_all())
    names = native.list_dir(db.path)
    return Facts(
        db.path,
        moment or datetime.now(UTC),
        orbits,
        registry.deliveries(),
        list(registry.sources().values()),
        db.stats(),
        sum(os.stat(os.path.join(db.path, name)).st_size for name in names),
    )


def altitudes(mean_motion: float, eccentricity: float) -> tuple[float, float]:
    """Perigee and apogee in km above the equator, of turns a day and eccentricity (Kepler)."""
    rate = mean_motion * 2 * math.pi / 86_400
    axis = (_MU / rate**2) ** (1 / 3)
    return (
        axis * (1 - eccentricity) - EARTH_RADIUS_KM,
        axis * (1 + eccentricity) - EARTH_RADIUS_KM,
    )


def _orbits(sets: Iterable[ElementSet]) -> list[Orbit]:
    found = []
    for elset in sets:
        turns = float(elset.mean_motion)
        if turns <= 0:
            continue
        perigee, apogee = altitudes(turns, float(elset.eccentricity))
        name = elset.object_name or ""
        found.append(Orbit(elset.norad_cat_id, name, elset.source, elset.epoch_us, perigee, apogee))
    return found
