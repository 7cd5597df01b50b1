"""Checkpoints: the log is cut behind what the tables hold, so that redo stays short.

A checkpoint is fuzzy: writers go on while it flushes what was committed before it began. It ends
with a manifest edit that says where redo starts; segments before that are freed after the edit is
durable.
"""

from __future__ import annotations

from dataclasses import dataclass

from oor.flush import flush_all
from oor.state import State, now
from oor.telemetry import reported
from oor.version import VersionEdit


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint did."""

    lsn: int
    """The newest LSN when it began."""
    redo_lsn: int
    """Redo starts here: everything below is in tables."""
    segments_freed: int
    seconds: float


def _facts(done: Checkpoint) -> dict[str, int]:
    return {"lsn": done.lsn, "redo_lsn": done.redo_lsn, "segments_freed": done.segments_freed}


@reported("oor.checkpoint", _facts)
def checkpoint(state: State) -> Checkpoint:
    """Flush, note where redo starts, free the log before it.

    Cost: a flush, a rotation of the log and one manifest edit; a writer waits for the rotation at
    most.
    """
    began = now()
    lsn = state.log.next_lsn() - 1
    before = len(state.log.segments())
    flush_all(state)
    flushed_lsn = state.flushed_lsn
    # Leave the current segment too, so that what remains of the log holds nothing that is flushed.
    state.log.rotate()
    edit = VersionEdit(
        checkpoint_lsn=lsn,
        flushed_lsn=flushed_lsn,
        log_start=state.log.first_needed_segment(flushed_lsn),
    )
    state.install(edit, {})
    state.cut_log()
    freed = max(0, before + 1 - len(state.log.segments()))
    return Checkpoint(lsn, flushed_lsn + 1, freed, now() - began)


def is_due(state: State, last_checkpoint: float) -> bool:
    """Whether time or the size of the log asks for one."""
    options = state.options
    log = state.log.state()
    if log.live_bytes > options.max_log_bytes and log.segment_count > 1:
        return True
    written = bool(state.view.active) or bool(state.view.immutables)
    return written and now() - last_checkpoint >= options.checkpoint_interval
