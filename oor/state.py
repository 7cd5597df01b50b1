"""What the rooms of an open store share: the view, the log, the manifest, and who may change
them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from oor import names
from oor.errors import ClosedError, DiskFullError, FailedError, OorError, bare
from oor.log import Log
from oor.manifest import Manifest
from oor.memtable import Memtable
from oor.options import Options
from oor.snapshot import View
from oor.table import BlockCache, Table
from oor.version import VersionEdit


class State:
    """An open store, as commit, flush, compaction and checkpoint see it.

    Locks, in the order in which they may be taken: `flush_lock` (one flush at a time),
    `table_names`, `manifest_lock` (one edit at a time), `lock` (the commit lock: memtable order,
    the view). The commit lock is held across no sync.
    Invariants: (1) `view` is exchanged whole, under `lock`. (2) A table is in `view` only after the
    manifest that names it is durable. (3) After `failure` is set nothing is written.
    """

    def __init__(
        self,
        directory: str,
        options: Options,
        log: Log,
        manifest: Manifest,
        cache: BlockCache,
        view: View,
    ) -> None:
        self.directory = directory
        self.options = options
        self.log = log
        self.manifest = manifest
        self.cache = cache
        self.view = view
        self.lock = threading.Lock()
        self.locked = self.lock.locked
        """For csrc/native_put.h, which reads `hindered`, `view` and `rotate_at` too."""
        self.changed = threading.Condition(self.lock)
        self.flush_lock = threading.Lock()
        self.manifest_lock = threading.Lock()
        self.table_names = threading.Lock()
        """Held by whoever removes names of tables, and by whoever needs them to stay."""
        self.flush_wanted = threading.Event()
        self.compaction_wanted = threading.Event()
        self.failure: OorError | None = None
        self.disk_full: DiskFullError | None = None
        self.log_full = False
        """Whether writers wait until a flush frees segments; under `lock`."""
        self.memtable_log_bytes = max(1, (options.max_log_bytes + options.segment_bytes) // 2)
        """Log that one memtable may keep. While it is flushed the next one may fill as much, and
        both together are what the log may take."""
        self.rotate_at = self.memtable_log_bytes
        """The position of the log at which the active memtable has had its share."""
        self.closed = False
        self.sealed = False
        """Whether no edit may follow any more; under the manifest lock."""
        self.flushed_lsn = manifest.state.flushed_lsn
        self.flushed_at = self.edited_at = now()
        """When `flushed_lsn` and the version became what they are."""
        self.flushes = 0
        self.flush_bytes = 0
        """Size of the tables that flushes wrote."""
        self.flushed_payload = 0
        """Bytes of keys and values that users gave and that were flushed since."""
        self.compaction_paused = False
        """Whether somebody asked that nothing is compacted for now."""
        self.hindered = False
        """Whether a writer must look closer before it goes on: closed, failed, or too far ahead."""
        self.update_hindered()

    def _check(self) -> None:
        with self.manifest_lock, self.lock:
            view = self.view
            view._check()
            memtables = view.memtables()
            assert self.flushed_lsn < memtables[-1].first_lsn or not memtables[-1]
            named = {number: level for number, (level, _) in self.manifest.state.tables.items()}
            for level, tables in enumerate(view.version.levels):
                for table in tables:
                    assert named.pop(table.meta.number) == level, "a table the manifest puts there"
            assert not named, "tables that only the manifest has"
        self.cache._check()

    def path(self, name: str) -> str:
        """The path of a file in the store's directory."""
        return os.path.join(self.directory, name)

    def fail(self, error: OorError) -> None:
        """Turn read-only: the first failure is the one that every later write names."""
        with self.lock:
            if self.failure is None:
                self.failure = bare(error)
            self.update_hindered()
            self.changed.notify_all()

    def begin_close(self) -> bool:
        """Refuse new work from now on; False if somebody else closes or has closed."""
        with self.lock:
            if self.closed:
                return False
            self.closed = self.hindered = True
            self.changed.notify_all()
        return True

    def check_writable(self) -> None:
        """Raise ClosedError or FailedError if nothing may be written any more."""
        self.check_readable()
        self.check_not_failed()

    def check_not_failed(self) -> None:
        """Raise FailedError if an earlier failure has ended writing."""
        if self.failure is not None:
            raise FailedError(
                f"the store is read-only since a failure, open it again: {self.failure}",
                path=self.directory, errno=self.failure.errno,
            )  # fmt: skip

    def check_readable(self) -> None:
        """Raise ClosedError if the store is closed."""
        if self.closed:
            raise ClosedError("the store is closed", path=self.directory)

    def update_hindered(self) -> None:
        """Work out `hindered` anew. REQUIRES: lock, but for the constructor."""
        # Without background threads nobody would end a writer's wait.
        behind = self.options.background and self.urgency()[0] > 0.0
        self.hindered = self.closed or self.failure is not None or behind

    def urgency(self) -> tuple[float, str]:
        """How far "flush", "compaction" or what frees the "log" is behind, and which: 0 not at all,
        1 or more: writers wait.
        """
        view, options = self.view, self.options
        flush = _share(
            len(view.immutables), options.max_immutables // 2 + 1, options.max_immutables
        )
        compaction = _share(view.version.table_count(0), options.l0_slowdown, options.l0_stop)
        if self.compaction_paused or options.compaction == "fifo":
            # Nobody would make level 0 shorter, so nobody waits for it.
            compaction = 0.0
        return max((flush, "flush"), (compaction, "compaction"), (float(self.log_full), "log"))

    def pause_compaction(self, paused: bool) -> None:
        """Note that compaction is paused, or no longer; writers look anew whether they wait."""
        with self.lock:
            self.compaction_paused = paused
            self.update_hindered()
            self.changed.notify_all()

    def rotate_memtable(self) -> None:
        """Put an empty memtable in front and the full one before the flush. REQUIRES: lock."""
        view = self.view
        full = view.active
        if full:
            self.view = View(Memtable(full.last_lsn + 1), (full, *view.immutables), view.version)
            self.update_hindered()
        self.rotate_at = self.log.position() + self.memtable_log_bytes
        self.flush_wanted.set()

    def wait_for_log(self) -> None:
        """Wait until the log has been cut: it has no room before that. REQUIRES: lock.

        Whatever pins it is flushed. Raises what ended writing, and DiskFullError if the flush has
        no room.
        """
        self.log_full = True
        self.rotate_memtable()
        self.update_hindered()
        self.ask_for_room()
        while self.log_full:
            self.wait_for_change()

    def ask_for_room(self) -> None:
        """Have what found no room tried again at once. REQUIRES: lock."""
        if self.disk_full is not None:
            self.disk_full = None
            self.flush_wanted.set()
            self.compaction_wanted.set()
            self.changed.notify_all()

    def wait_for_change(self) -> None:
        """Wait until a flush or compaction has done something. REQUIRES: lock.

        Raises what ended writing, and DiskFullError where that something was to find no room: to
        wait for it would be to wait for ever.
        """
        self.changed.wait()
        self.check_writable()
        if self.disk_full is not None:
            raise bare(self.disk_full)

    def note_disk_full(self, error: DiskFullError) -> None:
        """A flush, checkpoint or compaction found no room; whoever waits for it is told."""
        with self.lock:
            self.disk_full = bare(error)
            self.changed.notify_all()

    def cut_log(self) -> None:
        """Free the segments that hold only what tables hold; writers who wait for it look anew."""
        self.log.release(self.flushed_lsn)
        with self.lock:
            self.log_full = False
            self.update_hindered()
            self.changed.notify_all()

    def install(
        self, edit: VersionEdit, opened: Mapping[int, Table], flushed: Memtable | None = None
    ) -> None:
        """Make an edit durable in the manifest, then visible.

        DiskFullError leaves all as it was; FailedError has turned the store read-only; ClosedError
        if the closing edit is there already, which is the last.
        """
        with self.manifest_lock:
            if self.sealed:
                raise ClosedError("the store is closed", path=self.directory)
            edit = self._brought_up_to_date(edit)
            # First, because it refuses an edit that makes no sense, as one with an overlap.
            version = self.view.version.with_edit(edit, opened)
            try:
                self.manifest.append(edit)
            except DiskFullError:
                raise
            except OorError as error:
                self.fail(error)
                raise
            with self.lock:
                view = self.view
                immutables = view.immutables
                if flushed is not None:
                    assert immutables and immutables[-1] is flushed, (
                        "memtables are flushed oldest first"
                    )
                    immutables = immutables[:-1]
                    self.flushes += 1
                    self.flush_bytes += sum(meta.size for _, meta in edit.add)
                    self.flushed_payload += flushed.payload()
                self.view = View(view.active, immutables, version)
                self.edited_at = now()
                if self.manifest.state.flushed_lsn > self.flushed_lsn:
                    self.flushed_at = self.edited_at
                self.flushed_lsn = self.manifest.state.flushed_lsn
                self.disk_full = None
                self.update_hindered()
                self.changed.notify_all()
        self.compaction_wanted.set()

    def _brought_up_to_date(self, edit: VersionEdit) -> VersionEdit:
        """The edit with what has happened since it was made: positions never go back.

        A checkpoint and a flush may cross: the one that comes second has the older picture of the
        log.
        """
        now = self.manifest.state
        positions = {
            name: max(getattr(edit, name), getattr(now, name))
            for name in ("flushed_lsn", "log_start", "checkpoint_lsn")
            if getattr(edit, name) is not None
        }
        return replace(edit, durable_lsn=self.log.durable_lsn(), **positions)

    def table_path(self, number: int) -> str:
        """The path of a table."""
        return self.path(names.table_name(number))

    def wait_for_room(self, timeout: float) -> None:
        """Wait until something changed or there may be room again. For background threads."""
        with self.lock:
            if not self.closed:
                self.changed.wait(timeout)


def _share(count: int, first: int, last: int) -> float:
    """0 below `first`, 1 from `last` on, evenly in between."""
    return max(0, count - first + 1) / (last - first + 1)


def now() -> float:
    """Seconds of a clock that no one sets: no decision about files depends on the time of day."""
    return time.monotonic()
