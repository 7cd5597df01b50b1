"""Crashes during the recovery from a crash, and during the recovery from that one.

A state is opened under the recorder; then that recording is cut off in turn. After the death of a
process what was pending still is, so that the loss of power which follows can take what the first
recovery had read. What an open served must be there after any later crash (I6).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import oor
from oor.crashlab.history import Promise, digest
from oor.crashlab.images import CrashImages, Image
from oor.crashlab.judge import STORE_NAME
from oor.crashlab.levels import Level
from oor.crashlab.memory import ROOT, STORE
from oor.crashlab.model import Disk
from oor.crashlab.recording import Op, Recording, Snapshot
from oor.crashlab.run import Recorded, kill
from oor.errors import OorError
from oor.names import LOCK

if TYPE_CHECKING:
    from oor.crashlab.explorer import Explorer

DEEPEST = 3
PER_RECOVERY = 60
"""Distinct states of one recovery at the most."""
_TAKEN = (Level.KILL, Level.ORDERED, Level.REORDERED)
_TAKEN_NESTED = (*_TAKEN, Level.TORN)


def explore_nested(
    explorer: Explorer, recorded: Recorded, images: CrashImages, points: Iterable[int]
) -> None:
    """Cut off the recoveries of some states of a recording; deeper ones for some of those."""
    rng = random.Random(f"{explorer.plan.seed} {recorded.name} nested")
    chosen = list(points)
    rng.shuffle(chosen)
    for point in sorted(chosen[: explorer.plan.nested]):
        chosen_state = choose(images, point, rng, explorer.plan.seed)
        if chosen_state is not None:
            cut_recovery(explorer, recorded, *chosen_state, rng, depth=2)


def cut_recovery(
    explorer: Explorer,
    recorded: Recorded,
    image: Image,
    pending: Disk | None,
    rng: random.Random,
    depth: int,
    *,
    deepest: int = DEEPEST,
    most: int = PER_RECOVERY,
) -> None:
    """Record the recovery from `image`, and judge what a crash of it leaves.

    `pending`: the disk behind the image where what it shows is not all durable. Not deeper than
    `deepest` crashes, and not much more than `most` distinct states of one recovery.
    """
    if explorer.is_done or STORE_NAME not in image.dirs:
        return
    second = recovery_of(explorer, recorded, image)
    if second is None:
        return
    images = CrashImages(
        second.recording,
        pending,
        profile=explorer.plan.profile,
        bounds=explorer.plan.bounds,
        without=frozenset((LOCK,)),
    )
    points = images.points()
    rng.shuffle(points)
    new = 0
    for point in points:
        for level in _TAKEN_NESTED:
            for found in images.at(point, level, seed=explorer.plan.seed, limit=12):
                new += explorer.try_state(second, found, depth)
                if explorer.is_done:
                    return
        if new >= most:
            break
    if depth < deepest and points:
        chosen_state = choose(images, rng.choice(points), rng, explorer.plan.seed)
        if chosen_state is not None:
            cut_recovery(
                explorer, second, *chosen_state, rng, depth + 1, deepest=deepest, most=most
            )


def choose(
    images: CrashImages, point: int, rng: random.Random, seed: int
) -> tuple[Image, Disk | None] | None:
    """One state of this point, and for the death of a process what stays pending."""
    level = rng.choice(_TAKEN)
    if level is Level.KILL:
        return next(iter(images.at(point, level))), images.after_kill(point)
    candidates = list(images.at(point, level, seed=seed, limit=16))
    return (candidates[rng.randrange(len(candidates))], None) if candidates else None


def recovery_of(explorer: Explorer, recorded: Recorded, image: Image) -> Recorded | None:
    """A recording of an open of `image` and of one durable write after it; None: it is refused.

    Its promises go on from those that held when the image arose.
    """
    promise = recorded.promises[image.point]
    required = promise.acked if image.level is Level.KILL else promise.durable
    disk = explorer.disk
    disk.put(image.dirs, image.files)
    recording = Recording(ROOT, start=Snapshot.holding(image.dirs, image.files))
    served = required
    db: Any = None
    with recording:
        try:
            db = oor.open(STORE, **recorded.options)
            found = digest(dict(db.scan()))
            lengths = [n for n in recorded.lengths.get(found, []) if required <= n]
            served = min(lengths, default=required)
            recording.mark(f"durable {served}")
        except OorError:
            return None  # a violation of its own, which judging the image has shown
        finally:
            if db is not None:
                kill(db)
    submitted = promise.submitted
    # Until the open has served something, a loss of power may take what only the kernel has.
    now = Promise(submitted, required, promise.durable)
    promises = [now]
    for event in recording.events:
        if event.op is Op.MARK:
            now = Promise(submitted, served, served)
        promises.append(now)
    return Recorded(
        recorded.name, recording, recorded.history, recorded.options, promises, recorded.lengths,
        promised_before=promise.durable,
    )  # fmt: skip
