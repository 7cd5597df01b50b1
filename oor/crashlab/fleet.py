"""An exploration on several processes, each with a share of the workloads and a disk of its own."""

from __future__ import annotations

import gc
import multiprocessing
import time
from array import array
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from oor.crashlab.explorer import Explorer, Plan, Tally
from oor.crashlab.memory import MemoryDisk
from oor.crashlab.replay import replay_of
from oor.crashlab.scripts import SCRIPTS
from oor.crashlab.workloads import Sequence, sequences, workload_of

Replay = dict[str, Any]


def explore_all(plan: Plan) -> tuple[Tally, list[Replay]]:
    """Explore the scripts and the sequences, and return what was counted and what was found.

    With several processes each has its share of the plan's states, and states that two of them met
    are counted once, under the level of the first.
    """
    if plan.processes == 1:
        alone, shown, _ = explore_share(plan, 0)
        return alone, shown
    context = multiprocessing.get_context("fork")
    share = plan if plan.states is None else replace(plan, states=-(-plan.states // plan.processes))
    members = []
    for index in range(plan.processes):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_member, args=(share, index, theirs))
        process.start()
        theirs.close()
        members.append((process, ours))
    began = time.monotonic()
    total = Tally()
    replays: list[Replay] = []
    seen: set[int] = set()
    met = 0
    for process, pipe in members:
        tally, found, keys = pipe.recv()
        process.join()
        total.add(tally)
        replays += found
        met += len(keys)
        seen.update(keys)
    total.twice = met - len(seen)
    total.seconds = time.monotonic() - began
    return total, replays


def _member(plan: Plan, index: int, pipe: Connection) -> None:
    pipe.send(explore_share(plan, index))
    pipe.close()


def explore_share(plan: Plan, index: int) -> tuple[Tally, list[Replay], array[int]]:
    """What one of the plan's processes explores."""
    gc.collect()
    gc.freeze()
    with MemoryDisk() as disk:
        explorer = Explorer(disk, plan)
        for place, (name, (workload, options)) in enumerate(SCRIPTS.items()):
            if place % plan.processes == index and not explorer.is_done:
                explorer.explore(name, workload, options)
        explorer.plan = replace(plan, per_workload=None)
        for names in share_of(plan, index):
            if explorer.is_done:
                break
            explorer.explore(",".join(names), workload_of(names), only_last=True)
        found = [replay_of(found) for found in explorer.found]
        return explorer.finish(), found, array("Q", explorer.seen)


def share_of(plan: Plan, index: int) -> Iterator[Sequence]:
    """Every so many-th sequence, short ones first."""
    for place, names in enumerate(sequences(plan.longest)):
        if place % plan.processes == index:
            yield names
