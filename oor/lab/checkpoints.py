"""What does a checkpoint save, and what does it cost the writers? `oor lab checkpoints` shows it.

The same records are written twice: into a store that never takes a checkpoint, and into one that
takes one every so many records, from a second thread, while the writer goes on. The length of the
log is noted all along; at the end both stores are analysed as if their process had died.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import oor
from oor.analysis import analyze
from oor.checkpoint import Checkpoint
from oor.demo.records import record

STEP: Final = 500
"""Records between two looks at the log."""
OPTIONS: Final[dict[str, Any]] = {
    "durability": "interval",
    "segment_bytes": 256 << 10,
    "tail_bytes": 64 << 10,
    "background": False,
}


@dataclass(frozen=True, slots=True)
class Course:
    """One store: the length of its log over the records, and what its redo would have to do."""

    title: str
    log_bytes: tuple[int, ...]
    """Live bytes of the log, each `STEP` records."""
    checkpoints: tuple[Checkpoint, ...]
    redo_lsn: int
    last_lsn: int
    redo_records: int
    """Mutations that a recovery would replay if the process died now."""
    longest_put: float
    """Seconds, while no checkpoint was under way."""
    longest_put_beside: float
    """Seconds, while one was; 0 where there was none."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Both stores side by side."""

    records: int
    without: Course
    taken: Course

    def figures(self) -> dict[str, Any]:
        """The figures by name."""
        found: dict[str, Any] = {"records": self.records}
        for name, course in (("without", self.without), ("with", self.taken)):
            found |= {
                f"{name}_largest_log": max(course.log_bytes),
                f"{name}_last_log": course.log_bytes[-1],
                f"{name}_redo_records": course.redo_records,
                f"{name}_redo_lsn": course.redo_lsn,
            }
        taken = self.taken.checkpoints
        return found | {
            "checkpoints": len(taken),
            "segments_freed": sum(each.segments_freed for each in taken),
            "last_lsn": self.taken.last_lsn,
            "last_checkpoint_lsn": taken[-1].lsn if taken else 0,
            "last_redo_lsn": taken[-1].redo_lsn if taken else 0,
            "longest_put_ms": round(self.taken.longest_put * 1e3, 3),
            "longest_put_beside_ms": round(self.taken.longest_put_beside * 1e3, 3),
        }


def run(directory: str, *, records: int = 20_000, every: int = 5_000) -> Checkpoints:
    """Write `records` twice in `directory`, which is there; a checkpoint each `every` of them.

    Raises what `oor.open` raises. Cost: a few seconds for the default.
    """
    without = _course(os.path.join(directory, "without.oor"), "no checkpoint", records, 0)
    taken = _course(
        os.path.join(directory, "with.oor"), f"a checkpoint every {every:,} records", records, every
    )
    return Checkpoints(records, without, taken)


def _course(path: str, title: str, count: int, every: int) -> Course:
    lengths: list[int] = []
    done: list[Checkpoint] = []
    alone = beside = 0.0
    under_way: threading.Thread | None = None
    with oor.open(path, **OPTIONS) as db:
        for n in range(1, count + 1):
            began = time.perf_counter()
            db.put(*record(n))
            took = time.perf_counter() - began
            if under_way is not None and under_way.is_alive():
                beside = max(beside, took)
            else:
                alone = max(alone, took)
            if n % STEP == 0:
                lengths.append(db.stats().log.live_bytes)
            if every and n % every == 0 and n < count:
                if under_way is not None:
                    under_way.join()
                under_way = threading.Thread(target=lambda: done.append(db.checkpoint()))
                under_way.start()
        if under_way is not None:
            under_way.join()
        lengths.append(db.stats().log.live_bytes)
        # As it would be found if the process died here: an analysis reads and changes nothing.
        plan = analyze(path)
        redo = max(0, plan.log_end_lsn - plan.state.flushed_lsn)
        return Course(
            title, tuple(lengths), tuple(done), plan.redo_lsn, db.last_lsn, redo, alone, beside
        )


# ---- showing -------------------------------------------------------------------------------------


def report(found: Checkpoints) -> str:
    """The answer in lines of text, with the length of both logs as plots."""
    parts = []
    top = max(*found.without.log_bytes, *found.taken.log_bytes)
    for course in (found.without, found.taken):
        parts.append(
            f"{course.title}\n{text_plot(course, top)}\n"
            f"  if the process died now, redo would start at LSN {course.redo_lsn:,} and replay "
            f"{course.redo_records:,} mutations"
        )
    lines = [
        f"  checkpoint at LSN {each.lsn:,}: redo from LSN {each.redo_lsn:,}, "
        f"{each.segments_freed} segments freed, {each.seconds * 1e3:.1f} ms"
        for each in found.taken.checkpoints
    ]
    lines.append(
        f"  the longest put took {found.taken.longest_put_beside * 1e3:.2f} ms beside a checkpoint "
        f"and {found.taken.longest_put * 1e3:.2f} ms alone"
    )
    return "\n\n".join([*parts, "\n".join(lines)])


def text_plot(course: Course, top: int, width: int = 72, height: int = 6) -> str:
    """The length of the log over the records, in columns of `#`; `top` bytes are the full
    height."""
    count = len(course.log_bytes)
    columns = [course.log_bytes[min(count - 1, i * count // width)] for i in range(width)]
    lines = []
    for row in range(height, 0, -1):
        cells = "".join("#" if value > top * (row - 1) / height else " " for value in columns)
        lines.append(f"{top * row / height / 1024:8.0f} KiB |{cells}".rstrip())
    lines.append(" " * 13 + "+" + "-" * width)
    lines.append(" " * 14 + f"live bytes of the log, records 0 to {STEP * (count - 1):,}")
    return "\n".join(lines)


def draw(found: Checkpoints, axes: Any) -> None:
    """The same on one axis of matplotlib."""
    axis = axes[0]
    for course in (found.without, found.taken):
        at = [STEP * (i + 1) for i in range(len(course.log_bytes))]
        axis.plot(at, [size / 1024 for size in course.log_bytes], label=course.title)
    axis.set_xlabel("records written")
    axis.set_ylabel("live log, KiB")
    axis.legend()
