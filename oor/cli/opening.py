"""Opening stores for commands: to read, to write, or not at all."""

from __future__ import annotations

import os

import oor
from oor import names, native
from oor.cli.output import count, milliseconds, note
from oor.errors import OorError


def require_store(path: str) -> None:
    """Raise if there is no store at `path`: a command that reads makes none."""
    if not native.exists(path) or not native.list_dir(path):
        raise OorError("there is no store here; `oor ingest` makes one", path=path)
    if not any(
        names.parse(name)[0] is not names.FileKind.FOREIGN for name in native.list_dir(path)
    ):
        raise OorError("this directory is no store", path=path)


def open_to_read(path: str) -> oor.DB:
    """Open what is there, recovered, without threads of its own."""
    require_store(path)
    db = oor.open(path, create=False, background=False)
    tell_recovery(db)
    return db


def tell_recovery(db: oor.DB) -> None:
    """Say it when opening had something to redo: it explains the time that it took."""
    report = db.recovery
    if report.records:
        note(
            f"oor: recovered {count(report.records, 'mutation')} of the log "
            f"(LSN {report.first_lsn:,} to {report.last_lsn:,}) in {milliseconds(report.seconds)}"
        )


def size_of(path: str) -> int:
    """Bytes of all files of a store."""
    return sum(os.stat(os.path.join(path, name)).st_size for name in native.list_dir(path))
