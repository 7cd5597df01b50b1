"""The two threads of an open store: one flushes and makes checkpoints, one compacts.

They hold no lock across a sync and never call the user's code. A full disk makes them wait and try
again; any other failure turns the store read-only.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from oor import native
from oor.checkpoint import checkpoint, is_due
from oor.compaction import Cancel, CompactionOptions, Job, Leveled, everything, run
from oor.errors import CancelledError, ClosedError, DiskFullError, FailedError, OorError
from oor.flush import flush_oldest, table_options
from oor.options import Options
from oor.state import State, now
from oor.table import Table
from oor.version import LEVELS

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.1
"""How long to wait before a flush or compaction that found no room is tried again."""


def compaction_options(options: Options) -> CompactionOptions:
    """What of a store's options concerns compaction."""
    return CompactionOptions(
        l0_trigger=options.l0_trigger,
        level_base_bytes=options.level_base_bytes,
        level_ratio=options.level_ratio,
        table_bytes=options.table_bytes,
        tables=tuple(table_options(options, level) for level in range(LEVELS)),
    )


class Background:
    """Starts and stops the threads, and does by hand what they do by themselves.

    Threads: any; one compaction runs at a time.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._options = compaction_options(state.options)
        self._strategy = Leveled()
        self._compaction_lock = threading.Lock()
        self._cancel = Cancel()
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self.compactions = 0
        self.compaction_bytes = 0
        self.flushes = 0
        self.checkpoints = 0

    def start(self) -> None:
        """Start both threads."""
        for target, name in (
            (self._flush_loop, "oor-flush"),
            (self._compaction_loop, "oor-compaction"),
        ):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop both; a running compaction, a caller's too, is cancelled and leaves nothing."""
        self._stopping = True
        self._cancel.set()
        self._state.flush_wanted.set()
        self._state.compaction_wanted.set()
        with self._state.lock:
            self._state.changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        # One that a caller asked for ends before this goes on; the next finds the store closed.
        with self._compaction_lock:
            pass

    def _give_up(self, error: Exception) -> None:
        """Writers must not wait for a thread that is gone: whatever ended it ends writing too."""
        if isinstance(error, ClosedError):
            return
        logger.error("the store is read-only: %s", error)
        if not isinstance(error, OorError):
            error = FailedError(f"a background thread ended: {error!r}", path=self._state.directory)
        self._state.fail(error)

    # ---- flush and checkpoint --------------------------------------------------------------------

    def _flush_loop(self) -> None:
        state = self._state
        last_checkpoint = now()
        interval = state.options.checkpoint_interval
        while not self._stopping:
            state.flush_wanted.wait(max(0.01, min(interval, last_checkpoint + interval - now())))
            state.flush_wanted.clear()
            try:
                while not self._stopping and state.view.immutables:
                    if flush_oldest(state) is not None:
                        self.flushes += 1
                if not self._stopping and is_due(state, last_checkpoint):
                    done = checkpoint(state)
                    self.checkpoints += 1
                    logger.debug(
                        "checkpoint at LSN %d: %d segments freed", done.lsn, done.segments_freed
                    )
            except DiskFullError as error:
                logger.warning("a flush waits for room: %s", error)
                state.wait_for_room(RETRY_SECONDS)
                state.flush_wanted.set()
                continue
            except Exception as error:
                self._give_up(error)
                return
            if now() - last_checkpoint >= interval:
                last_checkpoint = now()

    # ---- compaction ------------------------------------------------------------------------------

    def _compaction_loop(self) -> None:
        state = self._state
        while not self._stopping:
            state.compaction_wanted.wait()
            state.compaction_wanted.clear()
            try:
                while not self._stopping and self.compact_once():
                    pass
            except CancelledError:
                continue
            except DiskFullError as error:
                logger.warning("a compaction waits for room: %s", error)
                state.wait_for_room(RETRY_SECONDS)
                state.compaction_wanted.set()
            except Exception as error:
                self._give_up(error)
                return

    def compact_once(self) -> bool:
        """Run the compaction that the levels ask for most; False if they ask for none."""
        with self._compaction_lock:
            job = self._strategy.pick(self._state.view.version, self._options)
            if job is None:
                return False
            self._run(job, self._cancel)
            return True

    def compact_all(self) -> int:
        """Merge all tables into the deepest level; returns how many compactions that took.

        ClosedError if the store is closed meanwhile; nothing has changed then.
        """
        with self._compaction_lock:
            self._state.check_writable()
            job = everything(self._state.view.version)
            if job is None:
                return 0
            try:
                self._run(job, self._cancel)
            except CancelledError:
                self._state.check_readable()
                raise
            return 1

    def _run(self, job: Job, cancel: Cancel) -> None:
        """Merge, install, and only then remove what the merge replaced."""
        state = self._state
        edit = run(
            job,
            state.view.version,
            state.directory,
            state.manifest.new_number,
            self._options,
            cancel,
        )
        opened = {
            meta.number: Table.open(state.directory, meta, state.cache)
            for _, meta in edit.add
            if not job.moves
        }
        state.install(edit, opened)
        self.compactions += 1
        self.compaction_bytes += job.bytes
        logger.debug("compaction of %d tables into level %d", len(job.inputs), job.target)
        for number in edit.dropped():
            # Readers that still have the table open go on reading it; only the name goes.
            with suppress(DiskFullError):
                native.unlink(state.table_path(number))
