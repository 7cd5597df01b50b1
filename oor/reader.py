"""Read-only handles: a store as its files show it, whoever writes it meanwhile.

Nothing is locked, written, synced or removed. What a recovery would do on disk is done in memory:
manifest, tables, and the log above them into a memtable. A writer may replace any file under the
reader's hands, so what was read counts only if the manifest then still says that the log starts
where it did; else, and after any error, it is all read again: an error that comes again and again
while nothing changes is the store's own, and a writer may be too fast for `PATIENCE` seconds.
Tables that are open stay readable after a compaction has removed their names.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import weakref
from collections import Counter
from dataclasses import asdict
from itertools import count
from typing import Any, NoReturn

from oor import names, native
from oor.analysis import RecoveryPlan, analyze, refuse_without_current
from oor.codec import NUMBERS
from oor.errors import CorruptionError, FormatError, OorError, ReadOnlyError, StorageError
from oor.handle import ClosedView, Handle
from oor.log import SegmentScan
from oor.manifest import read_manifest
from oor.memtable import Memtable
from oor.options import Options
from oor.pins import Pins
from oor.snapshot import View
from oor.table import BlockCache, Table
from oor.version import Version

COLUMNS_FROM = 1 << 20
"""Bytes of log from which on its mutations stay columns."""
ATTEMPTS = 10
"""How often a store is read that shows an error and does not change before it is raised, and at the
least one that does change."""
PATIENCE = 10.0
"""Seconds for which one that does change is read again and again, be that more often."""
_PAUSE = 0.002


class ReadState:
    """What a read-only handle reads from; `view` is exchanged whole, under `lock`."""

    __slots__ = ("closed", "flushed_lsn", "lock", "view")

    def __init__(self, view: View, flushed_lsn: int) -> None:
        self.view = view
        self.flushed_lsn = flushed_lsn
        self.closed = False
        self.lock = threading.Lock()


class ReadOnlyDB(Handle):
    """A store opened with read_only=True: its state when it was opened or last refreshed. A
    Mapping.

    It shows every mutation that was logged, which is what a recovery would find at that moment. A
    writer, of this process or another, is not hindered and not noticed until `refresh`. Can be
    pickled: the copy opens the store anew where it is unpickled. Every write raises ReadOnlyError.
    Cost: the log above the tables is read into memory.

        >>> import oor, tempfile
        >>> path = tempfile.mkdtemp() + "/catalog.oor"
        >>> with oor.open(path) as writer, oor.open(path, read_only=True) as reader:
        ...     lsn = writer.put(b"25544", b"ISS (ZARYA)")
        ...     reader.get(b"25544"), reader.refresh() == lsn, reader.get(b"25544")
        (None, True, b'ISS (ZARYA)')
    """

    def __init__(self, path: str, options: Options) -> None:
        self.path = os.path.abspath(path)
        self.options = options
        self._pins = Pins(options.pin_sites)
        self._cache = BlockCache(options.cache_bytes)
        self._refreshing = threading.Lock()
        view, flushed_lsn = _load(self.path, options, self._cache, {})
        self._state = ReadState(view, flushed_lsn)
        _open_readers.add(self)

    @property
    def last_lsn(self) -> int:
        """The LSN of the newest mutation that the handle shows."""
        state = self._state
        with state.lock:
            newest: int = max(state.view.active.last_lsn, state.flushed_lsn)
        return newest

    def codecs(self) -> dict[str, int]:
        """How many tables have blocks that are packed with "zstd", "lz4", or none ("none")."""
        found = Counter(table.codec for table in self._state.view.version.tables())
        return {name: found[number] for name, number in NUMBERS.items() if found[number]}

    def refresh(self) -> int:
        """Show the store as it is now, and return the LSN of the newest mutation shown.

        Snapshots and scans keep what they showed. Cost and errors: those of an open, but tables
        that are open already stay so. If it raises, the handle shows what it showed.
        """
        with self._refreshing:
            state = self._state
            known = {table.meta.number: table for table in state.view.version.tables()}
            view, flushed_lsn = _load(self.path, self.options, self._cache, known)
            with state.lock:
                if not state.closed:
                    state.view, state.flushed_lsn = view, flushed_lsn
        return self.last_lsn

    def close(self) -> None:
        """Let go. More than once is fine."""
        state = self._state
        if isinstance(state, ClosedView):
            return
        with state.lock:
            closed: Any = ClosedView(self.path)
            state.view, state.closed = closed, True
        self._pins.end(closed.error())
        _open_readers.discard(self)

    def _check(self) -> None:
        super()._check()
        self._cache._check()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Raise ReadOnlyError: a handle that was opened with read_only=True changes nothing."""
        raise ReadOnlyError("the store was opened with read_only=True", path=self.path)

    put = delete = write = write_columns = sync = flush = checkpoint = compact = _refuse
    __setitem__ = __delitem__ = pop = popitem = setdefault = update = clear = _refuse

    def __enter__(self) -> ReadOnlyDB:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        is_open = isinstance(self._state, ReadState) and not self._state.closed
        return f"<oor.ReadOnlyDB {self.path!r}{'' if is_open else ' closed'}>"

    def __reduce__(self) -> Any:
        return _reopen, (self.path, asdict(self.options))


def _reopen(path: str, options: dict[str, Any]) -> ReadOnlyDB:
    return ReadOnlyDB(path, Options.of(**options))


# ---- reading a store that may change meanwhile ----


def _load(
    directory: str, options: Options, cache: BlockCache, known: dict[int, Table]
) -> tuple[View, int]:
    """The view that the files add up to, and its flushed LSN."""
    if not native.exists(os.path.join(directory, names.CURRENT)):
        refuse_without_current(directory)
        raise StorageError("there is no store here", path=directory, errno=errno.ENOENT)
    failures, deadline = 0, time.monotonic() + PATIENCE
    for tries in count(1):
        before = _signs(directory)
        try:
            plan = analyze(directory)
            if plan.problem is not None and options.recovery != "salvage":
                raise plan.problem
            tables = plan.state.tables
            version = Version.open(directory, tables, cache, known)
            view = View(_replay(plan, salvage=options.recovery == "salvage"), (), version)
            if _still_holds(directory, plan):
                return view, plan.state.flushed_lsn
        except (CorruptionError, FormatError, StorageError):
            failures += _signs(directory) == before
            if failures == ATTEMPTS:
                raise
        if tries - failures >= ATTEMPTS and time.monotonic() > deadline:
            break
        time.sleep(_PAUSE * failures)
    raise OorError(
        f"the store changed {tries - failures} times while it was read; try again", path=directory
    )


def _signs(directory: str) -> tuple[int, int, frozenset[int]] | None:
    """By what a store that changed is told: epoch, first segment and tables, as the manifest has
    them; None where it cannot be read.
    """
    try:
        state = read_manifest(directory).state
    except OorError:
        return None
    return state.epoch, state.log_start, frozenset(state.tables)


def _replay(plan: RecoveryPlan, *, salvage: bool) -> Memtable:
    """The log above the tables, as one memtable."""
    state = plan.state
    memtable = Memtable(state.flushed_lsn + 1)
    for info in plan.segments:
        if info.next_lsn - 1 <= state.flushed_lsn and not salvage:
            continue
        scan = SegmentScan(
            plan.directory, info.number, state.database_id, state.epoch, plan.tail,
            max(state.flushed_lsn, memtable.last_lsn), salvage=salvage,
        )  # fmt: skip
        while memtable.replay(scan, plan.redo_bytes >= COLUMNS_FROM) is not None:
            pass
        scan.close()
    return memtable


def _still_holds(directory: str, plan: RecoveryPlan) -> bool:
    """Whether no segment that was read can have been freed meanwhile: that follows an edit that
    says so.
    """
    state = read_manifest(directory).state
    return (state.epoch, state.log_start) == (plan.state.epoch, plan.state.log_start)


# ---- children of this process ----

_open_readers: weakref.WeakSet[ReadOnlyDB] = weakref.WeakSet()
_disowned: list[Any] = []


def _disown() -> None:
    """In a forked child: locks of the C half may be held by threads that do not exist here."""
    for reader in list(_open_readers):
        _disowned.append((reader._state, reader._cache))
        gone: Any = ClosedView(
            reader.path, "the handle belongs to the parent process; open the store again"
        )
        reader._state = gone
        reader._pins.end(gone.error())
    _open_readers.clear()


os.register_at_fork(after_in_child=_disown)
