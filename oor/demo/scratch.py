"""Where the demonstration works: a folder of its own, outside any store, that goes when it ends."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def scratch(keep: bool = False, *, below: str | None = None) -> Iterator[str]:
    """A new folder, `below` another one if that is named; removed at the end unless it is to be
    kept.
    """
    if keep:
        yield tempfile.mkdtemp(prefix="oor-demo-", dir=below)
        return
    with tempfile.TemporaryDirectory(prefix="oor-demo-", dir=below) as directory:
        yield directory


@contextlib.contextmanager
def as_file(data: bytes) -> Iterator[IO[bytes]]:
    """A nameless file that holds `data`, to be a child's standard input."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file
