"""What an exploration counted, as text and as JSON; the page of figures is made of the latter."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

from oor.crashlab.explorer import Plan, Tally
from oor.crashlab.levels import Level


def figures(plan: Plan, tally: Tally) -> dict[str, Any]:
    """Counts, the plan that led to them, and what kind of machine it was. Seconds are wall time."""
    return {
        "profile": plan.profile.name,
        "tears": plan.bounds.tears,
        "seed": plan.seed,
        "longest_sequence": plan.longest,
        "processes": plan.processes,
        "workloads": tally.workloads,
        "operations": tally.operations,
        "states_raw": {level.name: tally.raw[level.name] for level in Level},
        "states_distinct": {level.name: tally.distinct[level.name] for level in Level},
        "states": tally.states,
        "by_depth": {str(depth): tally.depths[depth] for depth in sorted(tally.depths)},
        "recoveries": tally.opened,
        "violations": tally.violation_count,
        "refusals": tally.refusals,
        "seconds": round(tally.seconds, 1),
    }


def machine() -> dict[str, Any]:
    """The commit and what the figures were measured on, without names of machines or people."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def commit() -> str:
    """The commit of the working tree that this package is in; empty outside of one."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def table(plan: Plan, tally: Tally) -> str:
    """The counts for a reader."""
    lines = [f"{'level':<12}{'raw':>12}{'distinct':>12}"]
    for level in Level:
        raw, distinct = tally.raw[level.name], tally.distinct[level.name]
        if raw:
            lines.append(f"L{int(level)} {level.name.lower():<9}{raw:>12,}{distinct:>12,}")
    lines.append(f"{'all':<12}{sum(tally.raw.values()):>12,}{tally.states:>12,}")
    deep = ", ".join(f"{count:,} at depth {depth}" for depth, count in sorted(tally.depths.items()))
    lines.append(f"crashes one after another: {deep or 'none'}")
    lines.append(
        f"{tally.workloads:,} workloads, {tally.opened:,} recoveries, "
        f"{tally.violation_count} violations on {plan.profile.name}, {tally.seconds:.1f} s"
    )
    return "\n".join(lines)
