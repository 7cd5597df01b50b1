"""Exit codes: what a script can rely on. README.md has the same table, and a test compares them."""

from __future__ import annotations

FINE = 0
REJECTS = DAMAGE = 1
ERROR = 2
DAMAGED = 3
LOCKED = 4
INTERRUPTED = 130

TABLE = {
    FINE: "fine",
    REJECTS: "more rejects than allowed, sets left out, damage found, or a failed demonstration",
    ERROR: "wrong usage, or an operation that could not be done",
    DAMAGED: "the store is damaged: an open refuses it",
    LOCKED: "another process has the store open",
    INTERRUPTED: "interrupted",
}


def code_of(error: BaseException) -> int:
    """The exit code that an exception of the package stands for."""
    from oor.errors import CorruptionError, LockedError

    if isinstance(error, LockedError):
        return LOCKED
    return DAMAGED if isinstance(error, CorruptionError) else ERROR
