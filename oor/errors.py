"""What can go wrong, as exceptions that say what, where, and what to do next.

Every exception of the package derives from `OorError`; those that a device or a file system caused
derive from `OSError` too and carry its errno. All are picklable.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar


class OorError(Exception):
    """The root of every exception that oor raises.

    `path`, `segment`, `offset`, `first_lsn` and `last_lsn` say where, as far as that is known;
    a field that does not apply is None.
    """

    path: str | None
    segment: int | None
    offset: int | None
    first_lsn: int | None
    last_lsn: int | None
    errno: int | None
    """Of the system call that failed; None for a failure that is no system call's."""
    advice: str = ""
    """What to do next; stands at the end of the text."""

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        segment: int | None = None,
        offset: int | None = None,
        first_lsn: int | None = None,
        last_lsn: int | None = None,
        errno: int | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(message)
        if advice is not None:
            self.advice = advice
        self.message = message
        self.path = path
        self.segment = segment
        self.offset = offset
        self.first_lsn = first_lsn
        self.last_lsn = last_lsn
        self.errno = errno

    def __str__(self) -> str:
        return f"{self.described()}; {self.advice}" if self.advice else self.described()

    def described(self) -> str:
        """The text without the advice: what happened, and where."""
        where = [
            f"{name} {value}"
            for name, value in (
                ("path", self.path),
                ("segment", self.segment),
                ("offset", self.offset),
                ("first lsn", self.first_lsn),
                ("last lsn", self.last_lsn),
            )
            if value is not None
        ]
        return f"{self.message} [{', '.join(where)}]" if where else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.path, self.segment, self.offset, self.first_lsn, self.last_lsn, self.errno)
        return _rebuild, (type(self), self.message, fields, self.__dict__.copy())


def _rebuild(
    cls: type[OorError], message: str, fields: tuple[Any, ...], extra: dict[str, Any]
) -> OorError:
    path, segment, offset, first_lsn, last_lsn, errno = fields
    error = cls.__new__(cls)
    OorError.__init__(
        error, message, path=path, segment=segment, offset=offset,
        first_lsn=first_lsn, last_lsn=last_lsn, errno=errno,
    )  # fmt: skip
    error.__dict__.update(extra)
    return error


class StorageError(OorError, OSError):
    """The operating system refused an operation on a file; `errno` says why."""


class DiskFullError(StorageError):
    """No room. Nothing acknowledged is lost; the same handle writes on once there is room."""


class FailedError(StorageError):
    """A write or sync failed for good: this handle only reads from now on. Open the store again.

    What was being written is indeterminate: it may or may not be there after the next open.
    """


class CorruptionError(OorError):
    """Bytes that were promised durable are damaged or missing; `advice` says what to do."""

    advice = (
        "run `oor verify` to see how much, restore a backup, "
        'or open with recovery="salvage" to keep what verifies'
    )


RESTORE = "restore a backup"
"""The advice where salvage cannot help: what names the files of a store is damaged itself."""


class FormatError(OorError):
    """A file of a format or version that this build does not read."""


class CodecError(FormatError):
    """A table is packed with a codec whose library is not on this machine.

    Nothing is damaged: install the package that the message names and open the store again.
    """


class LockedError(OorError):
    """Another process, or another handle of this one, has the store open for writing."""


class ClosedError(OorError):
    """The handle was closed, or belongs to the process that this one was forked from."""


class ReadOnlyError(OorError):
    """A write to a handle that was opened with read_only=True."""


class LimitError(OorError, ValueError):
    """A key, value, batch or option is past its documented limit."""


class OutOfMemoryError(OorError, MemoryError):
    """An allocation of the C half failed; nothing was changed."""

    def __new__(cls, *_: Any, **__: Any) -> OutOfMemoryError:
        # MemoryError's own makes no instances of subclasses with another base in front.
        return Exception.__new__(cls)


class WouldStallError(OorError):
    """The write would have to wait for a flush or a compaction, and was asked not to."""


class WaitTimeout(OorError, TimeoutError):
    """The time given to a wait has passed; the write itself may still become durable."""


class CancelledError(OorError):
    """The work was asked to stop before it was done; nothing of it remains."""


E = TypeVar("E", bound=OorError)


def bare(error: E) -> E:
    """The same error without the frames that it came through, to keep or to raise anew.

    Frames hold what they worked with, tables and their descriptors too.
    """
    return copy.copy(error)
