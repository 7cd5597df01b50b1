"""Runs a compaction: reads inputs, writes outputs, accounts for every entry."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from oor import names, native
from oor.compaction.job import CompactionOptions, Job, Part
from oor.compaction.pace import SLICE_BYTES, Pace
from oor.compaction.progress import Running
from oor.errors import CancelledError, CorruptionError, OorError
from oor.native import check, ffi, lib, owned
from oor.table import Table, TableMeta
from oor.telemetry import reported
from oor.version import Version, VersionEdit

_UNLIMITED = (1 << 64) - 1


def _facts(edit: VersionEdit) -> dict[str, int]:
    return {
        "inputs": len(edit.remove),
        "outputs": len(edit.add),
        "level": max((level for level, _ in edit.add), default=0),
        "bytes_out": sum(meta.size for _, meta in edit.add),
    }


@reported("oor.compaction", _facts)
def run(
    running: Running,
    version: Version,
    directory: str,
    next_number: Callable[[], int],
    options: CompactionOptions,
    pace: Pace | None = None,
) -> VersionEdit:
    """Merge the job's inputs and return the edit that replaces them by the outputs.

    When this returns, the outputs and their names are durable; nothing else has changed. After any
    failure the outputs are gone. `next_number` gives file numbers that were never used.
    Cost: reads and writes every byte of the inputs once, in C, without the interpreter lock, in
    slices of some MiB between which it does what `pace` says.
    Raises CancelledError, CorruptionError (an input is damaged, or the counts do not add up),
    DiskFullError, StorageError.
    """
    job = running.job
    assert job.numbers() <= version.table_numbers(), "a job of another version"
    remove = tuple(table.meta.number for table in job.replaced)
    if job.drops:
        return VersionEdit(remove=remove)
    if job.moves:
        return VersionEdit(
            remove=remove, add=tuple((job.target, table.meta) for table in job.inputs)
        )
    written: list[str] = []
    try:
        outputs = _merge(running, directory, next_number, options, pace, written)
        if written:
            native.sync_dir(directory)
    except BaseException:
        _remove(written)
        raise
    return VersionEdit(remove=remove, add=tuple((job.target, meta) for meta in outputs))


def _merge(
    running: Running,
    directory: str,
    next_number: Callable[[], int],
    options: CompactionOptions,
    pace: Pace | None,
    written: list[str],
) -> list[TableMeta]:
    """Write the outputs; every path that may have come to be is put into `written` first."""
    job = running.job
    part, _keys = _raw_part(job.part)
    raw = owned(
        lib.oor_compaction_new(*_handles(job.inputs), *_handles(job.below), job.next_count, part),
        lib.oor_compaction_free,
    )
    props = ffi.new("oor_table_props *")
    counts = ffi.new("oor_compaction_counts *")
    # Level 0 has no order by key, so what goes back into it stays one table.
    size_max = options.table_bytes if job.target else _UNLIMITED
    limits = ffi.new("oor_compaction_limits *", (size_max, options.overlap_max, 1))
    table_options = options.table(job.target).raw()
    entries, size = job.entries, job.size
    when = max(table.meta.written for table in job.inputs)
    outputs: list[TableMeta] = []
    running.attach(raw)
    step, number, raw_path = lib.OOR_COMPACTION_TABLE, 0, b""
    try:
        while step != lib.OOR_COMPACTION_END:
            slice_bytes = pace.turn(running) if pace else SLICE_BYTES
            if running.cancelled:
                raise CancelledError("compaction cancelled")
            limits.slice_entries = 1 + entries * slice_bytes // size
            if step == lib.OOR_COMPACTION_TABLE:
                number = next_number()
                written.append(os.path.join(directory, names.table_name(number)))
                raw_path = os.fsencode(written[-1])
            step = check(
                lib.oor_compaction_next(raw, raw_path, number, table_options, limits, props)
            )
            if step == lib.OOR_COMPACTION_TABLE:
                outputs.append(replace(TableMeta.of(props), written=when))
            lib.oor_compaction_read_counts(raw, counts)
            running.bytes_read = min(size, size * counts.entries_in // entries)
            running.bytes_written = counts.bytes_out
    finally:
        running.attach(None)
    written.pop()
    _check_counts(job, outputs, counts)
    running.partial_entries = counts.partial_in
    ffi.release(raw)
    return outputs


def _handles(tables: tuple[Table, ...]) -> tuple[Any, int]:
    return ffi.new("oor_table *[]", [table.raw for table in tables]), len(tables)


def _raw_part(part: Part | None) -> tuple[Any, Any]:
    """The part as C takes it, and what it points to."""
    if part is None:
        return ffi.NULL, None
    keys = [None if key is None else ffi.from_buffer("uint8_t[]", key + b"\0")
            for key in (part.start, part.stop)]  # fmt: skip
    start, stop = (ffi.NULL if key is None else key for key in keys)
    sizes = (len(part.start or b""), len(part.stop or b""))
    return ffi.new("oor_compaction_part *", (start, stop, *sizes, part.count)), keys


def _check_counts(job: Job, outputs: list[TableMeta], counts: Any) -> None:
    """What the manifest knows of the inputs against what came out: in = out + dropped by rule.

    The rules are two: a newer entry of the key is among the inputs, or it is a tombstone with
    nothing under it. A snapshot drops out of the sum: it keeps whole tables, not entries. Of inputs
    that are read in parts, the last part is held against what all took.
    """
    promised = sum(table.meta.entries for table in job.whole) + counts.partial_in
    if job.part is not None and job.part.is_last:
        taken = job.part.taken + counts.partial_in
        if taken != (entries := sum(table.meta.entries for table in job.partial)):
            raise CorruptionError(
                f"compaction: the parts of it took {taken} of {entries} entries",
                path=job.inputs[0].path,
            )
    kept = sum(meta.entries for meta in outputs)
    if (
        counts.entries_in != promised
        or counts.entries_out != kept
        or promised != kept + counts.shadowed + counts.tombstones
    ):
        raise CorruptionError(
            f"compaction: {promised} entries in, {kept} out, {counts.shadowed} shadowed and "
            f"{counts.tombstones} tombstones dropped do not add up",
            path=job.inputs[0].path,
        )


def _remove(paths: list[str]) -> None:
    """Unlink outputs of a failed compaction; what cannot go now, undo removes later."""
    for path in paths:
        with contextlib.suppress(OorError):
            if native.exists(path):
                native.unlink(path)
