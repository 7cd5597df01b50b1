"""`oor recover`, `oor verify`, `oor manifest`: the store itself."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import click

import oor
from oor import names, native
from oor.analysis import RecoveryPlan, analyze
from oor.cli import exits
from oor.cli.opening import require_store
from oor.cli.output import (
    count,
    emit,
    facts,
    json_option,
    milliseconds,
    note,
    size,
    store_argument,
    table,
)
from oor.lock import ReadLock
from oor.manifest import decode_line, read_current
from oor.recovery import RecoveryReport
from oor.verify import verify as verify_store

# ---- recover -------------------------------------------------------------------------------------


@click.command()
@store_argument
@click.option("--dry-run", is_flag=True, help="Show what recovery would do, and change nothing.")
@click.option(
    "--salvage", is_flag=True, help="Keep what verifies of a damaged log, and say what is missing."
)
@json_option
def recover(db: str, dry_run: bool, salvage: bool, as_json: bool) -> int:
    """Recover DB after a crash and print the report; --dry-run prints the plan."""
    require_store(db)
    if dry_run:
        with ReadLock(db):
            plan = analyze(os.path.abspath(db))
        if as_json:
            emit(plan_content(plan))
        else:
            _print_plan(plan)
        return exits.FINE if plan.problem is None else exits.DAMAGED
    mode = "salvage" if salvage else "strict"
    with oor.open(db, create=False, background=False, recovery=mode) as store:
        report = store.recovery
    if as_json:
        emit(asdict(report) | {"seconds": report.seconds})
    else:
        print_report(report)
    return exits.DAMAGE if report.losses else exits.FINE


def plan_content(plan: RecoveryPlan) -> dict[str, Any]:
    """A plan as JSON has it."""
    problem = plan.problem
    return {
        "path": plan.directory,
        "clean": plan.clean,
        "manifest": names.manifest_name(plan.manifest.number),
        "manifest_edits": plan.manifest.lines,
        "tables": len(plan.state.tables),
        "flushed_lsn": plan.state.flushed_lsn,
        "checkpoint_lsn": plan.state.checkpoint_lsn,
        "redo_lsn": plan.redo_lsn,
        "log_end_lsn": plan.log_end_lsn,
        "next_lsn": plan.next_lsn,
        "redo_frames": plan.redo_frames,
        "redo_bytes": plan.redo_bytes,
        "torn_bytes": plan.torn_bytes,
        "segments": [asdict(info) for info in plan.segments],
        "orphans": list(plan.orphans),
        "problem": None if problem is None else str(problem),
    }


def _print_plan(plan: RecoveryPlan) -> None:
    state = plan.state
    redo = plan.log_end_lsn - state.flushed_lsn
    facts(
        [
            ("store", plan.directory),
            ("state", "closed in order" if plan.clean else "not closed in order"),
            (
                "analysis",
                f"{names.manifest_name(plan.manifest.number)},"
                f" {count(plan.manifest.lines, 'edit')}:"
                f" {count(len(state.tables), 'table')} up to LSN {state.flushed_lsn:,},"
                f" last checkpoint at {state.checkpoint_lsn:,}",
            ),
            (
                "redo",
                f"LSN {plan.redo_lsn:,} to {plan.log_end_lsn:,}:"
                f" {count(plan.redo_frames, 'frame')}, at most {size(plan.redo_bytes)}"
                if redo > 0
                else "nothing",
            ),
            ("undo", ", ".join(plan.orphans) or "nothing"),
            ("next", f"LSN {plan.next_lsn:,} in segment {plan.next_segment}"),
        ]
    )
    if plan.segments:
        print()
        rows = [
            (
                names.segment_name(info.number), info.header_text, info.ended_text,
                info.first_lsn, info.last_lsn, info.frames, info.records, info.tail_frames,
                size(info.end),
            )
            for info in plan.segments
        ]  # fmt: skip
        head = (
            "segment",
            "header",
            "ends in",
            "first LSN",
            "last LSN",
            "frames",
            "records",
            "of the tail",
            "size",
        )
        table(head, rows, text_columns=3)
    if plan.torn_bytes:
        note(
            f"oor: {count(plan.torn_bytes, 'byte')} behind the last frame belong to none:"
            " a write that was cut off"
        )
    if plan.problem is not None:
        note(f"oor: an open refuses this store: {plan.problem}")


def print_report(report: RecoveryReport) -> None:
    """A recovery report for people."""
    if report.created:
        print("nothing to recover: the store was made just now")
        return
    redo = "nothing" if not report.records else (
        f"{count(report.records, 'mutation')} of {count(report.frames, 'frame')},"
        f" LSN {report.first_lsn:,} to {report.last_lsn:,}, {size(report.bytes_read)}"
    )  # fmt: skip
    if report.tables_made:
        redo += f", flushed to {count(report.tables_made, 'table')}"
    if report.tail_frames:
        redo += f"; {count(report.tail_frames, 'frame')} only in the shared tail"
    facts(
        [
            (
                "recovered",
                f"up to LSN {report.recovered_lsn:,}; the disk promises {report.expected_lsn:,},"
                f" tables hold {report.flushed_lsn:,}",
            ),
            ("redo", redo),
            ("cut off", f"{count(report.torn_bytes, 'byte')} of a write that nobody was told of"),
            ("undo", ", ".join(report.orphans) or "nothing"),
            (
                "time",
                f"{milliseconds(report.seconds)}: analysis {milliseconds(report.analysis_seconds)},"
                f" redo {milliseconds(report.redo_seconds)},"
                f" undo {milliseconds(report.undo_seconds)}",
            ),
        ]
    )
    for loss in report.losses:
        print(f"lost       {loss}")
    if report.salvage_report is not None:
        print(f"report     {report.salvage_report}")


# ---- verify --------------------------------------------------------------------------------------


@click.command()
@store_argument
@json_option
def verify(db: str, as_json: bool) -> int:
    """Read every byte of DB's log, manifest and tables, and say what is damaged."""
    require_store(db)
    found = verify_store(db)
    if as_json:
        emit(asdict(found))
        return exits.DAMAGE if found.damage else exits.FINE
    closed = "closed in order, nothing in it is needed"
    facts(
        [
            ("store", found.path),
            ("manifest", count(found.manifest_edits, "edit")),
            (
                "log",
                closed
                if found.clean
                else f"{count(found.segments, 'segment')}, {count(found.frames, 'frame')},"
                f" {count(found.records, 'mutation')} up to LSN {found.last_lsn:,}",
            ),
            (
                "tables",
                f"{count(found.tables, 'table')}, {count(found.entries, 'entry', 'entries')}"
                f" up to LSN {found.flushed_lsn:,}",
            ),
            ("read", size(found.bytes)),
            ("damage", count(len(found.damage), "place") if found.damage else "none"),
        ]
    )
    for damage in found.damage:
        print(f"  {damage}")
    if found.torn_bytes:
        note(
            f"oor: the log ends in {count(found.torn_bytes, 'byte')} of a write that was cut off:"
            " no damage"
        )
    if found.manifest_torn_bytes:
        note(
            f"oor: the manifest ends in {count(found.manifest_torn_bytes, 'byte')} of an edit"
            " that was cut off: no damage"
        )
    if found.orphans and not found.clean and not found.damage:
        note(
            f"oor: {count(len(found.orphans), 'file')} will be removed by the next open:"
            f" {', '.join(found.orphans)}"
        )
    return exits.DAMAGE if found.damage else exits.FINE


# ---- manifest ------------------------------------------------------------------------------------


@click.command()
@store_argument
@json_option
def manifest(db: str, as_json: bool) -> int:
    """Print the manifest of DB, edit by edit. Lines that do not verify are shown as such."""
    require_store(db)
    with ReadLock(db):
        path = os.path.join(db, names.manifest_name(read_current(db)))
        data = native.read_file(path)
    damaged = 0
    offset = 0
    for line in data.splitlines(keepends=True):
        content = decode_line(line.rstrip(b"\n"))
        if content is None:
            damaged += 1
            note(f"oor: {path}: offset {offset:,}: a line of {len(line):,} bytes does not verify")
        elif as_json:
            emit(content)
        else:
            _print_edit(content)
        offset += len(line)
    return exits.DAMAGE if damaged else exits.FINE


def _print_edit(content: dict[str, Any]) -> None:
    edit = dict(content["edit"])
    if "format" in content:
        print(f"{'database':>8}  {content['id']}, manifest format {content['format']}")
    head = f"{content['n']:>8} "
    moved = {meta["number"] for _, meta in edit.get("add", ())} & set(edit.get("remove", ()))
    parts = [
        f"{name.replace('_', ' ').replace('lsn', 'LSN')} {value:,}"
        for name, value in edit.items()
        if name not in ("add", "remove", "closed")
    ]
    print(f"{head} {', '.join(parts)}{', closed' if edit.get('closed') else ''}")
    for number in edit.get("remove", ()):
        if number not in moved:
            print(f"{'-':>8}  {names.table_name(number)}")
    for level, meta in edit.get("add", ()):
        print(
            f"{'=' if meta['number'] in moved else '+':>8}  {names.table_name(meta['number'])}"
            f"  level {level}  {count(meta['entries'], 'entry', 'entries')}, {size(meta['size'])},"
            f" LSN {meta['first_lsn']:,} to {meta['last_lsn']:,}"
        )
