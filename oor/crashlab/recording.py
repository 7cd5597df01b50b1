"""A recording of every operation that went through the door to the disk, and faults on demand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from oor import native
from oor.trace import ANY_OP, MUTATING, Event, How, Op, Trace, parse_events

__all__ = ["ANY_OP", "MUTATING", "Event", "How", "Op", "Recording", "Snapshot", "parse_events"]


@dataclass(slots=True)
class Snapshot:
    """A directory tree as it was: content by path, relative to the root ("" is the root itself)."""

    dirs: list[str] = field(default_factory=list)
    files: dict[str, tuple[tuple[int, int], bytes]] = field(default_factory=dict)
    """path -> ((device, inode), content); two names of one file have the same pair."""

    @classmethod
    def of(cls, root: str) -> Snapshot:
        """Read everything below `root`."""
        found = cls()
        for folder, _, names in os.walk(root):
            below = os.path.relpath(folder, root)
            found.dirs.append("" if below == "." else below)
            for name in names:
                path = os.path.join(folder, name)
                status = os.stat(path)
                identity = status.st_dev, status.st_ino
                found.files[os.path.relpath(path, root)] = identity, native.read_file(path)
        return found

    @classmethod
    def holding(cls, dirs: tuple[str, ...], files: Mapping[str, bytes]) -> Snapshot:
        """A tree in which every name has a file of its own."""
        numbered = {path: ((0, n), content) for n, (path, content) in enumerate(files.items())}
        return cls(["", *dirs], numbered)


class Recording(Trace):
    """A trace of what happens below `root`, with a picture of `root` as it was at the start.

    `start` is that picture where the caller knows it, as for a disk in memory.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        payloads: bool = True,
        start: Snapshot | None = None,
    ) -> None:
        super().__init__(payloads=payloads)
        self.root = os.path.realpath(root)
        self.snapshot = Snapshot()
        self._start = start

    def __enter__(self) -> Self:
        self.snapshot = Snapshot.of(self.root) if self._start is None else self._start
        return super().__enter__()
