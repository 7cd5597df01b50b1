"""The figures of a run as a table for people, as Markdown, and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.budgets import PROBES, judge
from bench.measure import Figures
from bench.stores import ALL

STORES = tuple(store.name for store in ALL)


@dataclass(frozen=True)
class Run:
    """Everything one run has measured, and where."""

    machine: dict[str, str]
    versions: dict[str, str]
    records: int
    rounds: int
    rows: Sequence[Figures]


def machine(directory: str) -> dict[str, str]:
    """What the figures depend on, and nothing that names the machine."""
    return {
        "CPUs": str(len(os.sched_getaffinity(0))),
        "CPU": _cpu(),
        "architecture": platform.machine(),
        "kernel": platform.release().split("-")[0],
        "file system": file_system(directory),
        "Python": platform.python_version(),
        "load before the run": f"{os.getloadavg()[0]:.1f}",
    }


def _cpu() -> str:
    """The model, or the architecture again where none is told."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def file_system(directory: str) -> str:
    """The type of the file system that holds `directory`."""
    best, found = "", "unknown"
    directory = os.path.realpath(directory) + "/"
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            _, where, kind, *_ = line.split(" ")
            if directory.startswith(where.rstrip("/") + "/") and len(where) >= len(best):
                best, found = where, kind
    return found


def versions(names: Iterable[str]) -> dict[str, str]:
    """The version of each store, or of the package it comes in."""
    found = {"SQLite": f"sqlite3 with SQLite {sqlite3.sqlite_version}"}
    for store in ALL:
        if store.name in names and store.name not in found:
            found[store.name] = f"{store.module} {importlib.metadata.version(store.module)}"
    return {name: found[name] for name in names if name in found}


def header() -> list[str]:
    """The columns of the table."""
    return ["workload", "unit", *STORES, "probe", "ahead of best peer", "budget"]


def cells(figures: Figures) -> list[str]:
    """One row of the table."""
    verdict = judge(figures)
    probes = [f"{figure(figures.median(who))} {who}" for who in PROBES if who in figures.rounds]
    ahead = "" if verdict.ahead is None else f"{verdict.ahead:.2f}x {verdict.peer}"
    if verdict.ahead_met is not None:
        ahead += f" (wanted {verdict.ahead_wanted:g}x: {'hit' if verdict.ahead_met else 'MISS'})"
    budget = ""
    if verdict.figure_met is not None:
        budget = f"{figure(verdict.wanted)}: {'hit' if verdict.figure_met else 'MISS'}"
    own = [figure(figures.median(store)) for store in STORES]
    return [figures.name, figures.unit, *own, ", ".join(probes), ahead, budget]


def figure(value: float | None) -> str:
    """A figure with about three digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def as_text(rows: Sequence[Figures]) -> str:
    """A table for a terminal."""
    lines = [header(), *(cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_json(run: Run) -> dict[str, Any]:
    """The run with every round of it, so that another run can be held against it."""
    rows = []
    for row in run.rows:
        verdict = judge(row)
        rows.append(
            {
                "name": row.name,
                "what": row.what,
                "unit": row.unit,
                "median": {who: row.median(who) for who in row.rounds},
                "times_oor": {
                    who: ratio
                    for who in row.rounds
                    if who != "oor" and (ratio := row.ratio(who)) is not None
                },
                "spread": {who: row.spread(who) for who in row.rounds},
                "rounds": row.rounds,
                "best_peer": verdict.peer,
                "ahead": verdict.ahead,
                "ahead_wanted": verdict.ahead_wanted,
                "ahead_met": verdict.ahead_met,
                "budget": verdict.wanted,
                "budget_met": verdict.figure_met,
            }
        )
    return {
        "machine": run.machine,
        "versions": run.versions,
        "records": run.records,
        "rounds": run.rounds,
        "rows": rows,
    }


def as_markdown(run: Run, command: str) -> str:
    """The whole page that shows a run."""
    lines = [header(), ["---"] * len(header()), *(cells(row) for row in run.rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    place = "\n".join(f"- {name}: {value}" for name, value in run.machine.items())
    stores = ", ".join(run.versions.values())
    what = "\n".join(f"- `{row.name}`: {row.what}, {row.unit}" for row in run.rows)
    return PAGE.format(
        command=command,
        machine=place,
        stores=stores,
        records=f"{run.records:,}",
        rounds=run.rounds,
        table=table,
        misses=_misses(run.rows),
        what=what,
    )


def _misses(rows: Sequence[Figures]) -> str:
    found = []
    for row in rows:
        verdict = judge(row)
        said = []
        if verdict.figure_met is False:
            said.append(
                f"{figure(row.median('oor'))} {row.unit} where {figure(verdict.wanted)} is wanted"
            )
        if verdict.ahead_met is False:
            said.append(
                f"{verdict.ahead:.2f} times {verdict.peer} where {verdict.ahead_wanted:g} is wanted"
            )
        if said:
            found.append(f"- `{row.name}`: {'; '.join(said)}.")
    return "\n".join(found) if found else "Nothing in this run."


PAGE = """# Performance

This page is written by one command, which measures and then replaces it:

    {command}

{machine}
- stores: {stores}
- {records} records with keys of 9 and values of 138 bytes (the two lines of an element set, all
  different); {rounds} rounds

{table}

## What misses its budget

{misses}

## What the rows are

{what}

Durable: the call returns when the record is on stable storage. Logged: when it is in the log and
survives the death of the process. Settled: flushed to tables and compacted, then opened anew.

## How to read it

- A figure is the median of the rounds. All stores take turns in every round, in an order that is
  drawn anew for each, so that what else the machine does meets all of them alike.
- `ahead of best peer` is the median over the rounds of (the peer's figure / oor's figure of the
  same round), for the peer where it is least; 1.00x is a tie. It is
  the column to trust on a machine that others use too: a single figure moves with the machine, the
  ratio much less.
- `probe` is what the machine does with no store in between, in the same rounds: `direct`, a write
  of 4 KiB (16 KiB for `fillbatch100`, 1 MiB for `logbandwidth`) with O_DIRECT|O_DSYNC into a file
  that was written before; `fdatasync`, the same as pwrite + fdatasync; `memory`, a plain read of 64
  MiB by one core. The checksum is measured over bytes that lie in the cache.
- `budget` is the absolute figure that is wanted on a quiet machine of two cores whose disk takes a
  direct 4 KiB write in 73 us. It is a multiple of the probe for `fillsync` and `logbandwidth`, of
  the best peer for `fillsync16`, of RocksDB for `diskbytes`, of the memory's speed for the
  checksum.
- How each store is set, and what that means, is said at the top of `bench/stores.py`. Every store
  has the same memory for its cache; those with a memtable have the same for it. RocksDB and LevelDB
  compress with Snappy, as they come.
- A scan is a Python loop over pairs, a `get` one call from Python: the figures are what a Python
  program sees, not what the C or C++ inside could do.
- LMDB has no log to replay, so it has no row in `recover`.

The same workloads run under pytest-benchmark, one group a workload: `python -m pytest bench/`.
What a workload's median does not show has commands of its own: `python -m bench.latency` (single
puts while flushes and rotations run), `python -m bench.gil` (readers beside a writer of large
batches), `python -m bench.tasks` (durable puts by 1,000 asyncio tasks).
"""
