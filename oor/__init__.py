"""oor: a durable, log-structured store for Python, made for orbital element sets.

    import oor

    with oor.open("catalog.oor", durability="interval") as db:
        lsn = db.put(b"25544", b"ISS")
        db.wait_durable(lsn)

`oor.open` returns an `oor.DB`; `oor.Options` lists what can be set; every exception derives from
`oor.OorError`. Element sets are in `oor.registry`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oor.backup import Backup
    from oor.batch import WriteBatch
    from oor.checkpoint import Checkpoint
    from oor.columns import ColumnChunk
    from oor.db import DB, open
    from oor.errors import (
        CancelledError,
        ClosedError,
        CodecError,
        CorruptionError,
        DiskFullError,
        FailedError,
        FormatError,
        LimitError,
        LockedError,
        OorError,
        OutOfMemoryError,
        ReadOnlyError,
        StorageError,
        WaitTimeout,
        WouldStallError,
    )
    from oor.options import Durability, Options
    from oor.pins import Pin
    from oor.reader import ReadOnlyDB
    from oor.recovery import RecoveryReport
    from oor.snapshot import Snapshot
    from oor.stats import Stats

__version__ = "0.1.0"

__all__ = [
    "DB",
    "Backup",
    "CancelledError",
    "Checkpoint",
    "ClosedError",
    "CodecError",
    "ColumnChunk",
    "CorruptionError",
    "DiskFullError",
    "Durability",
    "FailedError",
    "FormatError",
    "LimitError",
    "LockedError",
    "OorError",
    "Options",
    "OutOfMemoryError",
    "Pin",
    "ReadOnlyDB",
    "ReadOnlyError",
    "RecoveryReport",
    "Snapshot",
    "Stats",
    "StorageError",
    "WaitTimeout",
    "WouldStallError",
    "WriteBatch",
    "__version__",
    "open",
]

# The engine is loaded when something of it is first asked for: `oor --help` and a look at the
# version should not pay for it.
_HOMES = {
    "DB": "db",
    "Backup": "backup",
    "Checkpoint": "checkpoint",
    "ColumnChunk": "columns",
    "Durability": "options",
    "Options": "options",
    "Pin": "pins",
    "ReadOnlyDB": "reader",
    "RecoveryReport": "recovery",
    "Snapshot": "snapshot",
    "Stats": "stats",
    "WriteBatch": "batch",
    "open": "db",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'oor' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"oor.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
