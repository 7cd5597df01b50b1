"""Levels of a crash, and which of many pending changes are tried together."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """What crashed, and how freely the disk may have chosen among pending changes."""

    KILL = 0  # the process: everything done is there, the operation in flight in part
    ORDERED = 1  # power: a prefix of each file's pending writes, and of the changes of names
    REORDERED = 2  # power: any of them
    TORN = 3  # power: and of one write in each file, any of its sectors of 512 bytes
    LYING = 4  # power, and the device lies: rot, a write that went astray, a stale block


CRASHES = (Level.KILL, Level.ORDERED, Level.REORDERED, Level.TORN)
"""The levels after which an open must succeed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many of the possible choices are tried; all of them where they are few."""

    exact: int = 8
    """Up to so many pending changes of one file every subset is tried."""
    exact_names: int = 6
    extra: int = 24
    """Beyond that so many random subsets, besides prefixes, all but one and only one."""
    pairs: int = 0
    """Beyond that also each pair among the first so many."""
    per_point: int = 256
    """Images of one level at one point."""
    tears: int = 0
    """Of a torn write: 0, each sector is old or new; 512, the written bytes of a torn sector may be
    anything; 4096, those beside the write in its block too: no powersafe overwrite."""


QUICK = Bounds()
THOROUGH = Bounds(exact=12, exact_names=6, extra=256, pairs=10, per_point=4096)


def prefixes(count: int) -> list[int]:
    """Masks of the first 0, 1, ... count."""
    return [(1 << k) - 1 for k in range(count + 1)]


def subsets(count: int, rng: random.Random, exact: int, bounds: Bounds = QUICK) -> list[int]:
    """Masks: all when there are few; else prefixes, all but one, only one, pairs, random ones."""
    full = (1 << count) - 1
    if count <= exact:
        return list(range(full + 1))
    ones = [1 << k for k in range(count)]
    masks = prefixes(count)[:-1] + ones + [full ^ one for one in ones]
    masks += [a | b for a, b in itertools.combinations(ones[: bounds.pairs], 2)]
    masks += [rng.getrandbits(count) for _ in range(bounds.extra)]
    return [*dict.fromkeys(masks), full]


def sector_masks(count: int, rng: random.Random) -> list[int]:
    """Which sectors of a torn write are new; neither none nor all of them."""
    full = (1 << count) - 1
    if count <= 4:
        return list(range(1, full))
    half = (1 << count // 2) - 1
    last = 1 << count - 1
    masks = [1, last, full ^ 1, full ^ last, half, full ^ half]
    masks += [rng.randrange(1, full) for _ in range(4)]
    return list(dict.fromkeys(masks))
