"""Errors of the system at every call: each fails in each way, and then the power goes too.

A workload with every kind of call meets one fault at its n-th call, for each n. A full disk lets
the same handle go on once there is room; any other error may end writing. Afterwards the fault is
gone and four things are tried: what the handle still reads, what a crash at any later moment
leaves, what the next open finds while the kernel still shows what it never wrote, and what a crash
of that open leaves.

Of a failed sync four kinds are known (CuttleFS, ATC'20): its pages count as written and a reader
sees the new bytes, or the old ones; the error is told at the next sync; or to somebody else. The
first two must cost nothing. Of the last two the caller was told a lie: what was acknowledged since
may be gone, but what is left is a prefix, or the open says that something is missing.
"""

from __future__ import annotations

import contextlib
import errno
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from oor.crashlab.explorer import Explorer, Plan
from oor.crashlab.history import Promise, digest
from oor.crashlab.images import CrashImages, Image
from oor.crashlab.invariants import Violation
from oor.crashlab.judge import STORE_NAME, Judge
from oor.crashlab.levels import Level
from oor.crashlab.memory import MemoryDisk
from oor.crashlab.nested import cut_recovery
from oor.crashlab.order import broken_order
from oor.crashlab.profiles import PROFILES, STRICT, Profile
from oor.crashlab.recording import MUTATING, Event, How, Op, Recording
from oor.crashlab.rules import failed_syncs_are_final
from oor.crashlab.run import Recorded, Run, Watched, record
from oor.errors import DiskFullError, OorError

ALL = (*MUTATING, Op.CLOSE)
"""What can be done and reported as failed. A close that fails has closed."""
ERRORS_MAX = 3
"""A disk that stays full gets room again after so many refusals."""
CALLS_MAX = 5000


@dataclass(frozen=True, slots=True)
class ErrorProfile:
    """One way in which a call may fail."""

    name: str
    ops: tuple[Op, ...] = ALL
    how: How = How.BEFORE
    errno: int = 0
    amount: int = 0
    forever: bool = False
    profile: Profile = STRICT
    lies: bool = False
    """Success was reported and was none: what is acknowledged from there on is no promise."""


def _profiles() -> Iterable[ErrorProfile]:
    for name in ("EIO", "ENOSPC", "EDQUOT", "EROFS"):
        number = getattr(errno, name)
        yield ErrorProfile(f"{name} once", MUTATING, errno=number)
        yield ErrorProfile(f"{name} for ever", MUTATING, errno=number, forever=True)
        yield ErrorProfile(f"{name}, and it was done", how=How.AFTER, errno=number)
    yield ErrorProfile("EINTR", MUTATING, errno=errno.EINTR)
    transfers = Op.READ, Op.WRITE
    for amount in (1, 39, 40, 511, 512, 4095):
        yield ErrorProfile(f"short by a count of {amount}", transfers, How.PARTIAL, amount=amount)
        yield ErrorProfile(
            f"{amount} bytes, EINTR, the rest", transfers, How.INTERRUPTED, amount=amount
        )
        for name in ("ENOSPC", "EIO"):
            yield ErrorProfile(
                f"{name} behind {amount} bytes", (Op.WRITE, Op.ALLOCATE), How.TORN,
                getattr(errno, name), amount,
            )  # fmt: skip
    yield ErrorProfile("short counts of 512 for ever", transfers, How.PARTIAL, amount=512,
                       forever=True)  # fmt: skip
    sync = (Op.SYNC,)
    for name in ("EIO", "ENOSPC"):
        number = getattr(errno, name)
        yield ErrorProfile(f"sync: {name}, pages clean, new bytes read", sync, errno=number)
        yield ErrorProfile(f"sync: {name}, pages clean, old bytes read", sync, errno=number,
                           profile=PROFILES["btrfs"])  # fmt: skip
    yield ErrorProfile("sync: told at the next one", sync, How.LATE, errno.EIO, lies=True)
    yield ErrorProfile("sync: told to another descriptor", sync, How.SWALLOWED, lies=True)


ERROR_PROFILES = tuple(_profiles())


@dataclass
class FaultTally:
    """What was met, and what came of it."""

    calls: Counter[str] = field(default_factory=Counter)
    """Profile -> calls that met the fault."""
    by_op: Counter[str] = field(default_factory=Counter)
    """Operation -> calls that met a fault."""
    states: Counter[str] = field(default_factory=Counter)
    """Profile -> distinct states that were opened afterwards."""
    violations: list[Violation] = field(default_factory=list)


def steps() -> list[Callable[[Watched], object]]:
    """Every kind of call, few of each."""
    return [
        lambda db: db.put(b"a", b"1", durability="os"),
        lambda db: db.write({b"a": b"2", b"b": None, b"c": b"2" * 300}, durability="sync"),
        lambda db: db.put(b"big", b"L" * 17_000, durability="os"),
        lambda db: db.rotate(),
        lambda db: db.put(b"c", b"3", durability="sync"),
        lambda db: db.flush(),
        lambda db: db.delete(b"a", durability="os"),
        lambda db: db.checkpoint(),
        lambda db: db.write({b"a": b"4", b"d": b"4"}, durability="sync"),
        lambda db: db.flush(),
        lambda db: db.compact(),
        lambda db: db.put(b"last", b"5", durability="sync"),
    ]


def shaken(run: Run) -> int:
    """The workload: an error ends neither it nor the process, and what is read stays right.

    Returns how many calls have met the fault.
    """
    recording = run.history.recording
    assert recording is not None
    met = 0
    try:
        db = run.open()
    except OorError:
        met += recording.faults_met
        recording.heal()
        db = run.open()
    refused = 0
    for step in steps():
        try:
            step(db)
        except DiskFullError:
            refused += 1
            if refused == ERRORS_MAX:
                met += recording.faults_met
                recording.heal()
        except OorError:
            break
    met += recording.faults_met
    recording.heal()
    with contextlib.suppress(OorError):  # it is whole or absent, as everything that raised
        db.put(b"afterwards", b"6", durability="sync")
    lengths = run.history.lengths().get(digest(db.content()), [])
    if len(run.history.batches) not in lengths:
        raise AssertionError("a reader sees what nobody wrote, or misses what was acknowledged")
    db.kill()
    return met


class _OfLiar(Judge):
    """Judges what is left by a device that reported a sync it had not made."""

    def broken(self, recorded: Recorded, image: Image, promise: Promise) -> tuple[str, str] | None:
        if STORE_NAME in image.dirs and self._outcome(recorded, image)[0].is_corruption:
            return None
        # LSNs that were given, and whose frames are gone without a trace, are given again.
        return super().broken(recorded, image, promise._replace(acked=promise.durable))

    def _stands(self, image: Image) -> int:
        """None: an epoch whose manifest the device lost never began.

        The store goes on from the manifest before it. The frames of the lost epoch verify by
        themselves, but by a salt that no later epoch has: what is given again is never confused.
        """
        return 0


class FaultExplorer:
    """Lets calls of a workload fail, one after another, on one disk in memory.

    Cost: 10 to 60 ms a call, most of it recoveries of what a crash leaves after it.
    """

    def __init__(
        self, disk: MemoryDisk, *, seed: int = 0, points: int = 3, states: int = 6
    ) -> None:
        """Of each fault, crashes at so many later moments, with up to so many states each."""
        self._disk = disk
        self._seed = seed
        self._points = points
        self._states = states
        self.tally = FaultTally()

    def explore(
        self, kind: ErrorProfile, options: dict[str, object] | None = None, *, stride: int = 1
    ) -> None:
        """Each call that can meet this fault meets it; with a stride, every so many-th."""
        first = 1 + random.Random(f"{self._seed} {kind.name}").randrange(stride)
        explorer = Explorer(self._disk, Plan(seed=self._seed, profile=kind.profile))
        if kind.lies:
            explorer.judge = _OfLiar(self._disk)
        for nth in range(first, CALLS_MAX, stride):
            if not self._fail(explorer, kind, nth, options):
                break
        self.tally.states[kind.name] += len(explorer.seen)
        self.tally.violations += [
            replace(found, workload=f"{kind.name}: {found.workload}")
            for found in explorer.tally.violations
        ]

    def _fail(
        self, explorer: Explorer, kind: ErrorProfile, nth: int, options: dict[str, object] | None
    ) -> bool:
        name = f"call {nth}"
        before = self._disk.counts().files
        met = [0]

        def workload(run: Run) -> None:
            met[0] = shaken(run)

        def arm(recording: Recording) -> None:
            recording.fail(
                kind.ops, nth=nth, errno=kind.errno, how=kind.how, amount=kind.amount,
                forever=kind.forever, path_part="store",
            )  # fmt: skip

        try:
            recorded = record(
                self._disk, workload, name=name, options=options, seed=self._seed, fault=arm
            )
        except AssertionError as error:
            explorer.note(Violation("I1", str(error), name))
            self.tally.calls[kind.name] += 1
            return True
        if recorded.failed is not None:
            explorer.note(Violation("I12", f"the workload ended: {recorded.failed}", name))
            return True
        if not met[0]:
            return False
        at = next((at for at, event in enumerate(recorded.events) if meets(kind, event)), None)
        if at is None:
            return True  # it asked for no more than the count: nothing was cut off
        self.tally.calls[kind.name] += 1
        self.tally.by_op[recorded.events[at].op.name] += 1
        if kind.lies:
            forgive(recorded, at)
        if (left := self._disk.counts().files - before) > 0:
            explorer.note(Violation("I11", f"{left} descriptors stay open", name))
        self._check_rules(explorer, recorded, kind)
        self._crash(explorer, recorded, at)
        return True

    def _check_rules(self, explorer: Explorer, recorded: Recorded, kind: ErrorProfile) -> None:
        recording = recorded.recording
        rules = broken_order(recorded.events, recording.root, recording.snapshot)
        for text in rules.acks[:1] if not kind.lies else ():
            explorer.note(Violation("I13", text, recorded.name))
        for text in rules.releases[:1] if not kind.lies else ():
            explorer.note(Violation("I14", text, recorded.name))
        for text in failed_syncs_are_final(recorded.events)[:1]:
            explorer.note(Violation("I2", text, recorded.name))

    def _crash(self, explorer: Explorer, recorded: Recorded, met: int) -> None:
        """Crashes behind the fault, and crashes of the open that follows the process's death."""
        images = explorer.images_of(recorded)
        rng = random.Random(f"{self._seed} {recorded.name}")
        later = [point for point in images.points() if point > met]
        end = later.pop() if later else len(recorded.events)
        for point in [*rng.sample(later, min(len(later), self._points - 1)), end]:
            for level in (Level.KILL, Level.ORDERED, Level.REORDERED, Level.TORN):
                for image in images.at(point, level, seed=self._seed, limit=self._states):
                    explorer.try_state(recorded, image)
        self._reopen(explorer, recorded, images, end, rng)

    def _reopen(
        self, explorer: Explorer, recorded: Recorded, images: CrashImages, end: int,
        rng: random.Random,
    ) -> None:  # fmt: skip
        image = next(iter(images.at(end, Level.KILL)))
        cut_recovery(explorer, recorded, image, images.after_kill(end), rng, depth=2,
                     deepest=2, most=self._states)  # fmt: skip


def meets(kind: ErrorProfile, event: Event) -> bool:
    """Whether this operation is one that met the fault, as far as that can be seen of it."""
    if event.op not in kind.ops or "store" not in event.path:
        return False
    if kind.how in (How.PARTIAL, How.INTERRUPTED):
        return 0 < event.result < event.length
    if kind.how in (How.SWALLOWED, How.LATE):
        return not event.effect and event.result >= 0
    return event.result == -kind.errno


def forgive(recorded: Recorded, met: int) -> None:
    """What is promised durable from this event on is no promise."""
    kept = recorded.promises[met].durable
    recorded.promises[met:] = [
        promise._replace(durable=min(promise.durable, kept)) for promise in recorded.promises[met:]
    ]
