"""The store: `open` and `DB`. This module wires the rooms together and decides little.

A put travels:    db.put -> commit -> log.append (frame.c, wal.c) -> [sync] -> memtable -> LSN
A start travels:  open -> LOCK -> recovery: analysis (manifest, walscan) -> redo (memtable, log) ->
                  manifest -> undo (orphans) -> RecoveryReport
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import warnings
import weakref
from array import array
from typing import Any, Literal, overload

from oor import native
from oor.background import Background
from oor.backup import Backup, backup
from oor.batch import BytesLike, Pairs, as_bytes, batch_of
from oor.checkpoint import Checkpoint, checkpoint
from oor.codec import wanted_and_missing
from oor.commit import Commit
from oor.errors import LimitError, OorError, StorageError
from oor.flush import flush_all
from oor.handle import ClosedView, Handle
from oor.lock import StoreLock
from oor.manners import MutableManners
from oor.options import Durability, Options, durability_of
from oor.pins import Pin, Pins, pins_of_store
from oor.put import Puts
from oor.reader import ReadOnlyDB
from oor.recovery import RecoveryReport, no_store, recover
from oor.snapshot import View
from oor.state import State, now
from oor.stats import Stats, read_stats
from oor.table import BlockCache
from oor.version import Version, VersionEdit

logger = logging.getLogger(__name__)

_open_stores: weakref.WeakSet[DB] = weakref.WeakSet()


@overload
def open(
    path: str | os.PathLike[str], *, read_only: Literal[False] = False, **options: Any
) -> DB: ...


@overload
def open(
    path: str | os.PathLike[str], *, read_only: Literal[True], **options: Any
) -> ReadOnlyDB: ...


def open(
    path: str | os.PathLike[str], *, read_only: bool = False, **options: Any
) -> DB | ReadOnlyDB:
    """Open the store in the directory `path`, recover it, and return it as a context manager.

    Options are the fields of `oor.Options`: durability, sync_interval, memtable_bytes and so on.
    The store is made if it is not there, unless create=False. With read_only=True nothing is locked
    or written, a writer may go on meanwhile, and what comes back is an `oor.ReadOnlyDB`.
    Raises LockedError if somebody has it open, CorruptionError if something that was acknowledged
    is damaged or missing, FormatError, StorageError, DiskFullError, LimitError for an option out of
    bounds. Cost: what recovery costs (`DB.recovery` says); some milliseconds after a clean close.

        >>> import oor, tempfile
        >>> with oor.open(tempfile.mkdtemp() + "/catalog.oor") as db:
        ...     lsn = db.put(b"25544", b"ISS")
        ...     db.get(b"25544")
        b'ISS'
    """
    if read_only:
        return ReadOnlyDB(os.fspath(path), Options.of(**options))
    return DB(os.fspath(path), Options.of(**options))


class DB(Handle, Puts, MutableManners):
    """An open store: ordered bytes keys to bytes values, durable. Behaves as a MutableMapping.

    Keys are up to 65,535 bytes, values up to 256 MiB; any bytes-like object is taken. Every method
    may be called from any thread. After `close`, and in a forked child, every method raises
    ClosedError; so does the next step of a scan that was under way, unless it has its pairs in
    hand.
    """

    _state: State

    def __init__(self, path: str, options: Options) -> None:
        self.path = os.path.abspath(path)
        self.options = options
        self._mode = options.durability
        for why in wanted_and_missing(options):
            logger.warning("tables are written as they are: %s", why)
        _make_directory(self.path, options)
        self._lock_file = StoreLock(self.path)
        try:
            recovered = recover(self.path, options)
        except BaseException:
            self._lock_file.release()
            raise
        self.recovery: RecoveryReport = recovered.report
        """What opening the store found and did."""
        cache = BlockCache(options.cache_bytes)
        try:
            version = Version.open(self.path, recovered.manifest.state.tables, cache)
        except BaseException:
            recovered.log.close()
            recovered.manifest.close()
            self._lock_file.release()
            raise
        view = View(recovered.memtable, (), version)
        self._pins = Pins(options.pin_sites)
        self._state = State(self.path, options, recovered.log, recovered.manifest, cache, view)
        self._commit = Commit(self._state)
        self._background = Background(self._state)
        if options.background:
            self._background.start()
        _open_stores.add(self)

    # ---- writes ----------------------------------------------------------------------------------

    def delete(self, key: BytesLike, *, durability: str | None = None) -> int:
        """Remove `key`, which need not be there, and return the LSN. As `put` otherwise."""
        mode = self._mode if durability is None else durability_of(durability)
        return self._commit.delete(as_bytes(key), mode)

    def write(self, batch: Pairs, *, durability: str | None = None) -> int:
        """Commit a mapping, (key, value) pairs or a WriteBatch, all of it or none; None deletes.

        Returns the LSN of its last mutation; mutation i of n has that LSN - n + 1 + i. An empty
        batch changes nothing and returns the last LSN given. As `put` otherwise.
        """
        mode = self._mode if durability is None else durability_of(durability)
        laid_out = batch_of(batch)
        if laid_out is None:
            self._state.check_writable()
            return self._commit.last_lsn
        return self._commit.write(*laid_out, mode)

    def try_put(self, key: BytesLike, value: BytesLike, *, durability: str | None = None) -> int:
        """As `put`, but WouldStallError, and nothing written, instead of waiting to be logged.

        See `try_write`.
        """
        return self.try_write([(key, value)], durability=durability)

    def try_write(self, batch: Pairs, *, durability: str | None = None) -> int:
        """As `write`, but WouldStallError, and nothing written, where it would have to wait to be
        logged.

        That is for a flush, a compaction, the next sync or segment of the log, or for more than a
        millisecond for another writer. A sync that its mode asks for is still waited for.
        """
        mode = self._mode if durability is None else durability_of(durability)
        laid_out = batch_of(batch)
        if laid_out is None:
            return self.write(())
        last_lsn, mode = self._commit.log(*laid_out, mode, wait=False)
        if mode is Durability.SYNC:
            self._commit.make_durable(last_lsn)
        return last_lsn

    def write_columns(
        self,
        keys: Any,
        key_sizes: array[int],
        values: Any,
        value_sizes: array[int],
        *,
        stamp: bool = False,
        durability: str | None = None,
    ) -> int:
        """Commit pairs that lie one behind the other in contiguous memory, all of them or none.

        `keys` and `values` are buffers of bytes, the sizes buffers of u32 (`array("I")`, NumPy
        uint32); a value size of 0xFFFFFFFF deletes and takes no bytes. With `stamp` the first 8
        bytes of each value become its LSN, little-endian. The buffers are read once, at the start,
        and stay as they are; `bytes` are not copied for that. Returns the LSN of the last mutation.
        LimitError if the sizes do not add up. As `write` otherwise.
        """
        mode = self._mode if durability is None else durability_of(durability)
        own_key_sizes, own_value_sizes = _sizes(key_sizes), _sizes(value_sizes)
        if len(own_key_sizes) != len(own_value_sizes):
            raise LimitError(
                f"{len(own_key_sizes)} key sizes and {len(own_value_sizes)} value sizes"
            )
        if not own_key_sizes:
            self._state.check_writable()
            return self._commit.last_lsn
        return self._commit.write_columns(
            as_bytes(keys),
            own_key_sizes,
            bytearray(memoryview(values)) if stamp else as_bytes(values),
            own_value_sizes,
            stamp,
            mode,
        )

    # ---- durability ------------------------------------------------------------------------------

    @property
    def last_lsn(self) -> int:
        """The LSN of the newest mutation that was logged; 0 before the first."""
        return self._commit.last_lsn

    @property
    def durable_lsn(self) -> int:
        """Everything up to this LSN is on stable storage."""
        self._state.check_readable()
        return self._state.log.durable_lsn()

    def wait_durable(self, lsn: int, timeout: float | None = None) -> None:
        """Return when everything up to `lsn` is durable. It waits for a sync and starts none.

        WaitTimeout after `timeout` seconds, FailedError if it can no longer happen.
        """
        self._state.check_readable()
        self._state.log.wait(lsn, timeout)

    def sync(self) -> int:
        """Make everything that was committed before the call durable; returns the durable LSN."""
        self._commit.sync()
        return self.durable_lsn

    # ---- housekeeping ----------------------------------------------------------------------------

    def flush(self) -> int:
        """Flush what was committed before the call to tables; returns how many were made."""
        self._state.check_writable()
        return flush_all(self._state)

    def checkpoint(self) -> Checkpoint:
        """Flush, note where redo starts, and free the log before it, while writers go on."""
        self._state.check_writable()
        return checkpoint(self._state)

    def backup(self, target: str | os.PathLike[str], *, verified: bool = True) -> Backup:
        """Make a second store named `target` of everything that was committed before the call.

        Its tables are hard links, or copies on another file system; it is opened as any store.
        Writers go on meanwhile. Every byte of it is read before it gets its name, unless `verified`
        is False. Raises LimitError if `target` is there or lies in the store, CorruptionError if a
        table is damaged, DiskFullError, StorageError; nothing is under the name then.
        """
        self._state.check_writable()
        return backup(self._state, os.fspath(target), self._pins, verified=verified)

    def compact(self, start: BytesLike | None = None, stop: BytesLike | None = None) -> int:
        """Flush, then compact the keys with start <= key < stop, by default all of them.

        Afterwards what was committed before the call lies in one level, newest versions only, and
        its tombstones are gone; "fifo" only drops what is due. Returns the number of jobs. It runs
        in the caller's thread, beside and among automatic compactions, as fast as they may, and
        through a pause of those. ClosedError, CancelledError: jobs that were done stay done.
        """
        self._state.check_writable()
        flush_all(self._state)
        return self._background.compactor.all(
            None if start is None else as_bytes(start), None if stop is None else as_bytes(stop)
        )

    def pause_compaction(self) -> None:
        """Compact nothing by itself until `resume_compaction`; what runs is held, within some MiB.

        Flushes go on, so level 0 grows and lookups get slower; writers do not wait for level 0
        meanwhile. Not kept across a reopening.
        """
        self._state.check_readable()
        self._background.compactor.pause()

    def resume_compaction(self) -> None:
        """End a pause; if level 0 has grown to `l0_stop` meanwhile, writers wait for it now."""
        self._state.check_readable()
        self._background.compactor.resume()

    def cancel_compaction(self) -> int:
        """Give up the compactions that run, and what they have written; returns how many.

        An automatic one is picked again when a flush or `resume_compaction` gives the occasion; the
        call of `compact` that one belongs to raises CancelledError.
        """
        self._state.check_readable()
        return self._background.compactor.cancel()

    def pins(self) -> list[Pin]:
        """What keeps segments, tables and memory: views that somebody has taken, then the store.

        Each segment and table that is there is in one of them, but for those that are being made or
        removed, and those kept for reuse. Oldest first. Cost: a look at every table.
        """
        state = self._state
        taken = super().pins()
        with state.manifest_lock, state.lock:
            view = state.view
            at = now()
            own = pins_of_store(
                view.version,
                view.memtables(),
                state.log.segments(),
                (state.manifest.state.log_start, state.flushed_lsn),
                (at - state.flushed_at, at - state.edited_at),
            )
        return [*taken, *own]

    def stats(self) -> Stats:
        """What the store holds and has done."""
        self._state.check_readable()
        return read_stats(self._state, self._commit, self._background)

    def close(self) -> None:
        """Flush, seal the log, and let go. The next open replays nothing. More than once is fine.

        If the flush fails nothing is lost: the log has it. Whatever is raised, the store is closed.
        """
        state = self._state
        if isinstance(state, ClosedView) or not state.begin_close():
            return
        try:
            self._background.stop()
            if state.failure is None:
                state.log.sync(self._commit.last_lsn)
                self._commit.publish()
                flush_all(state)
                state.log.seal()
                with state.manifest_lock:
                    next_lsn = state.log.next_lsn()
                    edit = VersionEdit(
                        closed=True,
                        # Nothing is left to flush, even where recovery has passed over LSNs of the
                        # dead.
                        flushed_lsn=max(state.flushed_lsn, next_lsn - 1),
                        durable_lsn=state.log.durable_lsn(),
                        next_lsn=next_lsn,
                    )
                    state.sealed = True
                    state.manifest.append(edit)
        finally:
            self._let_go()

    def _check(self) -> None:
        self._state._check()
        self._pins._check()

    def _let_go(self) -> None:
        state = self._state
        with state.lock:
            view = state.view
            closed: Any = ClosedView(self.path)
            state.view = closed
            state.changed.notify_all()
        self._pins.end(closed.error())
        state.log.close()
        try:
            with state.manifest_lock:
                state.sealed = True
                state.manifest.close()
        finally:
            # Whatever that close reports, the store is closed, and the next open finds it unlocked.
            for table in view.version.tables():
                table.close()
            self._lock_file.release()
            _open_stores.discard(self)

    def __enter__(self) -> DB:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        state = self.__dict__.get("_state")
        if isinstance(state, State) and not state.closed:
            warnings.warn(
                f"the store {self.path} was dropped and not closed",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self.close()

    def __repr__(self) -> str:
        is_open = isinstance(self._state, State) and not self._state.closed
        return f"<oor.DB {self.path!r}{'' if is_open else ' closed'}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "an open store cannot be pickled: one process writes it; pickle its path instead"
        )


def _sizes(given: Any) -> array[int]:
    """A copy of a buffer of u32. TypeError if its items are of another size."""
    view = memoryview(given)
    if view.itemsize != 4:
        raise TypeError(f"sizes are u32, not items of {view.itemsize} bytes")
    sizes = array("I")
    sizes.frombytes(view.tobytes())
    return sizes


def _make_directory(path: str, options: Options) -> None:
    if native.exists(path):
        return
    if not options.create:
        raise no_store(path)
    parent = os.path.dirname(path)
    if not native.exists(parent):
        raise StorageError(
            "the directory that the store would be made in is not there",
            path=parent, errno=errno.ENOENT,
        )  # fmt: skip
    native.make_dir(path)


# ---- the end of the process, and its children ----------------------------------------------------


def _close_all() -> None:
    """At exit: stores that nobody closed are closed, so that a clean exit replays nothing."""
    for store in list(_open_stores):
        try:
            store.close()
        except OorError:
            # The log has what the flush could not write; the next open replays it.
            continue


_disowned: list[Any] = []
"""What a child inherits of open stores, kept for ever: threads that hold its locks do not exist
here.
"""


def _disown() -> None:
    """In a forked child: the parent's stores say that they are the parent's, and its locks stay
    his.
    """
    for store in list(_open_stores):
        _disowned.append((store._state, store._commit, store._background))
        gone: Any = ClosedView(store.path, "the store belongs to the parent process")
        store._state = store._commit = store._background = gone
        store._pins.end(gone.error())
        store._lock_file.release()
    _open_stores.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_disown)
