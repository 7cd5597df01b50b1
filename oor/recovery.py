"""Recovery: analysis, redo, undo.

0. What the page cache shows may not be on the disk: segments, tables and the directory are synced
first. 1. Analysis (oor.analysis) reads and plans.
2. Redo applies the frames above the flushed LSN to a fresh memtable, in order. What it replays is
   made durable anew before anything is served: copied forward into the first segment of the new
   epoch, or, if it is more than a memtable holds, flushed to tables.
3. The new manifest is the commit point: it names the tables, the new epoch and the new segment at
   once.
   A crash before it leaves the old log whole for the next recovery; after it the old log is not
   needed.
4. Undo removes what no manifest names. No uncommitted data is ever on disk, so only files are
undone.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from dataclasses import dataclass, field

from oor import names, native, salvage
from oor.analysis import RecoveryPlan, analyze, refuse_without_current
from oor.errors import OorError, StorageError
from oor.flush import write_table
from oor.log import Log, Loss, SegmentInfo, SegmentScan
from oor.manifest import Manifest, ManifestState, read_current
from oor.memtable import Memtable
from oor.names import FileKind
from oor.options import Options
from oor.table import TableMeta
from oor.telemetry import reported

COLUMNS_FROM = 4 << 20
COLUMNS_SHARE = 16
"""From so many bytes of log, or from such a share of a memtable, what is replayed stays columns."""
COPY_SLACK = 1 << 20
"""Room in the first segment of an epoch beyond the frames copied into it."""


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What a recovery found and did. Counts, LSNs, bytes; seconds for each phase."""

    created: bool = False
    """The store was made, not recovered."""
    clean: bool = False
    """It had been closed in order: nothing to redo."""
    epoch: int = 1
    segments: int = 0
    frames: int = 0
    records: int = 0
    """Mutations replayed."""
    first_lsn: int = 0
    last_lsn: int = 0
    """The range that was replayed; 0: nothing."""
    flushed_lsn: int = 0
    """Everything up to here was in tables already."""
    expected_lsn: int = 0
    """What the disk itself promises at least: the highest durable LSN that anything on it
    states.
    """
    recovered_lsn: int = 0
    """Everything up to here is there."""
    next_lsn: int = 1
    bytes_read: int = 0
    torn_bytes: int = 0
    """Behind the last whole frame: writes that a crash cut off, and nobody was told of."""
    tail_frames: int = 0
    """Frames that only the shared tail had: they outlived the process, not yet a power loss."""
    tables_made: int = 0
    orphans: tuple[str, ...] = ()
    losses: tuple[Loss, ...] = ()
    """Salvage only: what did not verify, each range of LSNs that is lost."""
    salvage_report: str | None = None
    """Salvage only: the file beside the store that lists the losses, if there are any."""
    analysis_seconds: float = 0.0
    redo_seconds: float = 0.0
    undo_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """All phases together."""
        return self.analysis_seconds + self.redo_seconds + self.undo_seconds


@dataclass(slots=True)
class Recovered:
    """What an open goes on with."""

    log: Log
    manifest: Manifest
    memtable: Memtable
    report: RecoveryReport


@dataclass(slots=True)
class _Redo:
    """What redo gathers on its way."""

    memtable: Memtable
    live: salvage.Live
    """The tables that were there, those that salvage made anew included."""
    tables: list[TableMeta] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    report: str | None = None
    frames: int = 0
    records: int = 0
    size: int = 0
    first_lsn: int = 0
    last_lsn: int = 0
    before: SegmentInfo | None = None
    """The segment that was read last."""

    def reached(self, state: ManifestState) -> int:
        """The LSN that the log would go on with; jumps at the end of a segment are counted."""
        went_on = self.before.next_lsn if self.before is not None else 0
        return max(state.flushed_lsn + 1, self.last_lsn + 1, went_on)


def _facts(recovered: Recovered) -> dict[str, int | float | str] | None:
    report = recovered.report
    if report.created or report.clean:
        return None
    return {
        "records": report.records,
        "frames": report.frames,
        "bytes_read": report.bytes_read,
        "recovered_lsn": report.recovered_lsn,
        "tables_made": report.tables_made,
        "losses": len(report.losses),
    }


@reported("oor.recovery", _facts)
def recover(directory: str, options: Options) -> Recovered:
    """Bring the store in `directory` to the state before the crash; makes it if there is none.

    Raises CorruptionError when an acknowledged write is missing (unless options.recovery is
    "salvage"), FormatError, StorageError, DiskFullError. Whatever is raised, the next attempt finds
    what this one found.
    """
    if not native.exists(os.path.join(directory, names.CURRENT)):
        refuse_without_current(directory)
        if not options.create:
            raise no_store(directory)
        return _create(directory, options)
    began = time.perf_counter()
    _sync_all(directory)
    plan = analyze(directory, keep_scans=True)
    if plan.problem is not None and options.recovery != "salvage":
        raise plan.problem
    analyzed = time.perf_counter()
    redo, log, manifest = _redo(plan, options)
    redone = time.perf_counter()
    try:
        _undo(plan, manifest)
        log.start()
    except BaseException:
        log.close()
        manifest.close()
        raise
    ended = time.perf_counter()
    recovered_lsn = max(redo.last_lsn, plan.log_end_lsn)
    report = RecoveryReport(
        clean=plan.clean,
        epoch=plan.state.epoch + 1,
        segments=len(plan.segments),
        frames=redo.frames,
        records=redo.records,
        first_lsn=redo.first_lsn,
        last_lsn=redo.last_lsn,
        flushed_lsn=plan.state.flushed_lsn,
        expected_lsn=max(
            [plan.state.durable_lsn, plan.state.flushed_lsn]
            + [max(info.promised_lsn, info.previous_last_lsn) for info in plan.segments]
        ),
        recovered_lsn=recovered_lsn,
        next_lsn=plan.next_lsn,
        bytes_read=redo.size,
        torn_bytes=plan.torn_bytes + plan.manifest.torn_bytes,
        tail_frames=sum(info.tail_frames for info in plan.segments),
        tables_made=len(redo.tables),
        orphans=plan.orphans,
        losses=tuple(redo.losses),
        salvage_report=redo.report,
        analysis_seconds=analyzed - began,
        redo_seconds=redone - analyzed,
        undo_seconds=ended - redone,
    )
    return Recovered(log, manifest, redo.memtable, report)


def _sync_all(directory: str) -> None:
    for name in native.list_dir(directory):
        kind, _ = names.parse(name)
        if kind in (FileKind.SEGMENT, FileKind.TABLE, FileKind.MANIFEST):
            with native.File(os.path.join(directory, name), native.READ) as file:
                file.sync()
    native.sync_dir(directory)


# ---- a new store ---------------------------------------------------------------------------------


def no_store(directory: str) -> StorageError:
    """What is raised where a store was expected and none was to be made."""
    return StorageError(
        "there is no store here, and create=False", path=directory, errno=errno.ENOENT
    )


def new_database_id() -> bytes:
    """What tells the files of this store from those of all others: 16 random bytes."""
    return os.urandom(16)


def _create(directory: str, options: Options) -> Recovered:
    began = time.perf_counter()
    # The directory may be new, and whoever made it may have died before its name was durable.
    native.sync_dir(os.path.dirname(directory))
    for name in native.list_dir(directory):
        kind, _ = names.parse(name)
        if kind not in (FileKind.FOREIGN, FileKind.LOCK):
            native.unlink(os.path.join(directory, name))
    native.sync_dir(directory)
    database_id = new_database_id()
    log = Log(
        directory,
        database_id=database_id,
        epoch=1,
        first_segment=1,
        first_lsn=1,
        next_lsn=1,
        room=0,
        options=options,
    )
    manifest = None
    try:
        log.finish_copy()
        manifest = Manifest.create(
            directory, 1, ManifestState(database_id, epoch=1), options.manifest_bytes
        )
        log.start()
    except BaseException:
        log.close()
        if manifest is not None:
            manifest.close()
        raise
    report = RecoveryReport(created=True, redo_seconds=time.perf_counter() - began)
    return Recovered(log, manifest, Memtable(1), report)


# ---- redo ----------------------------------------------------------------------------------------


def _redo(plan: RecoveryPlan, options: Options) -> tuple[_Redo, Log, Manifest]:
    """Replay, make it durable anew, commit with a new manifest."""
    state = plan.state
    redo = _Redo(Memtable(state.flushed_lsn + 1), dict(state.tables))
    copies = plan.redo_bytes <= options.memtable_bytes and _may_copy(plan, options)
    log = Log(
        plan.directory,
        database_id=state.database_id,
        epoch=state.epoch + 1,
        first_segment=plan.next_segment,
        first_lsn=min(plan.redo_lsn, plan.next_lsn)
        if copies and plan.redo_bytes
        else plan.next_lsn,
        next_lsn=plan.next_lsn,
        room=plan.redo_bytes + min(COPY_SLACK, options.segment_bytes)
        if copies and plan.redo_bytes
        else 0,
        options=options,
    )
    try:
        if options.recovery == "salvage":
            redo.live, redo.losses = salvage.tables(plan, options, plan.next_number)
        numbers = itertools.count(max([plan.next_number - 1, *redo.live]) + 1)
        _replay_all(redo, plan, options, log if copies else None, numbers)
        log.finish_copy()
        return redo, log, _commit(plan, redo, next(numbers), options.manifest_bytes)
    except BaseException:
        log.close()
        _discard(plan, redo)
        raise


def _may_copy(plan: RecoveryPlan, options: Options) -> bool:
    """Whether what is replayed, copied beside the log that it is read from, leaves the log within
    its limit.
    """
    old = sum(info.file_size for info in plan.segments)
    limit = options.max_log_bytes + 2 * options.segment_bytes
    return not options.background or old + plan.redo_bytes <= limit


def _replay_all(
    redo: _Redo, plan: RecoveryPlan, options: Options, log: Log | None, numbers: object
) -> None:
    """Every segment that is needed; in salvage every one, and a report of what is missing."""
    state = plan.state
    salvaging = options.recovery == "salvage"
    for info in plan.segments:
        if info.next_lsn - 1 <= state.flushed_lsn and not salvaging:
            continue
        if salvaging:
            _note_gap(redo, salvage.gap_before(plan, info, redo.before, redo.reached(state)))
        scan = (
            plan.scans.pop(info.number, None)
            or SegmentScan.inspected(
                plan.directory, info.number, state.database_id, state.epoch, plan.tail
            )[1]
        )
        scan.start(max(state.flushed_lsn, redo.last_lsn), salvage=salvaging)
        _replay(scan, redo, plan, options, log, numbers)
        scan.close()
        redo.before = info
    if log is None and redo.memtable:
        _flush(redo, plan, options, numbers)
    if salvaging:
        _note_gap(redo, salvage.gap_at_end(plan, redo.reached(state)))
        redo.losses = salvage.merged(redo.losses)
        redo.report = salvage.write_report(plan, redo.losses) if redo.losses else None


def _note_gap(redo: _Redo, loss: Loss | None) -> None:
    if loss is not None:
        redo.losses.append(loss)


def _discard(plan: RecoveryPlan, redo: _Redo) -> None:
    """Remove what a recovery made that did not reach its commit point: each attempt would fill the
    disk more.
    """
    with contextlib.suppress(OorError):
        if read_current(plan.directory) == plan.manifest.number:
            made = {meta.number for meta in redo.tables} | (set(redo.live) - set(plan.state.tables))
            tables = [names.table_name(number) for number in made]
            for name in [names.segment_name(plan.next_segment), *tables]:
                native.unlink(os.path.join(plan.directory, name))


def _replay(
    scan: SegmentScan,
    redo: _Redo,
    plan: RecoveryPlan,
    options: Options,
    log: Log | None,
    numbers: object,
) -> None:
    """One segment into the memtable; into `log` too, or, without one, into tables when the
    memtable is full.
    """
    in_columns = plan.redo_bytes >= min(COLUMNS_FROM, options.memtable_bytes // COLUMNS_SHARE)
    while (chunk := redo.memtable.replay(scan, in_columns)) is not None:
        if chunk.loss is not None:
            redo.losses.append(chunk.loss)
        if not chunk.records:
            continue
        redo.frames += chunk.frames
        redo.records += chunk.records
        redo.size += chunk.size
        redo.first_lsn = redo.first_lsn or chunk.first_lsn
        redo.last_lsn = chunk.last_lsn
        if log is not None:
            log.copy(scan)
        elif redo.memtable.size >= options.memtable_bytes:
            _flush(redo, plan, options, numbers)


def _flush(redo: _Redo, plan: RecoveryPlan, options: Options, numbers: object) -> None:
    number: int = next(numbers)  # type: ignore[call-overload]
    redo.tables.append(write_table(plan.directory, number, redo.memtable, options))
    redo.memtable = Memtable(redo.memtable.last_lsn + 1)


def _commit(plan: RecoveryPlan, redo: _Redo, number: int, roll_bytes: int) -> Manifest:
    """The manifest of the new epoch: tables, log start and epoch change together or not at all."""
    old = plan.state
    state = ManifestState(
        old.database_id,
        epoch=old.epoch + 1,
        flushed_lsn=max([old.flushed_lsn, *(meta.last_lsn for meta in redo.tables)]),
        log_start=plan.next_segment,
        next_lsn=plan.next_lsn,
        durable_lsn=plan.next_lsn - 1,
        checkpoint_lsn=old.checkpoint_lsn,
        tables=redo.live | {meta.number: (0, meta) for meta in redo.tables},
    )
    return Manifest.create(plan.directory, number, state, roll_bytes)


# ---- undo ----------------------------------------------------------------------------------------


def _undo(plan: RecoveryPlan, manifest: Manifest) -> None:
    """Remove what the new manifest does not name. REQUIRES: it is durable."""
    old = [names.segment_name(info.number) for info in plan.segments]
    old.append(names.manifest_name(plan.manifest.number))
    for name in [*plan.orphans, *old]:
        path = os.path.join(plan.directory, name)
        if path != manifest.path and native.exists(path):
            native.unlink(path)
    native.sync_dir(plan.directory)
