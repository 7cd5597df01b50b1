"""How much can a loss of power take? `oor lab loss-window` tries it.

A workload writes numbered records in one mode while every operation of its storage is recorded.
Then power is lost at random instants of it: the disk of that instant, with nothing on it but what
was durable, is built again, recovered by a real open, and what was acknowledged is compared with
what is there. The workload runs on the real disk, the recoveries on one in memory: they ask what is
there, and not how fast.
"""

from __future__ import annotations

import bisect
import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import oor
from oor import native
from oor.crashlab.memory import ROOT, STORE, MemoryDisk
from oor.errors import CorruptionError
from oor.lab.durable import DurableDisk
from oor.trace import Event, Op, Trace

TICK: Final = 0.0005
"""Seconds between two notes of the time in the recording."""
MODES: Final = ("sync", "interval", "os")
OPTIONS: Final[dict[str, Any]] = {
    "segment_bytes": 1 << 20,
    "tail_bytes": 256 << 10,
    # A sync through the page cache is recorded beside the writers; a direct write would stop them.
    "direct_io": False,
}


@dataclass(frozen=True, slots=True)
class Instant:
    """One loss of power: when (seconds from the start of the workload) and what it took."""

    at: float
    acknowledged: int
    lost_records: int
    lost_seconds: float
    """Since the oldest lost record was acknowledged; 0 if nothing was lost."""


@dataclass(frozen=True, slots=True)
class ModeResult:
    """What one mode lost at its instants."""

    mode: str
    instants: tuple[Instant, ...]
    bound_seconds: float | None
    """The most that the mode promises to lose; None: it promises nothing."""
    records: int
    seconds: float
    syncs: int
    measured: oor.stats.LossWindow
    """What the store itself saw as its largest window."""

    @property
    def worst_seconds(self) -> float:
        """The largest window that was lost."""
        return max((instant.lost_seconds for instant in self.instants), default=0.0)

    @property
    def worst_records(self) -> int:
        """The most records that were lost at one instant."""
        return max((instant.lost_records for instant in self.instants), default=0)

    @property
    def holds(self) -> bool:
        """Whether no instant lost more than the bound."""
        if self.mode == "sync":
            return self.worst_records == 0
        return self.bound_seconds is None or self.worst_seconds <= self.bound_seconds


def run(
    directory: str,
    *,
    modes: Sequence[str] = MODES,
    seconds: float = 1.0,
    rate: float = 5000.0,
    instants: int = 100,
    sync_interval: float = 0.05,
    seed: int = 0,
) -> list[ModeResult]:
    """Run the experiment in `directory`, which is made if it is not there and must have nothing of
    the kind.

    `rate` records a second are written for `seconds` in each mode; power is lost at `instants`
    instants of each. Raises CorruptionError if recovery yields anything but a prefix of what was
    written, or refuses what power left. A folder for each mode is left with what was durable at the
    last instant. Cost: `seconds` and some milliseconds an instant, a mode.

    REQUIRES: no other store is open in this process.
    """
    if not native.exists(directory):
        native.make_dir(directory)
    results = []
    for mode in modes:
        folder = os.path.join(os.path.realpath(directory), mode)
        native.make_dir(folder)
        results.append(_run_mode(folder, mode, seconds, rate, instants, sync_interval, seed))
    return results


def _run_mode(
    folder: str,
    mode: str,
    seconds: float,
    rate: float,
    instants: int,
    sync_interval: float,
    seed: int,
) -> ModeResult:
    with Trace() as trace:
        db = oor.open(folder, durability=mode, sync_interval=sync_interval, **OPTIONS)
        _write(db, trace, seconds, rate)
        events = list(trace.take())
        stats = db.stats()
        db.close()
    times, points, acknowledged = _timeline(events)
    rng = random.Random(f"{seed} {mode}")
    moments = sorted(rng.uniform(times[0], times[-1]) for _ in range(instants))
    found = []
    disk, fed = DurableDisk(folder), 0
    with MemoryDisk() as memory:
        for moment in moments:
            # Between two notes of the time it is not known when an operation ended: power is lost
            # at the note, so that a pause of this process is not counted as something lost.
            index = bisect.bisect_right(times, moment) - 1
            at = times[index]
            for event in events[fed : points[index]]:
                disk.feed(event)
            fed = max(fed, points[index])
            survived = _survived(memory, disk)
            count = bisect.bisect_right(acknowledged, at)
            lost = max(0, count - survived)
            found.append(Instant(at, count, lost, at - acknowledged[survived] if lost else 0.0))
    _clear(folder)
    disk.write(folder)
    longest_sync = _longest_sync(stats, sync_interval)
    bound = {"sync": 0.0, "interval": sync_interval + longest_sync}.get(mode)
    return ModeResult(
        mode, tuple(found), bound, len(acknowledged), times[-1], stats.log.syncs, stats.loss_window
    )


def _longest_sync(stats: oor.Stats, sync_interval: float) -> float:
    """What the largest window took beyond the interval: the sync itself, and the wait for a
    processor."""
    return max(0.0, stats.loss_window.seconds - sync_interval) + 2 * TICK


def _write(db: oor.DB, trace: Trace, seconds: float, rate: float) -> None:
    """Write records 0, 1, 2 ... and note each acknowledgement, and the time all along."""
    began = time.perf_counter()
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(TICK):
            trace.mark(f"time {time.perf_counter() - began}")

    clock = threading.Thread(target=tick, daemon=True)
    clock.start()
    n = 0
    try:
        while (now := time.perf_counter() - began) < seconds:
            if n > now * rate:
                time.sleep(TICK)
                continue
            db.put(b"%012d" % n, b"v" * 100)
            trace.mark(f"ack {time.perf_counter() - began}")
            n += 1
    finally:
        stop.set()
        clock.join()
    trace.mark(f"time {time.perf_counter() - began}")


def _timeline(events: Sequence[Event]) -> tuple[list[float], list[int], list[float]]:
    """The notes of time, how many events each has before it, and when each record was
    acknowledged."""
    times: list[float] = []
    points: list[int] = []
    acknowledged: list[float] = []
    for index, event in enumerate(events):
        if event.op is not Op.MARK:
            continue
        kind, _, at = event.text.partition(" ")
        # Two threads take the time and note it: keep it from going back.
        now = max(float(at), times[-1] if times else 0.0)
        times.append(now)
        points.append(index)
        if kind == "ack":
            acknowledged.append(now)
    return times, points, acknowledged


def _survived(memory: MemoryDisk, disk: DurableDisk) -> int:
    """How many records are there when power comes back, on a disk in memory."""
    name = os.path.relpath(STORE, ROOT)
    memory.put((name,), {f"{name}/{path}": data for path, data in disk.files().items()})
    return _recovered(STORE)


def _recovered(folder: str) -> int:
    """Open what power left; returns how many records came back, and checks that they are the first
    ones."""
    if not native.exists(os.path.join(folder, "CURRENT")):
        return 0
    with oor.open(folder, background=False, **OPTIONS) as db:
        keys = list(db.keys())
    if keys != [b"%012d" % n for n in range(len(keys))]:
        raise CorruptionError("recovery did not yield a prefix of what was written", path=folder)
    return len(keys)


def _clear(folder: str) -> None:
    for name in native.list_dir(folder):
        native.unlink(os.path.join(folder, name))


# ---- showing -------------------------------------------------------------------------------------


def text_plot(result: ModeResult, width: int = 72, height: int = 8) -> str:
    """What was lost over the time of the workload, in columns of `#`; the bound as a line of
    `-`."""
    top = max(result.worst_seconds, result.bound_seconds or 0.0, 1e-6)
    columns = [0.0] * width
    for instant in result.instants:
        column = min(width - 1, int(instant.at / result.seconds * width))
        columns[column] = max(columns[column], instant.lost_seconds)
    lines = []
    for row in range(height, 0, -1):
        low, high = top * (row - 1) / height, top * row / height
        at_bound = result.bound_seconds is not None and low < result.bound_seconds <= high
        cells = "".join("#" if value > low else "-" if at_bound else " " for value in columns)
        lines.append(f"{high * 1e3:8.1f} ms |{cells}".rstrip())
    lines.append(" " * 12 + "+" + "-" * width)
    lines.append(" " * 13 + f"power lost at 0 to {result.seconds:.2f} s")
    return "\n".join(lines)


def report(results: Sequence[ModeResult]) -> str:
    """The answer in lines of text, with a plot for each mode."""
    parts = []
    for result in results:
        bound = "none" if result.bound_seconds is None else f"{result.bound_seconds * 1e3:.1f} ms"
        parts.append(
            f"{result.mode}: {len(result.instants)} power losses in {result.seconds:.2f} s of "
            f"{result.records:,} records, {result.syncs:,} syncs\n"
            f"  largest window lost  {result.worst_seconds * 1e3:.1f} ms, "
            f"{result.worst_records:,} records\n"
            f"  bound                {bound}{'' if result.holds else '   EXCEEDED'}\n"
            f"  the store's own      {result.measured.seconds * 1e3:.1f} ms, "
            f"{result.measured.records:,} records, {result.measured.bytes:,} bytes\n"
            + text_plot(result)
        )
    return "\n\n".join(parts)


def figures(results: Sequence[ModeResult]) -> dict[str, Any]:
    """The answer by name; there is no bound where a mode promises none."""
    found: dict[str, Any] = {}
    for result in results:
        found |= {
            f"{result.mode}_records": result.records,
            f"{result.mode}_syncs": result.syncs,
            f"{result.mode}_instants": len(result.instants),
            f"{result.mode}_worst_records": result.worst_records,
            f"{result.mode}_worst_ms": round(result.worst_seconds * 1e3, 3),
        }
        if result.bound_seconds is not None:
            found[f"{result.mode}_bound_ms"] = round(result.bound_seconds * 1e3, 3)
    return found


def draw(results: Sequence[ModeResult], axes: Any) -> None:
    """The same on axes of matplotlib, one for each mode."""
    for axis, result in zip(axes, results, strict=True):
        axis.vlines(
            [instant.at for instant in result.instants],
            0,
            [instant.lost_seconds * 1e3 for instant in result.instants],
        )
        if result.bound_seconds is not None:
            axis.axhline(result.bound_seconds * 1e3, linestyle="--", color="tab:red")
        axis.set_title(f"{result.mode}: at most {result.worst_seconds * 1e3:.1f} ms lost")
        axis.set_ylabel("lost, ms")
    axes[-1].set_xlabel("power lost after, s")
