"""Verification: every byte of a store that anything depends on is read, and nothing is changed.

Analysis (oor.analysis) says what a start would find: CURRENT, manifest, segments, what is missing.
On top of that every segment is read to its end, beyond the first damage, and every block of every
table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from oor import names, native
from oor.analysis import RecoveryPlan, analyze
from oor.errors import CorruptionError, FormatError, OorError, StorageError
from oor.lock import ReadLock
from oor.log import SegmentInfo, SegmentScan, Tail, inspect_segment
from oor.table import BlockCache, Table


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are not what was written; a field that does not apply is None."""

    what: str
    path: str | None
    segment: int | None = None
    offset: int | None = None
    first_lsn: int | None = None
    last_lsn: int | None = None

    @classmethod
    def of(cls, error: OorError) -> Damage:
        """What an exception says, without the advice behind it."""
        what = error.message.partition(";")[0]
        return cls(what, error.path, error.segment, error.offset, error.first_lsn, error.last_lsn)

    def __str__(self) -> str:
        return str(
            OorError(
                self.what, path=self.path, segment=self.segment, offset=self.offset,
                first_lsn=self.first_lsn, last_lsn=self.last_lsn,
            )
        )  # fmt: skip


@dataclass(slots=True)
class Verification:
    """What was read and what is wrong. Counts; bytes of files."""

    path: str
    clean: bool = False
    """Closed in order: the tables hold everything, and nothing of the log is needed."""
    bytes: int = 0
    manifest_edits: int = 0
    segments: int = 0
    frames: int = 0
    records: int = 0
    """Mutations in the log."""
    torn_bytes: int = 0
    """Behind the log's last whole frame: a write that a crash cut off. No damage."""
    manifest_torn_bytes: int = 0
    """Behind the manifest's last whole line: an edit that a crash cut off. No damage."""
    tables: int = 0
    entries: int = 0
    """Of tables, tombstones included."""
    flushed_lsn: int = 0
    last_lsn: int = 0
    orphans: tuple[str, ...] = ()
    """What the next open removes. No damage."""
    damage: list[Damage] = field(default_factory=list)


def verify(directory: str) -> Verification:
    """Read the store in `directory`; what is damaged is in the result's `damage`.

    Raises LockedError if somebody has it open, FormatError for a format that this build does not
    read, StorageError for a directory that is not there. Cost: one pass over log and tables.
    """
    result = Verification(os.path.abspath(directory))
    with ReadLock(directory):
        try:
            plan = analyze(directory)
        except (CorruptionError, StorageError) as error:
            # Without a manifest nobody knows which tables and segments count.
            result.damage.append(Damage.of(error))
            return result
        _note_plan(result, plan)
        for info in plan.segments:
            result.damage += _lost_in(plan, info, result)
            result.damage += _masked_in(plan, info)
        if plan.problem is not None and not _is_known(plan.problem, result):
            result.damage.insert(0, Damage.of(plan.problem))
        result.damage += _lost_in_tables(plan, result)
        if result.damage:
            result.torn_bytes = result.manifest_torn_bytes = 0
    return result


def _note_plan(result: Verification, plan: RecoveryPlan) -> None:
    result.clean = plan.clean
    result.manifest_edits = plan.manifest.lines
    result.torn_bytes = plan.torn_bytes
    result.manifest_torn_bytes = plan.manifest.torn_bytes
    result.flushed_lsn = plan.state.flushed_lsn
    result.last_lsn = plan.state.flushed_lsn
    result.orphans = plan.orphans
    for name in (names.CURRENT, names.manifest_name(plan.manifest.number)):
        with native.File(os.path.join(plan.directory, name), native.READ) as file:
            result.bytes += file.size()


def _lost_in(plan: RecoveryPlan, info: SegmentInfo, result: Verification) -> Iterator[Damage]:
    """Bytes inside the log that do not verify. A torn end is no damage: analysis knows."""
    result.segments += 1
    result.bytes += info.file_size
    state = plan.state
    path = os.path.join(plan.directory, names.segment_name(info.number))
    try:
        scan = SegmentScan(
            plan.directory, info.number, state.database_id, state.epoch, plan.tail, 0, salvage=True
        )
    except OorError as error:
        yield Damage.of(error)
        return
    while (chunk := scan.next()) is not None:
        result.frames += chunk.frames
        result.records += chunk.records
        result.last_lsn = max(result.last_lsn, chunk.last_lsn)
        if chunk.loss is not None and chunk.loss.first_lsn:
            yield Damage(
                "frames that do not verify", path, info.number, chunk.loss.offset,
                chunk.loss.first_lsn, chunk.loss.last_lsn or None,
            )  # fmt: skip
    scan.close()


def _masked_in(plan: RecoveryPlan, info: SegmentInfo) -> Iterator[Damage]:
    """Durable frames that are damaged in the segment and whole in the shared tail only.

    A start would read them from the tail and lose nothing, unless the power fails first.
    """
    state = plan.state
    nothing = Tail(plan.directory, state.database_id, state.epoch + 1)  # of another epoch: empty
    alone = inspect_segment(plan.directory, info.number, state.database_id, state.epoch, nothing)
    promised = max([state.durable_lsn, *(each.promised_lsn for each in plan.segments)])
    promised = min(promised, info.last_lsn)
    # A header that is in the tail alone is no damage either while nothing behind it is durable.
    missing = alone.next_lsn if alone.begun else info.first_lsn
    if missing <= promised:
        path = os.path.join(plan.directory, names.segment_name(info.number))
        what = "durable frames that do not verify here, only in the shared tail"
        yield Damage(what, path, info.number, alone.end, missing, promised)


def _lost_in_tables(plan: RecoveryPlan, result: Verification) -> Iterator[Damage]:
    cache = BlockCache(0)
    for _, meta in plan.state.tables.values():
        try:
            table = Table.open(plan.directory, meta, cache)
            try:
                table.verify()
            finally:
                table.close()
        except (CorruptionError, StorageError, FormatError) as error:
            # C leaves an offset of 0 out; in a table that is its first block.
            yield replace(Damage.of(error), offset=error.offset or 0)
            continue
        result.tables += 1
        result.entries += meta.entries
        result.bytes += meta.size


def _is_known(problem: CorruptionError, result: Verification) -> bool:
    """Whether reading on has found what analysis objects to, and nothing is missing behind it."""
    return (problem.last_lsn or 0) <= result.last_lsn and any(
        (found.path, found.offset) == (problem.path, problem.offset) for found in result.damage
    )
