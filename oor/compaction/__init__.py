"""Compaction: what to merge (a `Strategy`), how fast (`Pace`), and the merging (`run`).

A strategy only looks at a version and names a `Job`; running it writes tables and returns the edit
that puts them in place of its inputs. Nothing changes until somebody installs that edit.
"""

from oor.compaction.fifo import Fifo
from oor.compaction.job import CompactionOptions, Job
from oor.compaction.leveled import Leveled
from oor.compaction.pace import Pace
from oor.compaction.progress import Progress, Running
from oor.compaction.run import run
from oor.compaction.strategy import Busy, Plan, Strategy
from oor.compaction.tiered import Tiered

_BY_NAME: dict[str, type[Strategy]] = {each.name: each for each in (Leveled, Tiered, Fifo)}


def strategy_of(name: str, options: CompactionOptions) -> Strategy:
    """The strategy that `compaction=` names."""
    return _BY_NAME[name](options)


__all__ = [
    "Busy",
    "CompactionOptions",
    "Fifo",
    "Job",
    "Leveled",
    "Pace",
    "Plan",
    "Progress",
    "Running",
    "Strategy",
    "Tiered",
    "run",
    "strategy_of",
]
