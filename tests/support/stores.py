"""The stores that tests of the registry run on: one in memory, and the engine when it is there."""

from __future__ import annotations

import contextlib

import oor
from support.fakedb import FakeDB

KINDS = ["memory", "engine"] if hasattr(oor, "open") else ["memory"]


@contextlib.contextmanager
def opened(kind, directory):
    """A new, empty store of that kind."""
    path = str(directory / "catalog.oor")
    if kind == "memory":
        yield FakeDB(path)
    else:
        with oor.open(path, durability="os") as db:
            yield db
