"""A disk in memory behind the one door: nothing of it is real, so a state costs microseconds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from oor import native
from oor.native import check, ffi, lib

ROOT = "/memory"
"""The directory that stands for the machine's disk."""
STORE = f"{ROOT}/store"
"""Where workloads keep their store."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What went through the table so far, and what is open now."""

    calls: int
    bytes_read: int
    bytes_written: int
    files: int
    maps: int


class MemoryDisk:
    """Stands in for the real disk between `with` and its end; one at a time in a process.

    No store of this process may be open when it comes or goes. Paths below `ROOT` exist; no other
    path does.
    """

    def __enter__(self) -> Self:
        check(lib.oor_memory_install())
        native.make_dir(ROOT)
        return self

    def __exit__(self, *_: object) -> None:
        lib.oor_memory_remove()

    def clear(self) -> None:
        """Remove everything; `ROOT` is there and empty."""
        lib.oor_memory_clear()
        native.make_dir(ROOT)

    def put(self, dirs: tuple[str, ...], files: Mapping[str, bytes]) -> None:
        """Make the disk hold exactly this below `ROOT`. Cost: a copy of the bytes."""
        self.clear()
        for path in dirs:
            native.make_dir(f"{ROOT}/{path}")
        for path, content in files.items():
            check(lib.oor_memory_put(os.fsencode(f"{ROOT}/{path}"), content, len(content),
                                     len(content)))  # fmt: skip

    def files(self, directory: str = STORE) -> dict[str, bytes]:
        """The content of every file in a directory."""
        return {
            name: native.read_file(f"{directory}/{name}") for name in native.list_dir(directory)
        }

    def counts(self) -> Counts:
        """What went through the table so far."""
        raw = ffi.new("oor_memory_counts *")
        lib.oor_memory_read_counts(raw)
        return Counts(raw.calls, raw.bytes_read, raw.bytes_written, raw.files, raw.maps)
