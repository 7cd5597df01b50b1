"""Makes a violation smaller: fewer macro-operations, then the smallest level that shows it."""

from __future__ import annotations

import itertools
from dataclasses import replace

from oor.crashlab.explorer import Explorer, Found, Plan
from oor.crashlab.levels import CRASHES, Level
from oor.crashlab.memory import MemoryDisk
from oor.crashlab.workloads import MACROS, Sequence, workload_of

STATES = 4000
"""States that one attempt may look at."""


def shrink(disk: MemoryDisk, plan: Plan, names: Sequence, invariant: str) -> Found | None:
    """The smallest state found that breaks `invariant` in a part of the sequence `names`.

    Operations are left out one by one as long as what is left still fails; then the first level and
    the first point that show it are kept. None if the sequence does not fail by itself.
    """
    best = attempt(disk, plan, names, invariant, CRASHES)
    if best is None:
        return None
    at = 0
    while at < len(names) and len(names) > 1:
        fewer = names[:at] + names[at + 1 :]
        smaller = attempt(disk, plan, fewer, invariant, CRASHES) if makes_sense(fewer) else None
        if smaller is None:
            at += 1
        else:
            best, names = smaller, fewer
    for level in CRASHES:
        lower = attempt(disk, plan, names, invariant, (level,))
        if lower is not None:
            return lower
    return best


def makes_sense(names: Sequence) -> bool:
    """Whether it can be played: after a close comes a reopen."""
    follows = itertools.pairwise(names)
    return all(name in MACROS for name in names) and all(
        after == "reopen" for name, after in follows if name == "close"
    )


def attempt(
    disk: MemoryDisk, plan: Plan, names: Sequence, invariant: str, levels: tuple[Level, ...]
) -> Found | None:
    """The first state of this sequence at these levels that breaks the invariant."""
    small = replace(plan, levels=levels, states=STATES, seconds=None, per_workload=None)
    explorer = Explorer(disk, small)
    explorer.explore(",".join(names), workload_of(names))
    for found in explorer.found:
        if found.violation.invariant == invariant:
            return found
    return None
