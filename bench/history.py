"""Runs of bench.compare, one a line, in a file that is kept: bench/history.jsonl.

    python -m bench.history FILE.json ...    appends what `bench.compare --json` wrote in one or
                                             more parts, each workload as often as it was measured
    python -m bench.history                  prints how oor stood to its best peer, run by run

A line has the commit, the day, what the figures depend on (and nothing that names the machine),
medians and, for each peer, the median over rounds of its figure by oor's. `docs/peers.md` and the
figures of the README are made of the last line, by bench.peers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import report

FILE = Path(__file__).with_name("history.jsonl")
ROOT = FILE.parent.parent

Entry = dict[str, Any]


def entry_of(runs: Sequence[dict[str, Any]], commit: str, day: str) -> Entry:
    """One line of the history. ValueError if the parts do not belong to one run."""
    fixed = [
        {"records": run["records"], "versions": run["versions"], "place": _place(run["machine"])}
        for run in runs
    ]
    if any(other != fixed[0] for other in fixed):
        raise ValueError("parts of different machines, versions or sizes are no one run")
    rows = [row for run in runs for row in run["rows"]]
    names = [row["name"] for row in rows]
    if len(set(names)) != len(names):
        raise ValueError("a workload is in two parts")
    return {
        "commit": commit,
        "date": day,
        "machine": fixed[0]["place"],
        "versions": runs[0]["versions"],
        "records": runs[0]["records"],
        "rounds": min(run["rounds"] for run in runs),
        "workloads": {
            row["name"]: {
                "what": row["what"],
                "unit": row["unit"],
                "median": {who: round(value, 4) for who, value in row["median"].items()},
                "times_oor": {who: round(value, 3) for who, value in row["times_oor"].items()},
            }
            for row in rows
        },
    }


def _place(machine: dict[str, str]) -> dict[str, str]:
    """What the figures depend on but for the load, which is another each time."""
    return {name: value for name, value in machine.items() if name != "load before the run"}


def read(path: Path = FILE) -> list[Entry]:
    """All runs, the oldest first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def append(entry: Entry, path: Path = FILE) -> None:
    """Put one more run at the end."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, sort_keys=True) + "\n")


def best_peer(row: dict[str, Any]) -> tuple[str, float] | None:
    """The peer that is nearest to oor or ahead of it, and its figure by oor's."""
    peers = {who: value for who, value in row["times_oor"].items() if who in report.STORES}
    if not peers:
        return None
    who = min(peers, key=lambda name: peers[name])
    return who, peers[who]


def current_commit() -> str:
    """The commit that was measured, with a + if the tree was not just that."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", ROOT, *arguments], check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "csrc", "oor")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def trend(entries: Iterable[Entry]) -> str:
    """A line a workload: the best peer's figure by oor's, run by run."""
    runs = list(entries)
    names = dict.fromkeys(name for run in runs for name in run["workloads"])
    lines = ["workload        " + "".join(f"{run['commit']:>12}" for run in runs)]
    for name in names:
        found = [best_peer(run["workloads"][name]) if name in run["workloads"] else None
                 for run in runs]  # fmt: skip
        lines.append(f"{name:<16}" + "".join(f"{one[1]:11.2f}x" if one else f"{'':>12}"
                                             for one in found))  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    """Append, or print."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__)
    parser.add_argument("parts", nargs="*", type=Path, help="what bench.compare --json wrote")
    asked = parser.parse_args()
    if asked.parts:
        runs = [json.loads(part.read_text(encoding="utf-8")) for part in asked.parts]
        append(entry_of(runs, current_commit(), datetime.now(UTC).date().isoformat()))
    print(trend(read()[-6:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
