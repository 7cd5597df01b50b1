"""What does it cost to make a write durable, and who pays? `oor lab fsync-cost` measures it.

The device is asked first, with no store in between; then a store in `sync` mode commits batches of
growing size. The sync is the same for each: what shrinks is each record's share of it. Last, many
commit at once, and the syncs that they all needed are counted.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import oor
from oor import aio, doctor

BATCHES: Final = (1, 10, 100, 1000)
"""Records a commit."""
VALUE: Final = b"v" * 138
"""As long as the two lines of an element set."""
THREADS: Final = 16
TASKS: Final = 1000
SECONDS_MAX: Final = 4.0
"""No measurement of this module begins another commit after so long, however slow the device is."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of so many records, durable when it returns; median seconds."""

    records: int
    seconds: float

    @property
    def seconds_a_record(self) -> float:
        """Each record's share."""
        return self.seconds / self.records


@dataclass(frozen=True, slots=True)
class Company:
    """Durable puts that were made at once, and the syncs that served them."""

    who: str
    puts: int
    syncs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FsyncCost:
    """What was measured in one directory."""

    diagnosis: doctor.Diagnosis
    commits: tuple[Commit, ...]
    threads: Company
    """16 threads, each of which puts one record after the other."""
    tasks: Company
    """1,000 tasks of an event loop that put one record each."""

    def figures(self) -> dict[str, Any]:
        """By name, times in microseconds; a way that cannot be had here is left out."""
        direct, written, fresh, unsynced = self.diagnosis.costs
        named = {"direct": direct, "fdatasync": written, "growing": fresh, "unsynced": unsynced}
        found: dict[str, Any] = {
            f"{name}_us": round(cost.p50 * 1e6, 2)
            for name, cost in named.items()
            if cost.error is None
        }
        for commit in self.commits:
            found[f"batch_{commit.records}_us"] = round(commit.seconds * 1e6, 2)
            found[f"batch_{commit.records}_us_a_record"] = round(commit.seconds_a_record * 1e6, 3)
        for name, company in (("threads", self.threads), ("tasks", self.tasks)):
            found[f"{name}_puts"] = company.puts
            found[f"{name}_syncs"] = company.syncs
        found["sync_method"] = self.diagnosis.sync_method
        found["file_system"] = self.diagnosis.file_system.kind
        found["reaches_device"] = self.diagnosis.reaches_device
        return found


def run(directory: str, *, samples: int = 200) -> FsyncCost:
    """Measure `samples` writes of each kind, and as many commits, in `directory`, which is there.

    Raises what `oor.doctor.examine` and `oor.open` raise. Cost: about 8 x `samples` syncs; on a
    device however slow less than a minute, with fewer samples.
    """
    diagnosis = doctor.examine(directory, samples)
    path = os.path.join(directory, "fsync-cost.oor")
    with oor.open(path, durability="sync") as db:
        commits = tuple(_commit(db, records, samples) for records in BATCHES)
        threads = _threads(db, samples)
    return FsyncCost(diagnosis, commits, threads, asyncio.run(_tasks(path)))


def _commit(db: oor.DB, records: int, samples: int) -> Commit:
    times: list[float] = []
    for n in range(samples):
        batch = {b"%012d" % (n * records + i): VALUE for i in range(records)}
        began = time.perf_counter()
        db.write(batch)
        times.append(time.perf_counter() - began)
        if sum(times) >= SECONDS_MAX:
            break
    return Commit(records, statistics.median(times))


def _threads(db: oor.DB, samples: int) -> Company:
    """`samples` puts in all, by threads that begin at once."""
    start = threading.Barrier(THREADS)
    done = [0] * THREADS

    def work(number: int) -> None:
        start.wait()
        until = time.perf_counter() + SECONDS_MAX
        while done[number] * THREADS < samples and time.perf_counter() < until:
            db.put(b"%d %d" % (number, done[number]), VALUE)
            done[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    before, began = db.stats().log.syncs, time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return Company(f"{THREADS} threads", sum(done), db.stats().log.syncs - before, seconds)


async def _tasks(path: str) -> Company:
    async with aio.open(path, durability="sync") as db:
        before, began = db.stats().log.syncs, time.perf_counter()
        await asyncio.gather(*(db.put(b"task %d" % n, VALUE) for n in range(TASKS)))
        seconds = time.perf_counter() - began
        return Company(f"{TASKS:,} tasks", TASKS, db.stats().log.syncs - before, seconds)


# ---- showing -------------------------------------------------------------------------------------


def report(found: FsyncCost, width: int = 48) -> str:
    """The answer in lines of text, with bars."""
    costs = [(cost.way, cost.p50) for cost in found.diagnosis.costs if cost.error is None]
    shares = [(_title(commit), commit.seconds_a_record) for commit in found.commits]
    parts = [
        f"{found.diagnosis.file_system.kind or 'unknown file system'}; "
        f"the log goes by {found.diagnosis.sync_method}",
        "4 KiB to the device, us\n" + _bars(costs, width),
        "a record's share of a durable commit, us\n" + _bars(shares, width),
        "at once\n" + "\n".join(map(_line, (found.threads, found.tasks))),
        *found.diagnosis.findings,
    ]
    return "\n\n".join(parts)


def _line(company: Company) -> str:
    share = company.seconds / max(1, company.puts) * 1e6
    return (
        f"  {company.who:<11} {company.puts:,} durable puts by {company.syncs:,} syncs, "
        f"{share:,.1f} us a put"
    )


def _title(commit: Commit) -> str:
    return f"{commit.records:,} a commit of {commit.seconds * 1e6:,.0f} us"


def _bars(rows: list[tuple[str, float]], width: int) -> str:
    longest = max(len(name) for name, _ in rows)
    top = max(max(seconds for _, seconds in rows), 1e-9)
    return "\n".join(
        f"  {name:<{longest}} {seconds * 1e6:9.2f} |{'#' * max(1, round(seconds / top * width))}"
        for name, seconds in rows
    )


def draw(found: FsyncCost, axes: Any) -> None:
    """The same on two axes of matplotlib."""
    device, share = axes
    costs = [cost for cost in found.diagnosis.costs if cost.error is None]
    device.barh([cost.way for cost in costs], [cost.p50 * 1e6 for cost in costs])
    device.set_xlabel("4 KiB to the device, us")
    share.loglog(
        [commit.records for commit in found.commits],
        [commit.seconds_a_record * 1e6 for commit in found.commits],
        marker="o",
    )
    share.set_xlabel("records a commit")
    share.set_ylabel("a record's share, us")
