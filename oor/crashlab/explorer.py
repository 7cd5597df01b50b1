"""The explorer: runs workloads, cuts them off everywhere, and counts what it found.

    with MemoryDisk() as disk:
        explorer = Explorer(disk, Plan(seed=1, states=1000))
        explorer.explore("mine", workload)
    print(explorer.tally.violations)

A state is an image of the disk with what had been promised when it could arise; states are told
apart by a digest of both, across all workloads of one explorer. `raw` counts them before that.
Cost: 0.6 to 1.5 ms a distinct image, which is a recovery by the engine; 20 us a state otherwise.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from oor.crashlab.images import CrashImages, Image
from oor.crashlab.invariants import Violation
from oor.crashlab.judge import Check, Judge
from oor.crashlab.levels import CRASHES, QUICK, Bounds, Level
from oor.crashlab.lies import lies
from oor.crashlab.memory import MemoryDisk
from oor.crashlab.nested import explore_nested
from oor.crashlab.order import broken_order
from oor.crashlab.profiles import STRICT, Profile
from oor.crashlab.recording import Op
from oor.crashlab.run import NeutralityError, Recorded, Workload, record
from oor.names import LOCK

WITHOUT = frozenset((LOCK,))
"""What LOCK says is for people: no part of a state."""
VIOLATIONS_MAX = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What to explore, and when it is enough."""

    seed: int = 0
    states: int | None = None
    """Distinct states."""
    seconds: float | None = None
    profile: Profile = STRICT
    bounds: Bounds = QUICK
    levels: tuple[Level, ...] = CRASHES
    per_workload: int | None = None
    """Distinct states of one workload at the most."""
    processes: int = 1
    longest: int = 2
    """Sequences of up to so many macro-operations."""
    nested: int = 2
    """States of each workload whose recovery is cut off too."""
    violations: int = VIOLATIONS_MAX
    """It ends after so many; not more than VIOLATIONS_MAX of them are kept."""
    lies: int = 1
    """Ways in which the device lies at each of some points."""


@dataclass
class Found:
    """A violation with the state that shows it, to be shrunk and written down."""

    violation: Violation
    recorded: Recorded
    image: Image | None


@dataclass
class Tally:
    """What an exploration counted."""

    raw: Counter[str] = field(default_factory=Counter)
    """Level -> states made."""
    distinct: Counter[str] = field(default_factory=Counter)
    """Level -> states judged: the first level at which each was met."""
    depths: Counter[int] = field(default_factory=Counter)
    """Crashes one after another -> distinct states."""
    opened: int = 0
    workloads: int = 0
    operations: int = 0
    violations: list[Violation] = field(default_factory=list)
    violation_count: int = 0
    refusals: int = 0
    """Of those: opens that were refused as damage, so that nothing was lost in silence."""
    seconds: float = 0.0
    twice: int = 0
    """States that two processes met and both counted under their level."""

    def add(self, other: Tally) -> None:
        """Take in what another process counted."""
        self.raw += other.raw
        self.distinct += other.distinct
        self.depths += other.depths
        self.opened += other.opened
        self.workloads += other.workloads
        self.operations += other.operations
        self.violations += other.violations[: VIOLATIONS_MAX - len(self.violations)]
        self.violation_count += other.violation_count
        self.refusals += other.refusals

    @property
    def states(self) -> int:
        """Distinct states in all."""
        return sum(self.distinct.values()) - self.twice


class Explorer:
    """Explores one workload after another on one disk, until its plan is fulfilled."""

    def __init__(self, disk: MemoryDisk, plan: Plan, *, check: Check | None = None) -> None:
        self.plan = plan
        self.disk = disk
        self.judge = Judge(disk, check=check)
        self.tally = Tally()
        self.found: list[Found] = []
        self.seen: set[int] = set()
        self._began = time.monotonic()

    @property
    def is_done(self) -> bool:
        """Whether the plan's states or seconds are used up, or enough is broken to be told."""
        plan = self.plan
        return (
            self.tally.violation_count >= plan.violations
            or (plan.states is not None and len(self.seen) >= plan.states)
            or (plan.seconds is not None and time.monotonic() - self._began >= plan.seconds)
        )

    def explore(
        self,
        name: str,
        workload: Workload,
        options: dict[str, object] | None = None,
        *,
        only_last: bool = False,
    ) -> None:
        """Run a workload and judge its crashes; with `only_last`, those behind the mark "last"."""
        try:
            recorded = record(self.disk, workload, name=name, options=options, seed=self.plan.seed)
        except NeutralityError as error:
            self.note(Violation("I8", str(error), name))
            return
        self.explore_recorded(recorded, only_last=only_last)

    def explore_recorded(self, recorded: Recorded, *, only_last: bool = False) -> None:
        """Judge the trace and the crashes of a workload that has run."""
        self.tally.workloads += 1
        self.tally.operations += len(recorded.events)
        recording = recorded.recording
        rules = broken_order(recorded.events, recording.root, recording.snapshot)
        for text in rules.acks[:1]:
            self.note(Violation("I13", text, recorded.name))
        for text in rules.releases[:1]:
            self.note(Violation("I14", text, recorded.name))
        for text in recorded.wrong_looks[:1]:
            self.note(Violation("I15", text, recorded.name))
        images = self.images_of(recorded)
        points = points_of(recorded, images, only_last)
        limit = self.plan.per_workload
        before = len(self.seen)
        for point in shuffled(points, self.plan.seed, recorded.name) if limit else points:
            if self.is_done or (limit is not None and len(self.seen) - before >= limit):
                break
            self._explore_point(recorded, images, point)
        if self.plan.nested and not self.is_done:
            explore_nested(self, recorded, images, points)

    def images_of(self, recorded: Recorded) -> CrashImages:
        """The states that a crash of this recording may leave."""
        plan = self.plan
        return CrashImages(
            recorded.recording, profile=plan.profile, bounds=plan.bounds, without=WITHOUT
        )

    def _explore_point(self, recorded: Recorded, images: CrashImages, point: int) -> None:
        for level in self.plan.levels:
            if level is Level.LYING:
                continue
            for image in images.at(point, level, seed=self.plan.seed):
                self.try_state(recorded, image)
                if self.is_done:
                    return
        if Level.LYING in self.plan.levels:
            for image in lies(images, point, self.plan.seed, self.plan.lies):
                self.try_state(recorded, image)

    def try_state(self, recorded: Recorded, image: Image, depth: int = 1) -> bool:
        """Judge a state unless it was met before; returns whether it is new."""
        level = image.level.name
        self.tally.raw[level] += 1
        promise = recorded.promises[image.point]
        required = promise.acked if image.level is Level.KILL else promise.durable
        whole = b"%s %d %d %d" % (image.digest, required, promise.submitted,
                                  image.level is Level.LYING)  # fmt: skip
        key = int.from_bytes(blake2b(whole + recorded.history.key(), digest_size=8).digest())
        if key in self.seen:
            return False
        self.seen.add(key)
        self.tally.distinct[level] += 1
        self.tally.depths[depth] += 1
        violation = self.judge.judge(recorded, image, depth)
        if violation is not None:
            self.note(violation, recorded, image)
        return True

    def note(
        self, violation: Violation, recorded: Recorded | None = None, image: Image | None = None
    ) -> None:
        """Count a violation, and keep the first ones."""
        self.tally.violation_count += 1
        self.tally.refusals += "CorruptionError" in violation.text
        if len(self.tally.violations) < VIOLATIONS_MAX:
            self.tally.violations.append(violation)
            if recorded is not None:
                self.found.append(Found(violation, recorded, image))

    def finish(self) -> Tally:
        """The tally with what the judge and the clock say."""
        self.tally.opened = self.judge.opened
        self.tally.seconds = time.monotonic() - self._began
        return self.tally


def points_of(recorded: Recorded, images: CrashImages, only_last: bool) -> list[int]:
    """Where a crash can leave something new."""
    points = images.points()
    if only_last:
        first = next(
            n for n, e in enumerate(recorded.events) if e.op is Op.MARK and e.text == "last"
        )
        points = [point for point in points if point >= first]
    return points


def shuffled(points: Iterable[int], seed: int, name: str) -> list[int]:
    """In an order that is the same for the same seed, so that a limit takes a spread of them."""
    found = list(points)
    random.Random(f"{seed} {name}").shuffle(found)
    return found
