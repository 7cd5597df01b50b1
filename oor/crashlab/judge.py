"""Opens a state with the engine itself, and says which invariant it breaks, if any."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import oor
from oor.crashlab.history import Promise, State, digest
from oor.crashlab.images import Image
from oor.crashlab.invariants import (
    READ_FACTOR,
    READ_SLACK,
    Outcome,
    Violation,
    highest_lsn,
    prefix_broken,
    promised_lsn,
)
from oor.crashlab.levels import Level
from oor.crashlab.memory import STORE, MemoryDisk
from oor.crashlab.run import Recorded, kill
from oor.errors import CorruptionError, FormatError, OorError

Check = Callable[[oor.DB], object]
"""A caller's own invariant: it raises AssertionError on a store that was just opened."""

CACHED = 200_000
STORE_NAME = os.path.basename(STORE)
CLOSELY = 16
"""One state in so many is opened again, compacted, written to and closed."""


class Judge:
    """Judges states of one recording after another, on one disk in memory.

    What an open finds depends on the image alone, so equal images are opened once, whatever had
    been promised when they could arise. Not for two threads at once.
    """

    def __init__(
        self, disk: MemoryDisk, *, check: Check | None = None, closely: int = CLOSELY
    ) -> None:
        self._disk = disk
        self._closely_every = closely
        self._check = check
        self._known: dict[tuple[bytes, bool], Outcome] = {}
        self.opened = 0
        """Opens of a state; each is a recovery by the engine."""

    def judge(self, recorded: Recorded, image: Image, depth: int = 1) -> Violation | None:
        """What the image breaks, at the moment when it could arise."""
        promise = recorded.promises[image.point]
        broken = self.broken(recorded, image, promise)
        if broken is None:
            return None
        invariant, text = broken
        if invariant == "I2" and depth > 1 and self._keeps(recorded, image):
            invariant = "I6"  # only what an earlier recovery had served is gone
        return Violation(invariant, text, recorded.name, image.level.name, image.point, depth)

    def _keeps(self, recorded: Recorded, image: Image) -> bool:
        outcome = self._known.get((image.digest, is_direct(recorded)), Outcome())
        return max(recorded.lengths.get(outcome.state, [-1])) >= recorded.promised_before

    def broken(self, recorded: Recorded, image: Image, promise: Promise) -> tuple[str, str] | None:
        """The invariant that fails, and a sentence."""
        is_kill = image.level is Level.KILL
        required = promise.acked if is_kill else promise.durable
        if STORE_NAME not in image.dirs:
            return ("I2", "the store is gone") if required else None
        outcome, found = self._outcome(recorded, image)
        if image.level is Level.LYING:
            return self._lied_to(recorded, image, outcome, promise)
        if outcome.error:
            return of_refusal(outcome)
        if found is None and not fits(outcome, recorded, promise, required):
            outcome, found = self._open(recorded, image)  # known, and not what it should be
        wrong = prefix_broken(outcome, found, recorded.history, recorded.lengths, promise, is_kill)
        return wrong or self._other(recorded, image, outcome, promise)

    def _other(
        self, recorded: Recorded, image: Image, outcome: Outcome, promise: Promise
    ) -> tuple[str, str] | None:
        given = max(recorded.history.lsns[: promise.acked], default=0)
        on_disk = self._stands(image)
        if outcome.next_lsn <= max(given, on_disk):
            return "I7", f"LSN {outcome.next_lsn} is given again: {given} were, {on_disk} is there"
        # Less than before: something of an earlier open was let go of in between.
        if outcome.left_open > 0:
            return "I11", f"{outcome.left_open} descriptors or maps stay open"
        size = sum(len(content) for content in image.files.values())
        if outcome.bytes_read > READ_FACTOR * size + READ_SLACK:
            return "I11", f"an open read {outcome.bytes_read} bytes of {size}"
        if image.digest[0] % self._closely_every == 0:
            return self._closely(recorded, image, outcome)
        return None

    def _stands(self, image: Image) -> int:
        """The highest LSN that stands in a frame and must not be given again."""
        return highest_lsn(image.files)

    # ---- opening ----

    def _outcome(self, recorded: Recorded, image: Image) -> tuple[Outcome, State | None]:
        key = image.digest, is_direct(recorded)
        known = self._known.get(key)
        if known is not None:
            return known, None
        outcome, found = self._open(recorded, image)
        if len(self._known) >= CACHED:
            self._known.clear()
        self._known[key] = outcome
        return outcome, found

    def _open(self, recorded: Recorded, image: Image) -> tuple[Outcome, State | None]:
        self._disk.put(image.dirs, image.files)
        self.opened += 1
        before = self._disk.counts()
        try:
            db = oor.open(STORE, **recorded.options)
        except OorError as error:
            return self._with_counts(refused(error), before), None
        except AssertionError as error:
            return Outcome(error=f"AssertionError: {error}"), None
        try:
            found = dict(db.scan())
            outcome = Outcome(state=digest(found), next_lsn=db._state.log.next_lsn())
            if self._check is not None:
                self._check(db)
        except OorError as error:
            outcome, found = refused(error), {}
        except AssertionError as error:
            outcome, found = Outcome(error=f"check: {error}"), {}
        finally:
            kill(db)
        return self._with_counts(outcome, before), found

    def _with_counts(self, outcome: Outcome, before: Any) -> Outcome:
        after = self._disk.counts()
        return replace(
            outcome,
            left_open=after.files - before.files + after.maps - before.maps,
            bytes_read=after.bytes_read - before.bytes_read,
        )

    def _closely(
        self, recorded: Recorded, image: Image, outcome: Outcome
    ) -> tuple[str, str] | None:
        """I5, I7 and I8 by doing: open twice, compact, write, close, and open in order."""
        self._disk.put(image.dirs, image.files)
        try:
            kill(oor.open(STORE, **recorded.options))
            first = self._disk.files()
            db = oor.open(STORE, **recorded.options)
        except OorError as error:
            return "I5", f"a second open is refused: {type(error).__name__}: {error}"
        try:
            found = dict(db.scan())
            if digest(found) != outcome.state:
                return "I5", "the second open differs from the first"
            kept = {name for name, content in first.items() if name.endswith(".sst")}
            now = self._disk.files()
            if any(now.get(name) != first[name] for name in kept):
                return "I5", "a second open without a write changed a table"
            db.compact()
            if dict(db.scan()) != found:
                return "I8", "a compaction after the crash changed what is read"
            if db.put(b"after", b"wards", durability="sync") < outcome.next_lsn:
                return "I7", "an LSN below the first one that was free is given"
            db.close()
            with oor.open(STORE, **recorded.options) as again:
                if not again.recovery.clean:
                    return "I5", "a close in order was not clean"
                if dict(again.scan()) != found | {b"after": b"wards"}:
                    return "I5", "a close in order lost something"
        except OorError as error:
            return "I12", f"after the crash: {type(error).__name__}: {error}"
        finally:
            kill(db)
        return None

    def _lied_to(
        self, recorded: Recorded, image: Image, outcome: Outcome, promise: Promise
    ) -> tuple[str, str] | None:
        if outcome.is_corruption:
            return None
        if outcome.error:
            return "I10", f"rot is not reported as corruption: {outcome.error}"
        # What proves that more was durable must have outlived the lie itself: a sector that held
        # both a frame and the one that promises it leaves nothing to tell the loss by.
        proven = promised_lsn(image.files)
        required = sum(0 < lsn <= proven for lsn in recorded.history.lsns[: promise.durable])
        prefixes = recorded.lengths.get(outcome.state, [])
        if any(required <= length <= promise.submitted for length in prefixes):
            return None
        return "I10", "rot changed what is there, and nothing says so"


def is_direct(recorded: Recorded) -> bool:
    """Whether its store writes past the page cache, on which what a recovery does depends."""
    return bool(recorded.options.get("direct_io", True))


def refused(error: OorError) -> Outcome:
    """The outcome of an open that raised."""
    corruption = isinstance(error, (CorruptionError, FormatError))
    return Outcome(f"{type(error).__name__}: {error}", corruption)


def of_refusal(outcome: Outcome) -> tuple[str, str]:
    """The invariant that an open breaks which did not succeed after a crash."""
    if outcome.error.startswith("check: "):
        return "check", outcome.error
    about_table = "table" in outcome.error.split("\n")[0] and outcome.is_corruption
    return ("I9" if about_table else "I12"), outcome.error


def fits(outcome: Outcome, recorded: Recorded, promise: Promise, required: int) -> bool:
    """Whether a known outcome is right at this moment too."""
    return any(
        required <= length <= promise.submitted
        for length in recorded.lengths.get(outcome.state, [])
    )
