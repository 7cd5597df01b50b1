"""Runs a compaction: reads inputs, writes outputs, accounts for every entry."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from oor import names, native
from oor.compaction.job import Cancel, CompactionOptions, Job
from oor.errors import CancelledError, CorruptionError, OorError
from oor.native import check, ffi, lib, owned
from oor.table import Table, TableMeta
from oor.version import Version, VersionEdit


def run(
    job: Job,
    version: Version,
    directory: str,
    next_number: Callable[[], int],
    options: CompactionOptions,
    cancel: Cancel,
) -> VersionEdit:
    """Merge the job's inputs and return the edit that replaces them by the outputs.

    When this returns, the outputs and their names are durable; nothing else has changed. After any
    failure the outputs are gone. `next_number` gives file numbers that were never used.
    Cost: reads and writes every byte of the inputs once, in C, without the interpreter lock.
    Raises CancelledError, CorruptionError (an input is damaged, or the counts do not add up),
    DiskFullError, StorageError.
    """
    live = version.table_numbers()
    assert all(table.meta.number in live for table in job.inputs), "a job of another version"
    remove = tuple(table.meta.number for table in job.inputs)
    if job.moves:
        return VersionEdit(
            remove=remove, add=tuple((job.target, table.meta) for table in job.inputs)
        )
    written: list[str] = []
    try:
        outputs = _merge(job, directory, next_number, options, cancel, written)
        if written:
            native.sync_dir(directory)
    except BaseException:
        _remove(written)
        raise
    return VersionEdit(remove=remove, add=tuple((job.target, meta) for meta in outputs))


def _merge(
    job: Job,
    directory: str,
    next_number: Callable[[], int],
    options: CompactionOptions,
    cancel: Cancel,
    written: list[str],
) -> list[TableMeta]:
    """Write the outputs; every path that may have come to be is put into `written` first."""
    if cancel.is_set():
        raise CancelledError("compaction cancelled before it began")
    raw = owned(
        lib.oor_compaction_new(*_handles(job.inputs), *_handles(job.below)), lib.oor_compaction_free
    )
    props = ffi.new("oor_table_props *")
    table_options = options.table(job.target).raw()
    outputs: list[TableMeta] = []
    cancel.attach(raw)
    try:
        while True:
            number = next_number()
            path = os.path.join(directory, names.table_name(number))
            written.append(path)
            raw_path = os.fsencode(path)
            more = lib.oor_compaction_next(
                raw, raw_path, number, table_options, options.table_bytes, props
            )
            if check(more) == 0:
                written.pop()
                break
            outputs.append(TableMeta.of(props))
    finally:
        cancel.attach(None)
    counts = ffi.new("oor_compaction_counts *")
    lib.oor_compaction_read_counts(raw, counts)
    _check_counts(job, outputs, counts)
    ffi.release(raw)
    return outputs


def _handles(tables: tuple[Table, ...]) -> tuple[Any, int]:
    return ffi.new("oor_table *[]", [table.raw for table in tables]), len(tables)


def _check_counts(job: Job, outputs: list[TableMeta], counts: Any) -> None:
    """What the manifest knows of the inputs against what came out: in = out + dropped by rule."""
    promised = sum(table.meta.entries for table in job.inputs)
    kept = sum(meta.entries for meta in outputs)
    if (
        counts.entries_in != promised
        or counts.entries_out != kept
        or promised != kept + counts.shadowed + counts.tombstones
    ):
        raise CorruptionError(
            f"compaction: {promised} entries in, {kept} out, {counts.shadowed} shadowed and "
            f"{counts.tombstones} tombstones dropped do not add up"
        )


def _remove(paths: list[str]) -> None:
    """Unlink outputs of a failed compaction; what cannot go now, undo removes later."""
    for path in paths:
        with contextlib.suppress(OorError):
            if native.exists(path):
                native.unlink(path)
