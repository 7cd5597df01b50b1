"""How fast compaction may go: at full speed between bursts of writes, slower during one.

While writers write, a running compaction gets BURST_RATE bytes a second of what its inputs' blocks
hold unpacked, for unpacking and packing is most of its work, and more the further compaction is
behind, little more at first, and no limit at all when writers are about to wait for it: a burst
that ends before that leaves the cores to the writers. When they have been quiet for a moment it
gets what `compaction_rate` allows, by default everything.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from oor.compaction.progress import Running

MIB = 1 << 20
BURST_RATE: Final = 32 * MIB
"""Bytes a second, unpacked, during a burst when compaction is not behind."""
FULL_RATE: Final = 1024 * MIB
"""Where the rate is on its way to when writers are about to wait; then there is none."""
QUIET_RATE: Final = 1 * MIB
"""Bytes a second that writers may log and still count as quiet."""
WINDOW: Final = 0.25
"""Seconds over which what writers log is measured."""
SLICE_BYTES: Final = 4 * MIB
"""What a compaction merges between two looks at its pace, when nothing slows it."""
SLICE_BYTES_SLOW: Final = MIB
LONGEST_NAP: Final = 0.2
"""Seconds: a compaction looks at the pace again at least so often."""


class Pace:
    """Holds running compactions to a rate, pauses them, and wakes the ones that are cancelled.

    Threads: any. `pressure` and `logged_bytes` are asked without a lock held.
    """

    def __init__(
        self,
        rate_max: int,
        pressure: Callable[[], float],
        logged_bytes: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate_max = rate_max or math.inf
        self._pressure = pressure
        self._logged_bytes = logged_bytes
        self._clock = clock
        self._changed = threading.Condition()
        self._seen = (clock(), logged_bytes())
        self._load = 0.0
        self.paused = False

    def pause(self) -> None:
        """Hold every compaction at its next slice."""
        with self._changed:
            self.paused = True

    def resume(self) -> None:
        """Let them go on."""
        with self._changed:
            self.paused = False
            self._changed.notify_all()

    def wake(self) -> None:
        """Let those that wait look again: one was cancelled, or compaction became urgent."""
        with self._changed:
            self._changed.notify_all()

    def load(self) -> float:
        """Bytes a second that writers have logged lately."""
        now = self._clock()
        since, before = self._seen
        if now - since >= WINDOW:
            logged = self._logged_bytes()
            self._load = max(0, logged - before) / (now - since)
            self._seen = (now, logged)
        return self._load

    def rate(self, unpacked: float = 1.0) -> float:
        """Bytes of input a second that a compaction may merge now, if each stands for so many
        unpacked; inf: as fast as it can.
        """
        pressure = self._pressure()
        if pressure >= 1.0:
            return math.inf
        if self.load() < QUIET_RATE:
            return self._rate_max
        rate: float = BURST_RATE * (FULL_RATE / BURST_RATE) ** max(0.0, pressure) ** 2
        return min(self._rate_max, rate / unpacked)

    def turn(self, running: Running) -> int:
        """Wait until this compaction may go on; returns the bytes that it may merge then."""
        with self._changed:
            while not running.cancelled:
                if self.paused and not running.by_hand:
                    self._changed.wait()
                    continue
                rate = self.rate(running.unpacked)
                owed = running.owed(self._clock(), rate)
                if owed <= 0.0:
                    return SLICE_BYTES if rate == math.inf else SLICE_BYTES_SLOW
                self._changed.wait(min(owed, LONGEST_NAP))
            return SLICE_BYTES
