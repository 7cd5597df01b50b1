"""Flush: the oldest immutable memtable becomes a table of level 0.

The order is what makes it safe to crash anywhere: table written and synced, its name synced, the
manifest edit synced, only then the view changes and the log lets go of what the table holds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from oor import native
from oor.bulk import Bulk
from oor.codec import codec_at
from oor.errors import DiskFullError, OorError
from oor.memtable import Memtable
from oor.names import table_name
from oor.options import Options
from oor.state import State
from oor.table import Table, TableMeta, TableOptions, write_run
from oor.telemetry import reported
from oor.version import VersionEdit

CHUNK_PAIRS = 1000
"""Pairs that cross to C at once: the interpreter lock is free between two chunks."""


def table_options(options: Options, level: int = 0) -> TableOptions:
    """How this store's tables of a level are laid out."""
    return TableOptions(
        block_size=options.block_bytes,
        restart_interval=options.restart_interval,
        filter_bits=options.filter_bits,
        prefix_size=options.prefix_filter_bytes,
        codec=codec_at(options, level),
        codec_level=options.compression_level,
    )


def chunks_of(memtable: Memtable) -> Iterator[tuple[list[bytes], list[bytes | None]]]:
    """The pairs of a memtable that nobody writes to, in chunks, in no order; not its columns."""
    data = memtable.data
    pairs = data.single if isinstance(data, Bulk) else data
    # Side by side, since an object for each pair would make the collector run.
    keys, values = iter(pairs), iter(pairs.values())
    while chunk := list(islice(keys, CHUNK_PAIRS)):
        yield chunk, list(islice(values, CHUNK_PAIRS))


def time_of_day() -> int:
    """Seconds since 1970, by the clock."""
    return int(time.time())


def write_table(
    directory: str, number: int, memtable: Memtable, options: Options, not_before: int = 0
) -> TableMeta:
    """Write a memtable as table `number`; its bytes and its name are durable when this returns.

    Its time is the clock's, or `not_before` where the clock was set back.
    On failure nothing refers to the file, and it is removed if the disk allows it.
    """
    path = f"{directory}/{table_name(number)}"
    try:
        meta = write_run(
            path,
            number,
            chunks_of(memtable),
            table_options(options),
            memtable.first_lsn,
            memtable.last_lsn,
            memtable.data.add_to if isinstance(memtable.data, Bulk) else None,
        )
        native.sync_dir(directory)
    except OorError:
        if native.exists(path):
            native.unlink(path)
        raise
    return replace(meta, written=max(time_of_day(), not_before))


def _facts(meta: TableMeta | None) -> dict[str, int] | None:
    if meta is None:
        return None
    return {"table": meta.number, "entries": meta.entries, "bytes": meta.size}


@reported("oor.flush", _facts)
def flush_oldest(state: State) -> TableMeta | None:
    """Flush one memtable; None if none is waiting.

    DiskFullError leaves the memtable where it is, to be flushed later; its mutations are in the
    log.
    """
    with state.flush_lock:
        immutables = state.view.immutables
        if not immutables:
            return None
        state.check_not_failed()
        memtable = immutables[-1]
        # For as long as it takes to write them, its pairs are in memory twice.
        native.trim()
        try:
            # The tables never know more than the log: recovery may rely on it.
            state.log.sync(memtable.last_lsn)
            meta = write_table(
                state.directory,
                state.manifest.new_number(),
                memtable,
                state.options,
                max((table.meta.written for table in state.view.version.tables()), default=0),
            )
            table = Table.open(state.directory, meta, state.cache)
            edit = VersionEdit(
                add=((0, meta),),
                flushed_lsn=memtable.last_lsn,
                log_start=state.log.first_needed_segment(memtable.last_lsn),
            )
            state.install(edit, {meta.number: table}, flushed=memtable)
        except DiskFullError:
            raise
        except OorError as error:
            state.fail(error)
            raise
        # Its memory is wanted back before the log has been cut, which may take a while.
        del immutables, memtable
        state.cut_log()
        native.trim()
        return meta


def flush_all(state: State) -> int:
    """Flush everything that was committed before the call; returns the number of tables made."""
    with state.lock:
        state.check_not_failed()
        state.rotate_memtable()
        last_lsn = max((memtable.last_lsn for memtable in state.view.immutables), default=0)
    made = 0
    while state.flushed_lsn < last_lsn:
        if flush_oldest(state) is not None:
            made += 1
    return made
