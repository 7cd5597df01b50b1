"""One writing process a store: locks that die with their owner, and a file that names him."""

from __future__ import annotations

import json
import os
import time

from oor import names, native
from oor.errors import LockedError, OorError


class StoreLock:
    """Holds the directory and its LOCK file locked until `release`.

    Both, since a lock file can be removed while it is locked and a directory cannot while it is not
    empty. The locks belong to the open descriptions: a second open in this process is refused too,
    and a process that dies gives them up.
    """

    def __init__(self, directory: str) -> None:
        path = os.path.join(directory, names.LOCK)
        self._directory = native.File(directory, native.READ)
        try:
            self._file = native.File(path, native.READ | native.WRITE | native.CREATE)
            if not self._directory.lock() or not self._file.lock():
                raise LockedError(
                    f"the store is open already: {_owner(self._file)}", path=directory
                )
            owner = {
                "pid": os.getpid(),
                "host": os.uname().nodename,
                "since": time.strftime("%FT%TZ", time.gmtime()),
            }
            data = json.dumps(owner).encode("ascii") + b"\n"
            self._file.truncate(0)
            self._file.write(data, 0)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the locks up. In a forked child this leaves the parent's locks as they are."""
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()
        self._directory.close()


class ReadLock:
    """Keeps a store from being opened while somebody reads its files as they lie; changes nothing.

    Raises LockedError if it is open already, StorageError if there is no such directory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = native.File(directory, native.READ)
        try:
            if not self._directory.lock():
                raise LockedError(
                    f"the store is open already: {_owner_in(directory)}", path=directory
                )
        except BaseException:
            self._directory.close()
            raise

    def __enter__(self) -> ReadLock:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.close()


def owner_of(directory: str) -> str | None:
    """Who has the store open, as far as its lock file and this machine's processes tell.

    No lock is tried, since one that is held for an instant refuses somebody else's open. None if
    the process that is named is gone; one on another machine counts as there.
    """
    try:
        with native.File(os.path.join(directory, names.LOCK), native.READ) as file:
            found = json.loads(file.read(4096))
            if found["host"] == os.uname().nodename:
                os.kill(int(found["pid"]), 0)
            return f"process {found['pid']} on {found['host']} since {found['since']}"
    except PermissionError:
        return f"process {found['pid']} on {found['host']} since {found['since']}"
    except (OorError, OSError, ValueError, KeyError, TypeError):
        return None


def _owner_in(directory: str) -> str:
    try:
        with native.File(os.path.join(directory, names.LOCK), native.READ) as file:
            return _owner(file)
    except OorError:
        return "by an owner that no lock file names"


def _owner(file: native.File) -> str:
    try:
        found = json.loads(file.read(4096))
        return f"by process {found['pid']} on {found['host']} since {found['since']}"
    except (OorError, ValueError, KeyError, TypeError):
        return "by an owner that its lock file does not name"
