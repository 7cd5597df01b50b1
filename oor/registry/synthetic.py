"""A catalogue that never was, for demonstrations and tests: realistic, deterministic, of any size.

The same arguments give the same bytes on every machine and Python version. Issues of the catalogue
differ as real ones do: some have bare names, some "0 NAME" lines, some none; every second one has
explicit plus signs and leading zeros. All check digits are right.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

from oor.errors import LimitError
from oor.registry import alpha5

_T = TypeVar("_T")

OBJECTS_MAX = 300_000
REVISED_EVERY = 400
"""One object in so many has a second, different set of the same epoch in each issue."""

_FIRST_DAY = date(2026, 1, 1)
_LOW_NUMBERS = 69_000
_DAY_UNITS = 100_000_000
_TURN = 3_600_000  # 360 degrees in units of the last digit, 0.0001 degrees
_CHUNK_SETS = 4096
_WEIGHTS = bytes(x - 48 if 48 <= x <= 57 else x == 45 for x in range(256))

# line 1 behind the designator and line 2 behind the number; the two layouts of real archives.
_LINE_1 = (
    "%s%s.%08d  %s  00000-0  %s 0 %4d",
    "%s%s.%08d +%s +00000-0 +%s 0 %4d",
)
_LINE_2 = (
    "%s %8.4f %8.4f %07d %8.4f %8.4f %11.8f%5d",
    "%s %08.4f %08.4f %07d %08.4f %08.4f %011.8f%05d",
)
_NAME = ("%s\r\n", "0 %s\r\n", "")


@dataclass(frozen=True, slots=True)
class _Regime:
    """Ranges that an orbit is drawn from: turns a day, eccentricity, inclinations, names."""

    share: float
    turns: tuple[float, float]
    eccentricity: tuple[float, float]
    inclinations: tuple[float, ...]
    drag: float
    names: tuple[str, ...]


_REGIMES = (
    _Regime(0.78, (11.3, 15.9), (0.0001, 0.02), (53.05, 97.6, 86.4, 74.0, 82.95, 51.64), 4e-4,
            ("STARLINK-%d", "COSMOS %d DEB", "FENGYUN 1C DEB %d", "ONEWEB-%d", "SL-8 R/B %d")),
    _Regime(0.06, (1.86, 2.14), (0.0002, 0.02), (55.1, 64.8, 56.0), 0.0,
            ("NAVSTAR %d", "GLONASS %d", "GALILEO %d")),
    _Regime(0.09, (0.99, 1.006), (0.0001, 0.003), (0.05, 3.2, 7.5, 13.4), 0.0,
            ("INTELSAT %d", "ASTRA %d", "TITAN 3C TRANSTAGE %d")),
    _Regime(0.07, (2.0, 4.3), (0.55, 0.74), (63.4, 28.5, 7.0), 1e-4,
            ("MOLNIYA %d", "ARIANE 5 R/B %d", "CENTAUR %d")),
)  # fmt: skip


class _Object:
    """What stays the same about an object, with rates a day for what does not."""

    __slots__ = (
        "bstar", "drag", "eccentricity", "head_1", "head_2", "inclination", "mean", "name", "node",
        "node_rate", "pericenter", "pericenter_rate", "phase", "revised", "turns",
    )  # fmt: skip

    def __init__(self, index: int, number: int, draw: random.Random) -> None:
        regime = _regime_of(draw.random())
        columns = alpha5.encode(number)
        year, launch = 57 + index % 69, 1 + index % 120
        piece = chr(65 + index % 24) if index % 3 else chr(65 + index % 24) + chr(65 + index % 23)
        self.head_1 = f"1 {columns}U {year % 100:02d}{launch:03d}{piece:<3s} "
        self.head_2 = f"2 {columns}"
        self.name = _pick(regime.names, draw) % (index % 10_000)
        self.turns = _within(regime.turns, draw)
        self.eccentricity = int(_within(regime.eccentricity, draw) * 10_000_000)
        self.inclination = _pick(regime.inclinations, draw) + draw.random() / 10
        self.node = int(draw.random() * _TURN)
        self.node_rate = -int(draw.random() * 70_000)
        self.pericenter = int(draw.random() * _TURN)
        self.pericenter_rate = int(draw.random() * 40_000)
        self.mean = int(draw.random() * _TURN)
        self.phase = int(draw.random() * _DAY_UNITS)
        self.drag = f".{int(draw.random() * regime.drag * 100_000_000):08d}"
        self.bstar = 10_000 + int(draw.random() * 89_000)
        self.revised = index % REVISED_EVERY == REVISED_EVERY - 1

    def text(self, day: int, day_columns: str, issue: int, revision: int) -> str:
        """The set of one issue; a revision has another mean anomaly and B* at the same epoch."""
        layout = issue % 2
        exponent = "-4" if self.drag != ".00000000" else "-3"
        bstar = str(self.bstar + revision) + exponent
        head = self.head_1, day_columns, self.phase, self.drag, bstar, (300 + issue) % 10_000
        one = _LINE_1[layout] % head
        two = _LINE_2[layout] % (
            self.head_2,
            self.inclination,
            (self.node + self.node_rate * day) % _TURN / 10_000,
            self.eccentricity,
            (self.pericenter + self.pericenter_rate * day) % _TURN / 10_000,
            (self.mean + int(self.turns % 1 * _TURN) * day + 7 * revision) % _TURN / 10_000,
            self.turns,
            int(self.turns * (day + 100)) % 100_000,
        )
        name = _NAME[issue % 3]
        ends = _check_digit(one), _check_digit(two)
        return f"{name % self.name if name else ''}{one}{ends[0]}\r\n{two}{ends[1]}\r\n"


class SyntheticCatalogue:
    """`issues` daily issues of a catalogue of `objects` objects, as TLE text.

    Numbers of 100,000 and above, one in twenty or more, are written in Alpha-5. Raises ValueError
    for more than 300,000 objects. Cost: about 4 us a set.
    """

    def __init__(self, objects: int = 30_000, issues: int = 4, seed: int = 1) -> None:
        if not 0 <= objects <= OBJECTS_MAX:
            raise LimitError(
                f"a synthetic catalogue has at most {OBJECTS_MAX} objects, not {objects}"
            )
        draw = random.Random(seed)
        self.issues = issues
        self.numbers = _numbers(objects)
        self._objects = [_Object(i, number, draw) for i, number in enumerate(self.numbers)]

    @property
    def revised_count(self) -> int:
        """Pairs of sets with the same object and epoch."""
        return sum(one.revised for one in self._objects) * self.issues

    @property
    def set_count(self) -> int:
        """Sets in all issues, all different."""
        return len(self._objects) * self.issues + self.revised_count

    def chunks(self) -> Iterator[bytes]:
        """The text of all issues in order, in chunks of a few thousand sets."""
        for issue in range(self.issues):
            yield from self.issue(issue)

    def issue(self, issue: int) -> Iterator[bytes]:
        """The text of one issue: one set of every object, some followed by a revision."""
        day = _FIRST_DAY + timedelta(days=issue)
        columns = f"{day.year % 100:02d}{day.timetuple().tm_yday:03d}"
        for at in range(0, len(self._objects), _CHUNK_SETS):
            texts = []
            for one in self._objects[at : at + _CHUNK_SETS]:
                texts.append(one.text(issue, columns, issue, 0))
                if one.revised:
                    texts.append(one.text(issue, columns, issue, 1))
            yield "".join(texts).encode("ascii")


def _numbers(objects: int) -> list[int]:
    """Catalog numbers in rising order, spread over what five digits and Alpha-5 hold."""
    low = min(objects - objects // 20, _LOW_NUMBERS)
    high = objects - low
    step = (alpha5.NUMBER_MAX - 100_000) // max(high, 1)
    return [5 + i * _LOW_NUMBERS // low for i in range(low)] + [
        100_000 + i * max(step, 1) for i in range(high)
    ]


def _regime_of(chance: float) -> _Regime:
    for regime in _REGIMES:
        chance -= regime.share
        if chance < 0:
            return regime
    return _REGIMES[0]


def _pick(options: tuple[_T, ...], draw: random.Random) -> _T:
    return options[int(draw.random() * len(options))]


def _within(limits: tuple[float, float], draw: random.Random) -> float:
    low, high = limits
    return low + draw.random() * (high - low)


def _check_digit(line: str) -> int:
    """The check digit of columns 1 to 68."""
    return sum(line.encode("ascii").translate(_WEIGHTS)) % 10
