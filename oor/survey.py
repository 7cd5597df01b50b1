"""A store seen from outside: what its files say, while somebody else may write to it.

Nothing is locked, written or kept. The manifest says what is in tables; one pass over the live log
says how far it goes and what it states as durable. What only the writer's memory has (cache hits,
stalls, times) is not here: `DB.stats` has it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from oor import names, native
from oor.analysis import RecoveryPlan, analyze
from oor.errors import CorruptionError, OorError, StorageError
from oor.lock import owner_of
from oor.names import FileKind

ATTEMPTS = 10
"""How often a store that changes meanwhile is read before the survey gives up."""
_PAUSE = 0.002


@dataclass(frozen=True, slots=True)
class Level:
    """One level of tables; bytes of their files."""

    tables: int
    bytes: int
    entries: int
    tombstones: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What the files of a store add up to at one moment. Sizes are bytes."""

    path: str
    owner: str | None
    """Who has it open for writing; None: nobody."""
    closed: bool
    """Closed in order: the log holds nothing that the tables do not."""
    last_lsn: int
    """The newest mutation that was logged."""
    durable_lsn: int
    """The newest that the files themselves state as durable; the writer may know a later one."""
    flushed_lsn: int
    checkpoint_lsn: int
    log_segments: int
    log_bytes: int
    """Frames above the tables: what a recovery would read, and about what the memtable holds."""
    log_frames: int
    levels: tuple[Level, ...]
    payload_bytes: int
    """Keys and values of all entries of the tables."""
    manifest_edits: int
    disk_bytes: int
    damage: str | None
    """Why an open would refuse; None: it would not."""

    @property
    def unflushed_records(self) -> int:
        """Mutations that are in the log and in no table: the writer's memtables."""
        return self.last_lsn - self.flushed_lsn

    @property
    def at_risk_records(self) -> int:
        """Mutations that a power loss now could take, as far as the files tell: the loss window."""
        return max(0, self.last_lsn - self.durable_lsn)

    @property
    def table_bytes(self) -> int:
        """All tables."""
        return sum(level.bytes for level in self.levels)

    @property
    def space_amplification(self) -> float:
        """All tables by the deepest level that has any: 1.0 is the least there can be."""
        deepest = next((level.bytes for level in reversed(self.levels) if level.bytes), 0)
        return self.table_bytes / deepest if deepest else 1.0

    @property
    def read_amplification(self) -> int:
        """Places that a lookup may have to ask: memtable, tables of level 0, one a deeper level."""
        first = self.levels[0].tables if self.levels else 0
        return 1 + first + sum(1 for level in self.levels[1:] if level.tables)


def survey(directory: str) -> Survey:
    """Look at the store in `directory`; a writer is not hindered.

    Raises StorageError if there is none, FormatError, CorruptionError if the manifest is damaged,
    OorError if the store changed too often meanwhile. Cost: one pass over the live log, at the
    speed of the checksum.
    """
    directory = os.path.abspath(directory)
    for attempt in range(ATTEMPTS):
        try:
            plan = analyze(directory)
            # A segment that was freed under our hands looks like damage until the next look.
            if plan.problem is None or attempt == ATTEMPTS - 1:
                return _of(plan)
        except (CorruptionError, StorageError):
            if attempt == ATTEMPTS - 1 or not native.exists(os.path.join(directory, names.CURRENT)):
                raise
        time.sleep(_PAUSE * attempt)
    raise OorError(f"the store changed {ATTEMPTS} times while it was read", path=directory)


def _of(plan: RecoveryPlan) -> Survey:
    state = plan.state
    depth = max((level for level, _ in state.tables.values()), default=-1) + 1
    levels = []
    for level in range(depth):
        metas = [meta for place, meta in state.tables.values() if place == level]
        levels.append(
            Level(
                len(metas),
                sum(meta.size for meta in metas),
                sum(meta.entries for meta in metas),
                sum(meta.tombstones for meta in metas),
            )
        )
    promised = max((info.promised_lsn for info in plan.segments), default=0)
    return Survey(
        path=plan.directory,
        owner=owner_of(plan.directory),
        closed=plan.clean,
        last_lsn=plan.log_end_lsn,
        durable_lsn=min(max(promised, state.durable_lsn, state.flushed_lsn), plan.log_end_lsn),
        flushed_lsn=state.flushed_lsn,
        checkpoint_lsn=state.checkpoint_lsn,
        log_segments=len(plan.segments),
        log_bytes=plan.redo_bytes,
        log_frames=plan.redo_frames,
        levels=tuple(levels),
        payload_bytes=sum(m.key_bytes + m.value_bytes for _, m in state.tables.values()),
        manifest_edits=plan.manifest.lines,
        disk_bytes=_disk_bytes(plan.directory),
        damage=None if plan.problem is None else str(plan.problem),
    )


def _disk_bytes(directory: str) -> int:
    """Bytes of the store's files; one that goes meanwhile counts as nothing."""
    total = 0
    for name in native.list_dir(directory):
        if names.parse(name)[0] is not FileKind.FOREIGN:
            try:
                total += os.stat(os.path.join(directory, name)).st_size
            except FileNotFoundError:
                continue
    return total
