"""Each call of a workload fails in each way, once for each: the deep form of test_error_profiles.

    python tests/fault_loops.py [--record] [--stride N]     a quarter of an hour; counts go to
                                                            docs/figures/faults.json

The calls are those of a store in memory, with direct and with buffered writes of the log; each is
followed by the crashes and recoveries that oor.crashlab.faults says. Exits with 1 for a violation.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from oor.crashlab.faults import ERROR_PROFILES, FaultExplorer, FaultTally  # noqa: E402
from oor.crashlab.memory import MemoryDisk  # noqa: E402

FIGURES = ROOT / "docs" / "figures" / "faults.json"
OPTIONS: tuple[dict[str, object], ...] = ({}, {"direct_io": False})


def loop(job: tuple[int, int]) -> FaultTally:
    """All calls of one profile."""
    index, stride = job
    with MemoryDisk() as disk:
        explorer = FaultExplorer(disk)
        for options in OPTIONS:
            explorer.explore(ERROR_PROFILES[index], options, stride=stride)
    return explorer.tally


def figures(tallies: list[FaultTally], stride: int) -> dict[str, Any]:
    """The counts by profile and by operation."""
    by_op: Counter[str] = Counter()
    for tally in tallies:
        by_op += tally.by_op
    return {
        "every": stride,
        "profiles": {
            kind.name: {
                "calls": tally.calls[kind.name],
                "states": tally.states[kind.name],
                "violations": len(tally.violations),
            }
            for kind, tally in zip(ERROR_PROFILES, tallies, strict=True)
        },
        "by_operation": dict(sorted(by_op.items())),
        "calls": sum(by_op.values()),
        "states": sum(sum(tally.states.values()) for tally in tallies),
        "violations": sum(len(tally.violations) for tally in tallies),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help=f"write {FIGURES.name}")
    parser.add_argument("--stride", type=int, default=1, help="only every so many-th call")
    arguments = parser.parse_args()
    jobs = [(index, arguments.stride) for index in range(len(ERROR_PROFILES))]
    tallies = []
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
        for (index, _), tally in zip(jobs, pool.imap(loop, jobs), strict=True):
            name = ERROR_PROFILES[index].name
            tallies.append(tally)
            print(f"{name:<44}{tally.calls[name]:>6} calls{tally.states[name]:>8} states"
                  f"{len(tally.violations):>4} violations", flush=True)  # fmt: skip
            for violation in tally.violations[:3]:
                print(f"    {violation}")
    content = figures(tallies, arguments.stride)
    print(json.dumps({name: content[name] for name in ("calls", "states", "violations")}))
    if arguments.record:
        FIGURES.write_text(json.dumps(content, indent=1) + "\n")
    return int(bool(content["violations"]))


if __name__ == "__main__":
    sys.exit(main())
