"""oor: a durable, log-structured store for Python, made for orbital element sets.

    import oor

    with oor.open("catalog.oor", durability="interval") as db:
        lsn = db.put(b"25544", b"ISS")
        db.wait_durable(lsn)

`oor.open` returns an `oor.DB`; `oor.Options` lists what can be set; every exception derives from
`oor.OorError`. Element sets are in `oor.registry`.
"""

from oor.batch import WriteBatch
from oor.checkpoint import Checkpoint
from oor.db import DB, open
from oor.errors import (
    CancelledError,
    ClosedError,
    CorruptionError,
    DiskFullError,
    FailedError,
    FormatError,
    LimitError,
    LockedError,
    OorError,
    StorageError,
    WaitTimeout,
    WouldStallError,
)
from oor.options import Durability, Options
from oor.recovery import RecoveryReport
from oor.snapshot import Snapshot
from oor.stats import Stats

__version__ = "0.1.0"

__all__ = [
    "DB",
    "CancelledError",
    "Checkpoint",
    "ClosedError",
    "CorruptionError",
    "DiskFullError",
    "Durability",
    "FailedError",
    "FormatError",
    "LimitError",
    "LockedError",
    "OorError",
    "Options",
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
