"""Salvage: what of a damaged store still verifies, and a report of each range that does not.

The log's part is in recovery (frames behind damage are found by `SegmentScan`); here are the gaps
between segments, the blocks of damaged tables that are whole, and the file that tells of both. The
report is durable before recovery commits, since its undo removes what was damaged.
"""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import asdict, replace

from oor import native
from oor.analysis import RecoveryPlan
from oor.errors import CorruptionError, OorError, StorageError
from oor.flush import table_options
from oor.log import Loss, SegmentInfo
from oor.names import table_name
from oor.native import Buffer, check, lib
from oor.options import Options
from oor.table import BlockCache, Table, TableMeta, write_run

Live = dict[int, tuple[int, TableMeta]]
"""Number -> (level, meta), as the manifest has it."""


# ---- the log -------------------------------------------------------------------------------------


def gap_before(
    plan: RecoveryPlan, info: SegmentInfo, before: SegmentInfo | None, reached: int
) -> Loss | None:
    """LSNs that were durable below segment `info` and that reading up to there has not met.

    `reached` is the LSN that the log would have gone on with. A header is written only when all
    before it is durable, so it proves that those LSNs were there.
    """
    if not info.begun:
        return None
    state = plan.state
    if before is None and info.number == state.log_start and info.first_lsn <= state.next_lsn:
        # Where an epoch begins LSNs may have been passed over; nobody was given them.
        return None
    follows = before is not None and info.previous_segment == before.number
    last = info.previous_last_lsn if follows else info.first_lsn - 1
    if last < reached:
        return None
    number = before.number if before is not None and follows else info.previous_segment
    offset = before.end if before is not None and follows else 0
    what = "the end of the segment" if follows else "a segment that is missing"
    return Loss(number, offset, reached, last, what)


def gap_at_end(plan: RecoveryPlan, reached: int) -> Loss | None:
    """LSNs that something on the disk promises and that are behind all that was read."""
    promised = max([plan.state.durable_lsn, *(info.promised_lsn for info in plan.segments)])
    if promised < reached:
        return None
    last = plan.segments[-1] if plan.segments else None
    number = last.number if last is not None else plan.state.log_start
    return Loss(number, last.end if last is not None else 0, reached, promised, "the log's end")


# ---- tables --------------------------------------------------------------------------------------


def tables(plan: RecoveryPlan, options: Options, next_number: int) -> tuple[Live, list[Loss]]:
    """The live tables that verify, and new ones of the whole blocks of those that do not.

    Damaged files stay until undo, which removes what the new manifest does not name.
    """
    live: Live = {}
    losses: list[Loss] = []
    for number, (level, meta) in sorted(plan.state.tables.items()):
        if _is_whole(plan.directory, meta):
            live[number] = (level, meta)
            continue
        kept, lost = _whole_blocks(plan.directory, meta)
        losses += lost
        if kept:
            path = os.path.join(plan.directory, table_name(next_number))
            keys = sorted(kept)
            chunk = (keys, [kept[key] for key in keys])
            layout = table_options(options, level)
            made = write_run(path, next_number, [chunk], layout, meta.first_lsn, meta.last_lsn)
            live[next_number] = (level, made)
            next_number += 1
    if losses:
        native.sync_dir(plan.directory)
    return live, losses


_GONE = (errno.ENOENT, errno.EIO)


def _raise_unless_damage(error: OorError) -> None:
    """What this build or this moment cannot read may be whole: only damage is given up."""
    gone = isinstance(error, StorageError) and error.errno in _GONE
    if not gone and not isinstance(error, CorruptionError):
        raise error


def _is_whole(directory: str, meta: TableMeta) -> bool:
    try:
        table = Table.open(directory, meta, BlockCache(0))
        try:
            table.verify()
        finally:
            table.close()
    except OorError as error:
        _raise_unless_damage(error)
        return False
    return True


def _whole_blocks(directory: str, meta: TableMeta) -> tuple[dict[bytes, bytes | None], list[Loss]]:
    """The pairs of the blocks that verify, and a loss for each run of blocks that do not."""
    path = os.path.join(directory, table_name(meta.number))

    def lost(what: str) -> Loss:
        return Loss(0, 0, meta.first_lsn, meta.last_lsn, what, path)

    try:
        table = Table.open(directory, meta, BlockCache(0))
    except OorError as error:
        _raise_unless_damage(error)
        return {}, [lost(f"a table of {meta.entries} entries: {error.message}")]
    pairs: dict[bytes, bytes | None] = {}
    losses: list[Loss] = []
    buffer = Buffer()
    below: bytes | None = None
    broken = 0
    for at in range(table.block_count):
        try:
            check(lib.oor_table_block_pairs(table.raw, at, buffer.raw))
        except OorError as error:
            _raise_unless_damage(error)
            broken += 1
            continue
        found = buffer.load()
        if broken:
            losses.append(lost(_between(broken, below, min(found))))
        pairs |= found
        below, broken = max(found), 0
    table.close()
    if broken:
        losses.append(lost(_between(broken, below, None)))
    # Whole blocks and no error, and yet the table did not verify: its filter or counts are wrong.
    return pairs, losses or [lost("nothing of a table whose blocks are whole; it was made anew")]


def _between(blocks: int, below: bytes | None, above: bytes | None) -> str:
    start = "its first key" if below is None else repr(below)
    stop = "its last key" if above is None else repr(above)
    return f"{blocks} blocks of a table, between {start} and {stop}"


# ---- the report ----------------------------------------------------------------------------------


def write_report(plan: RecoveryPlan, losses: list[Loss]) -> str:
    """Put a report beside the store, durable; returns its path: STORE.salvage-EPOCH.json."""
    path = f"{plan.directory}.salvage-{plan.state.epoch + 1}.json"
    content = {
        "store": plan.directory,
        "when": time.strftime("%FT%TZ", time.gmtime()),
        "refused_because": None if plan.problem is None else plan.problem.described(),
        "lost": [asdict(loss) for loss in losses],
    }
    native.replace_atomic(path, json.dumps(content, indent=1).encode("ascii") + b"\n")
    return path


def merged(losses: list[Loss]) -> list[Loss]:
    """The losses of the log in the order of their LSNs, each LSN once; those of tables behind."""
    of_log = sorted((loss for loss in losses if loss.path is None), key=lambda one: one.first_lsn)
    found: list[Loss] = []
    reached = 0
    for loss in of_log:
        if loss.first_lsn and loss.last_lsn <= reached:
            continue
        if loss.first_lsn and loss.first_lsn <= reached:
            loss = replace(loss, first_lsn=reached + 1)
        found.append(loss)
        reached = max(reached, loss.last_lsn)
    return found + [loss for loss in losses if loss.path is not None]
