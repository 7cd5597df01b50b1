"""The two threads of an open store: one flushes and makes checkpoints, one compacts.

They hold no lock across a sync and never call the user's code. A full disk makes them wait and try
again; any other failure turns the store read-only.
"""

from __future__ import annotations

import logging
import threading

from oor.checkpoint import checkpoint, is_due
from oor.compactor import Compactor
from oor.errors import CancelledError, ClosedError, DiskFullError, FailedError, OorError
from oor.flush import flush_oldest
from oor.state import State, now

_flush_log = logging.getLogger("oor.flush")
_compaction_log = logging.getLogger("oor.compaction")

RETRY_SECONDS = 0.1
"""How long to wait before a flush or compaction that found no room is tried again."""


class Background:
    """Starts and stops the threads. Threads: any."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.compactor = Compactor(state)
        self._stopping = False
        self._threads: list[threading.Thread] = []
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
        # One that a caller asked for ends before this goes on; the next finds the store closed.
        self.compactor.stop()
        self._state.flush_wanted.set()
        self._state.compaction_wanted.set()
        with self._state.lock:
            self._state.changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _give_up(self, error: Exception) -> None:
        """Writers must not wait for a thread that is gone: whatever ended it ends writing too."""
        if isinstance(error, ClosedError):
            return
        logging.getLogger("oor").error("the store is read-only: %s", error)
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
                    flush_oldest(state)
                if state.log_full:
                    # What was flushed before somebody asked may be what he waits for.
                    state.cut_log()
                if not self._stopping and is_due(state, last_checkpoint):
                    checkpoint(state)
                    self.checkpoints += 1
            except DiskFullError as error:
                _flush_log.warning("a flush waits for room: %s", error)
                state.note_disk_full(error)
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
                while not self._stopping and self.compactor.once():
                    pass
            except CancelledError:
                continue
            except DiskFullError as error:
                _compaction_log.warning("a compaction waits for room: %s", error)
                state.note_disk_full(error)
                state.wait_for_room(RETRY_SECONDS)
                state.compaction_wanted.set()
            except Exception as error:
                self._give_up(error)
                return
