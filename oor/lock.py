"""One writing process a store: locks that die with their owner, and a file that names him."""

from __future__ import annotations

import json
import os
import socket
import time

from oor import names, native
from oor.errors import LockedError, OorError


class StoreLock:
    """Holds the directory and its LOCK file locked until `release`.

    Both, since a lock file can be removed while it is locked and a directory cannot while it is not empty.
    The locks belong to the open descriptions: a second open in this process is refused too, and a process
    that dies gives them up.
    """

    def __init__(self, directory: str) -> None:
        path = os.path.join(directory, names.LOCK)
        self._directory = native.File(directory, native.READ)
        try:
            self._file = native.File(path, native.READ | native.WRITE | native.CREATE)
            if not self._directory.lock() or not self._file.lock():
                raise LockedError(f"the store is open already: {_owner(self._file)}", path=directory)
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%FT%TZ", time.gmtime())}
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


def _owner(file: native.File) -> str:
    try:
        found = json.loads(file.read(4096))
        return f"by process {found['pid']} on {found['host']} since {found['since']}"
    except (OorError, ValueError, KeyError, TypeError):
        return "by an owner that its lock file does not name"
