"""Sets that contradict each other: one object, epoch and element set number, and two states.

The same state under another number is issued again; the same number with another state is a
conflict. Nothing is dropped for it: the last ingested is in force, and here is what to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from oor.registry.elset import ElementSet

_MOMENT_SIZE = 13
_STATE = (
    "mean_motion", "eccentricity", "inclination", "ra_of_asc_node", "arg_of_pericenter",
    "mean_anomaly", "bstar", "mean_motion_dot", "mean_motion_ddot", "ephemeris_type",
)  # fmt: skip


class Conflict(NamedTuple):
    """Sets of one object and epoch that have one element set number and not one state."""

    norad_cat_id: int
    epoch_us: int
    """Microseconds since 1970-01-01 UTC."""
    element_set_no: int
    sets: tuple[ElementSet, ...]
    """In order of ingest: the first that came with each state."""


def conflicts_of(sets: Iterable[ElementSet]) -> Iterator[Conflict]:
    """The conflicts among sets that come in the order of their keys.

    Cost: fields are read of those sets only that share object and epoch.
    """
    for _, group in groupby(sets, lambda elset: elset.key[:_MOMENT_SIZE]):
        first, *others = group
        if others:
            yield from _of_moment(sorted([first, *others], key=lambda elset: elset.lsn))


def state_of(elset: ElementSet) -> tuple[Any, ...]:
    """The elements, as numbers: equal for one state however it is written or formatted."""
    return tuple(getattr(elset, name) for name in _STATE)


def _of_moment(sets: list[ElementSet]) -> Iterator[Conflict]:
    by_number: dict[int, dict[tuple[Any, ...], ElementSet]] = {}
    for elset in sets:
        if elset.element_set_no is not None:
            by_number.setdefault(elset.element_set_no, {}).setdefault(state_of(elset), elset)
    for number, states in sorted(by_number.items()):
        if len(states) > 1:
            found = tuple(states.values())
            yield Conflict(found[0].norad_cat_id, found[0].epoch_us, number, found)
