"""How long can a replay take with a checkpoint every 60 seconds? `oor lab replay-time` measures it.

The longest replay comes when the process dies just before a checkpoint: everything that was written
since the last one is in the log and nowhere else. So logs of growing length are written, up to what
the given rate writes in the given interval; each is copied as a killed process leaves it, and
opened. No memtable is flushed on the way, which is the worst case: a store whose memtable is full
earlier has less to replay.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from typing import Any, Final

import oor
from oor import native
from oor.demo.records import records

STEPS: Final = 6
ROUNDS: Final = 3
BATCH: Final = 1000
RATES: Final = (1000, 3000, 10_000, 30_000)
"""Writes a second of the table of bounds."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A log of one length: median seconds of its phases over the rounds."""

    records: int
    log_bytes: int
    analysis_seconds: float
    redo_seconds: float
    undo_seconds: float

    @property
    def seconds(self) -> float:
        """All phases together: from the open to the first read."""
        return self.analysis_seconds + self.redo_seconds + self.undo_seconds


@dataclass(frozen=True, slots=True)
class ReplayTime:
    """Replays of growing logs, the longest last."""

    rate: float
    interval: float
    replays: tuple[Replay, ...]

    @property
    def seconds_a_record(self) -> float:
        """The slope of the bound: what one more record costs."""
        return self._line()[1]

    def bound(self, count: float) -> float:
        """Seconds that a replay of so many records takes at the most, by the line along which the
        replays grow, raised so that none of them lies above it.
        """
        start, slope = self._line()
        return start + slope * count

    def _line(self) -> tuple[float, float]:
        slope = statistics.linear_regression(
            [replay.records for replay in self.replays],
            [replay.seconds for replay in self.replays],
        ).slope
        longest = self.replays[-1]
        if slope <= 0.0:
            # The noise is larger than the growth: what opens in any case counts as the records'.
            slope = longest.seconds / longest.records
        return max(replay.seconds - slope * replay.records for replay in self.replays), slope

    def figures(self) -> dict[str, Any]:
        """The answer by name; times in milliseconds."""
        longest = self.replays[-1]
        return {
            "rate": self.rate,
            "interval_s": self.interval,
            "records": longest.records,
            "log_bytes": longest.log_bytes,
            "longest_ms": round(longest.seconds * 1e3, 3),
            "longest_s": round(longest.seconds, 6),
            "analysis_ms": round(longest.analysis_seconds * 1e3, 3),
            "redo_ms": round(longest.redo_seconds * 1e3, 3),
            "undo_ms": round(longest.undo_seconds * 1e3, 3),
            "shortest_records": self.replays[0].records,
            "shortest_ms": round(self.replays[0].seconds * 1e3, 3),
            "replayed_a_second": round(longest.records / longest.seconds),
        }


def run(directory: str, *, rate: float = 3000.0, interval: float = 60.0) -> ReplayTime:
    """Replay what `rate` records a second write in up to `interval` seconds.

    Works below `directory`, which is there. Raises what `oor.open` raises. Cost: the records are
    written about four times, in bulk, and replayed as often: some seconds for the default.
    """
    most = max(STEPS * BATCH, round(rate * interval))
    replays = []
    for step in range(1, STEPS + 1):
        folder = os.path.join(directory, f"replay-{step}")
        native.make_dir(folder)
        replays.append(_replay(folder, most * step // STEPS))
    return ReplayTime(rate, interval, tuple(replays))


def _replay(folder: str, count: int) -> Replay:
    options: dict[str, Any] = {
        "durability": "interval", "background": False,
        "memtable_bytes": 1 << 40, "max_log_bytes": 1 << 50,
    }  # fmt: skip
    left = os.path.join(folder, "left.oor")
    with oor.open(os.path.join(folder, "store.oor"), **options) as db:
        for at in range(0, count, BATCH):
            db.write(records(at, min(at + BATCH, count)))
        db.sync()
        size = db.stats().log.live_bytes
        _copy(db.path, left)
    reports = []
    for number in range(ROUNDS):
        image = os.path.join(folder, f"image-{number}.oor")
        _copy(left, image)
        with oor.open(image, **options) as db:
            reports.append(db.recovery)
            assert db.recovery.records == count, "all of it is replayed, and nothing else"
        _remove(image)
    _remove(left)
    middle = [
        statistics.median(getattr(report, f"{phase}_seconds") for report in reports)
        for phase in ("analysis", "redo", "undo")
    ]
    return Replay(count, size, *middle)


def _copy(source: str, target: str) -> None:
    """As a killed process leaves it: every file as it is now, and on the device, since the log's
    own thread has synced it."""
    native.make_dir(target)
    for name in native.list_dir(source):
        data = native.read_file(os.path.join(source, name))
        with native.File(os.path.join(target, name), native.WRITE | native.CREATE) as file:
            file.write(data, 0)
            file.sync()
    native.sync_dir(target)


def _remove(folder: str) -> None:
    for name in native.list_dir(folder):
        native.unlink(os.path.join(folder, name))


# ---- showing -------------------------------------------------------------------------------------


def report(found: ReplayTime, width: int = 40) -> str:
    """The answer in lines of text, with bars, and the bounds for other rates and intervals."""
    top = max(replay.seconds for replay in found.replays)
    lines = [
        f"{found.rate:,.0f} writes a second, a checkpoint every {found.interval:g} s",
        "",
        " since then    records        log   replay ms",
    ]
    for replay in found.replays:
        bar = "#" * max(1, round(replay.seconds / top * width))
        lines.append(
            f"{replay.records / found.rate:9.1f} s {replay.records:10,} "
            f"{replay.log_bytes / (1 << 20):6.1f} MiB {replay.seconds * 1e3:9.1f} |{bar}"
        )
    longest = found.replays[-1]
    lines += [
        "",
        f"the longest replay: {longest.records:,} records in {longest.seconds * 1e3:.1f} ms, "
        f"{longest.records / longest.seconds:,.0f} a second",
        f"analysis {longest.analysis_seconds * 1e3:.1f} ms, redo {longest.redo_seconds * 1e3:.1f}, "
        f"undo {longest.undo_seconds * 1e3:.1f}",
        "",
        "bound by the line over these, ms, for writes a second and seconds between checkpoints",
        "             " + "".join(f"{seconds:>10} s" for seconds in (1, 10, 60, 300)),
    ]
    for rate in RATES:
        bounds = "".join(
            f"{found.bound(rate * seconds) * 1e3:12,.0f}" for seconds in (1, 10, 60, 300)
        )
        lines.append(f"{rate:>10,}/s {bounds}")
    lines.append("A full memtable (memtable_bytes) or log (max_log_bytes) is flushed before that.")
    return "\n".join(lines)


def draw(found: ReplayTime, axes: Any) -> None:
    """Replay against the records, and the bound, on one axis of matplotlib."""
    axis = axes[0]
    counts = [replay.records for replay in found.replays]
    axis.plot(counts, [found.bound(count) * 1e3 for count in counts], linestyle="--", label="bound")
    axis.plot(counts, [replay.seconds * 1e3 for replay in found.replays], "o", label="measured")
    axis.set_xlabel("records since the last checkpoint")
    axis.set_ylabel("replay, ms")
    axis.set_ylim(bottom=0)
    axis.legend()
