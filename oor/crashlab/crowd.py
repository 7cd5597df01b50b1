"""A workload with several writers, each a thread, and a reader beside them.

How they interleave is what the recording of that one run says, and that recording is what is cut
off everywhere. What they acknowledge and see is noted by themselves when it happens; the history is
in LSN order, whoever wrote it.

Threads that are left alone hardly ever meet inside of a commit, which takes microseconds. So each
pauses at lines of it that are drawn by its seed, with whatever locks it then holds.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from oor import commit, memtable, publish
from oor.crashlab.history import Mutations
from oor.crashlab.run import Run, Watched

WRITERS = ("sync", "os", "sync", "os", "both")
"""The modes of the writers: of those who wait for a sync, of those who do not, and of one who takes
turns."""
WRITES = 8
"""Of each writer in one round."""
KEYS = 12
PAUSED_AT = frozenset((commit.__file__, publish.__file__, memtable.__file__))
PAUSE_SHARE = 0.2
"""Of the lines of those files."""
PAUSE_SECONDS = 2e-5
"""About as long as a commit takes."""

Job = Callable[[], object]


def together(seed: str, *jobs: Job) -> None:
    """Run each in a thread of its own, all at once; raises what the first that failed raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(jobs))

    def work(number: int, job: Job) -> None:
        start.wait()
        sys.settrace(_pausing(random.Random(f"{seed} {number}")))
        try:
            job()
        except BaseException as error:
            failures.append(error)
        finally:
            sys.settrace(None)

    threads = [threading.Thread(target=work, args=each) for each in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _pausing(rng: random.Random) -> Any:
    """What `sys.settrace` takes: it pauses at some lines."""

    def at_line(frame: FrameType, event: str, argument: object) -> Any:
        if event == "line" and rng.random() < PAUSE_SHARE:
            time.sleep(PAUSE_SECONDS)
        return at_line

    def at_call(frame: FrameType, event: str, argument: object) -> Any:
        return at_line if frame.f_code.co_filename in PAUSED_AT else None

    return at_call


def crowd(run: Run) -> None:
    """Three rounds of all writers at once, in two lives of the process; the second round beside a
    flush and a checkpoint.
    """
    for session in range(2):
        db = run.open()
        for part in range(3):
            jobs = [
                _writer(run, db, f"{session}.{part}.{number}", mode)
                for number, mode in enumerate(WRITERS)
            ]
            if part == 1:
                jobs.append(_housekeeper(db))
            together(f"{run.seed} {session} {part}", *jobs, _reader(db))
            db.look()
            if part == 0:
                db.flush()
        db.compact()
        if session == 0:
            db.kill()
    db.look()


def _reader(db: Watched) -> Job:
    def read() -> None:
        for _ in range(WRITES):
            db.look()

    return read


def _housekeeper(db: Watched) -> Job:
    def keep() -> None:
        db.flush()
        db.checkpoint()
        db.sync()

    return keep


def _writer(run: Run, db: Watched, name: str, mode: str) -> Job:
    def write() -> None:
        rng = random.Random(f"{run.seed} {name}")
        for step in range(WRITES):
            now = ("sync", "os")[step % 2] if mode == "both" else mode
            db.write(_batch(rng, f"{name}.{step}"), durability=now)

    return write


def _batch(rng: random.Random, name: str) -> Mutations:
    """One key or three out of few, so that writers meet; each value is unique."""
    keys = rng.sample(range(KEYS), rng.choice((1, 1, 3)))
    return {
        b"key%02d" % key: None
        if rng.random() < 0.15
        else f"{name} {key} ".encode() + b"v" * rng.choice((0, 30, 300))
        for key in keys
    }
