"""Backups: a second store, consistent and verified, whose tables are hard links to the first one's.

    backup := CURRENT MANIFEST-N table*                  a store that was closed in order, no log

A backup never copies a live log: it flushes, takes the tables of one version, and writes a manifest
of its own for them. It is made beside its target, verified there, and gets its name last, so that a
crash leaves the whole of it or nothing under that name.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from oor import names, native
from oor.errors import CorruptionError, LimitError, StorageError
from oor.flush import flush_all
from oor.manifest import Manifest, ManifestState
from oor.pins import Moment, Pins, Work
from oor.state import State, now
from oor.table import TableMeta
from oor.verify import verify

PARTIAL = ".partial"
"""How the name of a backup ends until it is whole."""
COPY_BYTES = 1 << 20
"""Read and written at once where there are no hard links."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is whole and durable. Bytes of its tables."""

    path: str
    first_lsn: int
    """The lowest LSN that a table may still hold; 0 if there is none."""
    last_lsn: int
    """Everything up to here is in it, and nothing behind."""
    tables: int
    entries: int
    """Tombstones included."""
    bytes: int
    copied_bytes: int
    """Of those, what was copied, where a hard link cannot be had: on another file system."""
    verified: bool
    """Whether every byte of it was read again."""
    seconds: float


def backup(state: State, target: str, pins: Pins, *, verified: bool = True) -> Backup:
    """Make a backup of everything that was committed before the call under the name `target`.

    Writers and readers go on; tables that a compaction replaces meanwhile keep their names until
    they have second ones. Raises LimitError if `target` is there already or lies in the store,
    CorruptionError if what is backed up does not verify, DiskFullError, StorageError; nothing is
    under the name then. Cost: a flush, a link a table, and with `verified` one read of all of it.
    """
    began = now()
    target = os.path.abspath(target)
    _check_target(state, target)
    flush_all(state)
    partial = target + PARTIAL
    _clear(partial)
    with Work("backup", pins) as work:
        metas, last_lsn, copied = _take_tables(state, partial, work)
        _write_manifest(state, partial, metas, last_lsn)
        if verified:
            _verify(partial)
    native.rename(partial, target)
    native.sync_dir(os.path.dirname(target))
    tables = [meta for _, meta in metas.values()]
    return Backup(
        path=target,
        first_lsn=min((meta.first_lsn for meta in tables), default=0),
        last_lsn=last_lsn,
        tables=len(tables),
        entries=sum(meta.entries for meta in tables),
        bytes=sum(meta.size for meta in tables),
        copied_bytes=copied,
        verified=verified,
        seconds=now() - began,
    )


def _check_target(state: State, target: str) -> None:
    parent = os.path.dirname(target)
    if native.exists(target):
        raise LimitError("a backup needs a name that is not there yet", path=target)
    if not native.exists(parent):
        raise LimitError("the directory that the backup would be made in is not there", path=parent)
    inside = os.path.realpath(parent)
    store = os.path.realpath(state.directory)
    if inside == store or inside.startswith(store + os.sep):
        raise LimitError("a backup lies outside of the store", path=target)


def _clear(partial: str) -> None:
    """An empty directory, whatever an earlier attempt left there."""
    if not native.exists(partial):
        native.make_dir(partial)
        native.sync_dir(os.path.dirname(partial))
    for name in native.list_dir(partial):
        native.unlink(os.path.join(partial, name))


def _take_tables(
    state: State, partial: str, work: Work
) -> tuple[dict[int, tuple[int, TableMeta]], int, int]:
    """Number -> (level, meta) of the tables that now have a second name or a copy in `partial`, the
    LSN up to which they hold everything, and the bytes that were copied."""
    metas: dict[int, tuple[int, TableMeta]] = {}
    to_copy: list[tuple[native.File, str]] = []
    try:
        # No table loses its name while this is held; what is open can be copied afterwards.
        with state.table_names:
            with state.lock:
                version, last_lsn = state.view.version, state.flushed_lsn
            work.hold(Moment(version, (), last_lsn))
            for level, tables in enumerate(version.levels):
                for table in tables:
                    number = table.meta.number
                    metas[number] = (level, table.meta)
                    target = os.path.join(partial, names.table_name(number))
                    if not _link(table.path, target):
                        to_copy.append((native.File(table.path, native.READ), target))
        copied = sum(_copy(source, target) for source, target in to_copy)
    finally:
        for source, _ in to_copy:
            source.close()
    return metas, last_lsn, copied


def _link(source: str, target: str) -> bool:
    """Give a table its second name; False where there is none to be had."""
    try:
        native.link(source, target)
    except StorageError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            return False
        raise
    return True


def _copy(source: native.File, target: str) -> int:
    size = source.size()
    with native.File(target, native.WRITE | native.CREATE | native.EXCLUSIVE) as file:
        for offset in range(0, size, COPY_BYTES):
            file.write(source.read(min(COPY_BYTES, size - offset), offset), offset)
        file.sync()
    return size


def _write_manifest(
    state: State, partial: str, metas: dict[int, tuple[int, TableMeta]], last_lsn: int
) -> None:
    """As of a store that was closed in order, with an id of its own: the logs of two stores are
    never taken for each other's."""
    content = ManifestState(
        database_id=os.urandom(16),
        epoch=state.manifest.state.epoch,
        next_number=max(metas, default=0) + 1,
        flushed_lsn=last_lsn,
        next_lsn=last_lsn + 1,
        durable_lsn=last_lsn,
        checkpoint_lsn=last_lsn,
        closed=True,
        tables=metas,
    )
    Manifest.create(partial, content.next_number, content).close()


def _verify(partial: str) -> None:
    found = verify(partial)
    if found.damage:
        raise CorruptionError(
            f"no backup was made, since what it would hold is damaged: {found.damage[0]}",
            path=partial,
        )
