"""The compactor of an open store: which jobs run, how fast, and what came of them.

Its own thread takes what the strategy picks; a caller's `all` runs beside it in the caller's
thread. Two jobs run at once only where they touch different tables in different places (`Job`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from oor import native
from oor.compaction import (
    Busy,
    CompactionOptions,
    Job,
    Pace,
    Progress,
    Running,
    run,
    strategy_of,
)
from oor.errors import CancelledError, DiskFullError
from oor.flush import table_options
from oor.options import Options
from oor.state import State
from oor.table import Table
from oor.version import LEVELS, Version

logger = logging.getLogger("oor.compaction")

MIB = 1 << 20

Pick = Callable[[Version, Sequence[Job]], Job | None]


def compaction_options(options: Options) -> CompactionOptions:
    """What of a store's options concerns compaction."""
    return CompactionOptions(
        l0_trigger=options.l0_trigger,
        l0_slowdown=options.l0_slowdown,
        l0_share=options.l0_share,
        level_base_bytes=options.level_base_bytes,
        level_ratio=options.level_ratio,
        tombstone_share=options.tombstone_share,
        tiered_runs=options.tiered_runs,
        tiered_ratio=options.tiered_ratio,
        tiered_space=options.tiered_space,
        fifo_max_bytes=options.fifo_max_bytes,
        fifo_max_age=options.fifo_max_age,
        table_bytes=options.table_bytes,
        tables=tuple(table_options(options, level) for level in range(LEVELS)),
    )


class Compactor:
    """Begins jobs that do not conflict, runs them, installs what they made.

    Threads: any. The counters change under its lock.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._options = compaction_options(state.options)
        self.strategy = strategy = strategy_of(state.options.compaction, self._options)
        self.pace = Pace(
            state.options.compaction_rate,
            lambda: strategy.pressure(state.view.version),
            lambda: state.log.state().appended_bytes,
        )
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._running: list[Running] = []
        self._stopped = False
        self.jobs = 0
        self.bytes_read = 0
        """Inputs of compactions that rewrote them; files."""
        self.bytes_written = 0
        self.tables_dropped = 0
        """By "fifo", with all that they held."""

    # ---- what callers ask for --------------------------------------------------------------------

    def once(self) -> bool:
        """Run the compaction that is wanted most; False if none is, or all are paused.

        CancelledError, and nothing has changed, if somebody cancelled it.
        """
        if self.pace.paused:
            return False
        begun = self._begin(self.strategy.pick, by_hand=False)
        if begun is None:
            return False
        self._finish(*begun)
        return True

    def all(self, start: bytes | None = None, stop: bytes | None = None) -> int:
        """Settle the keys from `start` to before `stop`; returns how many jobs that took.

        What was flushed meanwhile need not be in it. ClosedError if the store is closed meanwhile,
        CancelledError if somebody cancelled a job of it: what earlier jobs did stays.
        """
        state = self._state
        plan = self.strategy.by_hand(start, stop, state.flushed_lsn)
        done = 0
        while True:
            state.check_writable()
            try:
                begun = self._begin(plan.next, by_hand=True)
                if begun is None:
                    return done
                self._finish(*begun)
            except CancelledError:
                state.check_readable()
                raise
            done += 1

    def pause(self) -> None:
        """Begin no automatic job and hold the running ones; see `DB.pause_compaction`."""
        self.pace.pause()
        self._state.pause_compaction(True)

    def resume(self) -> None:
        """Undo `pause`."""
        self._state.pause_compaction(False)
        self.pace.resume()
        self._state.compaction_wanted.set()

    def cancel(self, automatic_only: bool = False) -> int:
        """Make the running jobs give up what they wrote; returns how many."""
        with self._lock:
            cancelled = [r for r in self._running if not (automatic_only and r.by_hand)]
            for running in cancelled:
                running.cancel()
        self.pace.wake()
        return len(cancelled)

    def progress(self) -> tuple[Progress, ...]:
        """The jobs that run now."""
        with self._lock:
            return tuple(running.progress() for running in self._running)

    def stop(self) -> None:
        """Cancel all, begin none any more, and return when the last has ended."""
        with self._lock:
            self._stopped = True
        self.cancel()
        with self._ended:
            self._ended.notify_all()
            while self._running:
                self._ended.wait()

    # ---- a job -----------------------------------------------------------------------------------

    def _begin(self, pick: Pick, by_hand: bool) -> tuple[Running, Version] | None:
        """Enter the job that `pick` names among the running ones.

        The version is read under the lock, and a job leaves the list only after its edit is in a
        version: so a job that is not in the list is in the version.
        """
        while True:
            with self._ended:
                if self._stopped:
                    raise CancelledError("compaction cancelled: the store closes")
                version = self._state.view.version
                try:
                    job = pick(version, [running.job for running in self._running])
                except Busy:
                    job = None
                    if not self.pace.paused:
                        self._ended.wait()
                        continue
                else:
                    if job is None:
                        return None
                    begun = Running(job, by_hand)
                    self._running.append(begun)
                    return begun, version
            # A paused job would be in the way for ever; it is picked again after the pause.
            self.cancel(automatic_only=True)
            with self._ended:
                self._ended.wait(0.01)

    def _finish(self, running: Running, version: Version) -> None:
        """Run the job, and take it out of the list whatever became of it."""
        logger.debug("%s", running.job)
        try:
            self._run(running, version)
        except Exception as error:
            logger.info("given up, %s: %s", running.job, error)
            raise
        finally:
            with self._ended:
                self._running.remove(running)
                self._ended.notify_all()
            if running.job.rewrites:
                native.trim()

    def _run(self, running: Running, version: Version) -> None:
        """Merge, install, and only then remove what the merge replaced."""
        state, job = self._state, running.job
        edit = run(
            running, version, state.directory, state.manifest.new_number, self._options, self.pace
        )
        opened = {
            meta.number: Table.open(state.directory, meta, state.cache)
            for _, meta in edit.add
            if job.rewrites
        }
        state.install(edit, opened)
        self._note_done(running, sum(meta.size for _, meta in edit.add))
        with state.table_names:
            for number in edit.dropped():
                # Readers that still have the table open go on reading it; only the name goes.
                with suppress(DiskFullError):
                    native.unlink(state.table_path(number))

    def _note_done(self, running: Running, size: int) -> None:
        job = running.job
        with self._lock:
            self.strategy.installed(job, running.partial_entries)
            self.jobs += 1
            if job.rewrites:
                self.bytes_read += job.size
                self.bytes_written += size
            if job.drops:
                self.tables_dropped += len(job.inputs)
