"""Back-pressure: writers go slower, and in the end wait, while flush, compaction or the log are
behind.

The further they are behind, the fewer bytes a second writers may commit, from FAST_RATE down to
SLOW_RATE, so that there is no cliff between full speed and a stop. Every wait is counted, logged
(once a second at the most) and told to `Options.on_stall`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from oor.errors import WouldStallError, bare
from oor.state import State

logger = logging.getLogger(__name__)

MIB = 1 << 20
FAST_RATE: Final = 256 * MIB
"""Bytes a second that writers get when flush or compaction only begin to be behind."""
SLOW_RATE: Final = 16 * MIB
"""Bytes a second just before writers have to wait."""
SHORTEST_NAP: Final = 0.001
"""Seconds: what a writer owes below this is added to what the next one owes."""
LOG_EVERY: Final = 1.0
"""Seconds between two lines in the log file of the program."""
LONG_WAIT: Final = 0.5
"""Seconds from which a wait is worth a warning; a shorter one is for whoever asks for such
lines."""
PATIENCE: Final = 0.001
"""Seconds that a writer who does not want to wait gives the one before it to get out of the way."""

Stalls = list[tuple[str, float]]
"""Why a writer waited ("flush", "compaction", "log") and how many seconds."""


def rate_at(urgency: float) -> float:
    """Bytes a second that writers may commit: falls by the same factor for each step of urgency."""
    rate: float = FAST_RATE * (SLOW_RATE / FAST_RATE) ** min(1.0, urgency)
    return rate


class Pressure:
    """Holds writers back and tells them why.

    Threads: `admit`, `note` and the counters under the commit lock; `tell` by the writer, without
    it.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._owed = 0.0
        self._told_at = -LOG_EVERY
        self.stalls = 0
        self.stall_seconds = 0.0
        """Waited for flush and compaction; the log counts its own waits."""

    def admit(self, size: int, wait: bool = True) -> Stalls:
        """Return when a write of `size` bytes may go on, with what it waited for.

        Raises what ended writing, if something has; DiskFullError if a flush that has no room is
        what it would wait for; with `wait` False WouldStallError instead of waiting.
        """
        state = self._state
        state.check_writable()
        urgency, reason = state.urgency()
        if urgency == 0.0:
            return []
        began = time.monotonic()
        if urgency >= 1.0:
            self._wait_for_room(wait, reason)
        else:
            self._owed += size / rate_at(urgency)
            if self._owed < SHORTEST_NAP:
                return []
            if not wait:
                raise self._refusal(reason)
            nap, self._owed = self._owed, 0.0
            state.changed.wait(nap)
            state.check_writable()
        seconds = time.monotonic() - began
        self.stall_seconds += seconds
        return self.note(reason, seconds)

    def note(self, reason: str, seconds: float) -> Stalls:
        """Count a wait that has ended."""
        self.stalls += 1
        return [(reason, seconds)]

    def _wait_for_room(self, wait: bool, reason: str) -> None:
        state = self._state
        if not wait:
            raise self._refusal(reason) if state.disk_full is None else bare(state.disk_full)
        state.ask_for_room()
        while state.urgency()[0] >= 1.0:
            state.wait_for_change()

    def wait_for_log(self) -> float:
        """Return how many seconds it took until the log was cut, which an append waits for.

        Raises as `admit`. REQUIRES: the commit lock.
        """
        began = time.monotonic()
        self._state.wait_for_log()
        seconds = time.monotonic() - began
        self.stall_seconds += seconds
        return seconds

    def _refusal(self, reason: str) -> WouldStallError:
        return WouldStallError(
            f"the write would have to wait: {self.explain(reason)}", path=self._state.directory
        )

    def explain(self, reason: str) -> str:
        """The reason with its figures."""
        view, options = self._state.view, self._state.options
        if reason == "flush":
            return (
                f"{len(view.immutables)} of {options.max_immutables} memtables wait for their flush"
            )
        if reason == "compaction":
            return f"level 0 has {view.version.table_count(0)} of {options.l0_stop} tables"
        return (
            "the log has no room before its next sync, or, of "
            f"max_log_bytes={options.max_log_bytes:,}, before a flush frees segments"
        )

    def tell(self, stalls: Stalls) -> None:
        """Tell the log file and the caller's function. REQUIRES: no lock of the store is held."""
        now = time.monotonic()
        for reason, seconds in stalls:
            if now - self._told_at >= LOG_EVERY:
                self._told_at = now
                level = logging.WARNING if seconds >= LONG_WAIT else logging.INFO
                logger.log(
                    level, "a writer waited %.1f ms: %s", seconds * 1e3, self.explain(reason)
                )
            told: Callable[[str, float], object] | None = self._state.options.on_stall
            if told is not None:
                try:
                    told(reason, seconds)
                except Exception:
                    # The write is logged: what a listener does wrong must not look like its
                    # failure.
                    logger.exception("on_stall raised")


class PatientLock:
    """The commit lock for those who may not wait: WouldStallError after `PATIENCE` seconds."""

    def __init__(self, state: State) -> None:
        self._lock = state.lock
        self._directory = state.directory

    def __enter__(self) -> None:
        if not self._lock.acquire(True, PATIENCE):
            raise WouldStallError("another writer waits for the log", path=self._directory)

    def __exit__(self, *_: object) -> None:
        self._lock.release()
