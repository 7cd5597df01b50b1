"""A compaction that runs: how far it is, and the way to stop it."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import Any

from oor.compaction.job import Job
from oor.native import lib


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running compaction is. Sizes are bytes, of files."""

    reason: str
    by_hand: bool
    source: int
    """The level of its newest input."""
    target: int
    tables: int
    """Inputs."""
    bytes_total: int
    """Of the inputs."""
    bytes_read: int
    bytes_written: int
    """Of outputs that are whole."""
    seconds: float


class Running:
    """One job while it runs.

    Threads: the compaction's own thread changes it; any thread may read its progress or cancel it.
    """

    def __init__(self, job: Job, by_hand: bool = False) -> None:
        self.job = job
        self.by_hand = by_hand
        self.bytes_read = 0
        self.bytes_written = 0
        self.partial_entries = 0
        """Of inputs that are read in part, what this part took; once it has ended."""
        self._bytes_total = job.size
        self.unpacked = job.unpacked
        self._began = time.monotonic()
        self._paid_at: float | None = None
        self._paid = 0
        self._lock = threading.Lock()
        self._raw: Any = None
        self.cancelled = False

    def cancel(self) -> None:
        """Make the compaction end with CancelledError soon; once cancelled it stays so."""
        with self._lock:
            self.cancelled = True
            if self._raw is not None:
                lib.oor_compaction_cancel(self._raw)

    def attach(self, raw: Any) -> None:
        """Tie to the C object that does the work; None unties."""
        with self._lock:
            self._raw = raw
            if raw is not None and self.cancelled:
                lib.oor_compaction_cancel(raw)

    def owed(self, now: float, rate: float) -> float:
        """Seconds to wait at `rate` for what was read since it last had nothing to wait for."""
        if self._paid_at is None or rate == math.inf:
            self._paid_at, self._paid = now, self.bytes_read
            return 0.0
        due = self._paid_at + (self.bytes_read - self._paid) / rate
        if due <= now:
            self._paid_at, self._paid = now, self.bytes_read
        return due - now

    def progress(self) -> Progress:
        """How far it is."""
        return Progress(
            reason=self.job.reason,
            by_hand=self.by_hand,
            source=self.job.source,
            target=self.job.target,
            tables=len(self.job.inputs),
            bytes_total=self._bytes_total,
            bytes_read=self.bytes_read,
            bytes_written=self.bytes_written,
            seconds=time.monotonic() - self._began,
        )
