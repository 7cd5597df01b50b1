"""A process that dies at one exact point, by its own SIGKILL: nothing is closed or synced after it.

    python -m oor.demo.victim PATH POINT COUNT
    report := LSN that is durable, newline                 last line counts

POINT: `logged`     after COUNT records are logged, some of them not yet durable;
       `flush`      when the table is written and durable, before the manifest names it;
       `merged`     when a compaction's outputs are durable, before the manifest edit;
       `installed`  when the manifest edit of that compaction is durable, before the old tables go.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import oor
from oor.demo.records import records
from oor.errors import OorError
from oor.state import State

BATCH = 50
DURABLE_AT_LEAST = 3000
"""At `logged`: so many records are synced, the others only logged."""
TABLES = 3
"""Tables that a compaction merges."""


def die_in_child(path: str, point: str, count: int) -> int:
    """Let a process of its own die at `point`; returns the last durable LSN that it told of.

    Raises OorError if it does not end by SIGKILL.
    """
    command = [sys.executable, "-m", "oor.demo.victim", path, point, str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != -signal.SIGKILL:
        raise OorError(
            f"the child should have died by SIGKILL and ended with {done.returncode}", path=path
        )
    return int(done.stdout.split()[-1])


def die() -> None:
    """Nothing runs after this."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_install(*, before: bool) -> None:
    """Let the next edit of the manifest be the end: before it is written, or when it is durable."""
    install = State.install

    def last_act(self: State, *arguments: Any, **named: Any) -> None:
        if not before:
            install(self, *arguments, **named)
        die()

    State.install = last_act  # type: ignore[method-assign]


def write(db: oor.DB, start: int, stop: int) -> None:
    """Write records in batches; say after each how far the log is durable."""
    for at in range(start, stop, BATCH):
        db.write(records(at, min(at + BATCH, stop)))
        print(db.durable_lsn, flush=True)


def run(path: str, point: str, count: int) -> None:
    """Write `count` records, come to the point, die."""
    db = oor.open(path, durability="interval", background=False)
    if point == "logged":
        write(db, 0, DURABLE_AT_LEAST)
        db.sync()
        write(db, DURABLE_AT_LEAST, count)
    elif point == "flush":
        write(db, 0, count)
        die_at_install(before=True)
        db.flush()
    else:
        for part in range(TABLES):
            write(db, part * count // TABLES, (part + 1) * count // TABLES)
            db.flush()
        die_at_install(before=point == "merged")
        db.compact()
    die()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
