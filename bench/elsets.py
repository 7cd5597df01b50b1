"""Element sets as workloads: a TLE file into a store, and the newest set of every object out of it.

oor does it by its registry. For the others it is what their users write: sgp4 reads the lines, the
key is (catalog number, epoch), and the newest sets are those that a scan meets last.
"""

from __future__ import annotations

import os
import shutil

import oor
from bench import registry
from bench.records import Data, Session, Work
from bench.stores import Oor, Store
from oor.registry import Registry
from oor.registry.synthetic import SyntheticCatalogue

OBJECTS = 5000
ISSUES = 2
SETS = SyntheticCatalogue(OBJECTS, ISSUES).set_count


def write_text(directory: str) -> str:
    """A TLE file of SETS sets; returns its path."""
    path = os.path.join(directory, "text.tle")
    with open(path, "wb") as file:
        file.writelines(SyntheticCatalogue(OBJECTS, ISSUES).chunks())
    return path


class IngestSession(Session):
    """A file into an empty store, again and again; opening and closing are part of it."""

    def __init__(self, kind: type[Store], directory: str, data: Data) -> None:
        self._kind = kind
        self._text = write_text(directory)
        self._path = os.path.join(directory, "store")

    def prepare(self, number: int) -> Work:
        shutil.rmtree(self._path, ignore_errors=True)
        return self._ingest

    def _ingest(self) -> None:
        if self._kind is Oor:
            count = registry.into_oor(self._path, self._text)
        else:
            count = registry.into_peer(self._kind, self._path, self._text)
        assert count == SETS


class LatestSession(Session):
    """All newest sets of a store that is settled."""

    def __init__(self, kind: type[Store], directory: str, data: Data) -> None:
        path = os.path.join(directory, "store")
        text = write_text(directory)
        if kind is Oor:
            registry.into_oor(path, text)
            self._db = oor.open(path)
            self._db.compact()
            self._work: Work = self._ask_registry
            self._close = self._db.close
        else:
            registry.into_peer(kind, path, text)
            self._store = kind(path, False)
            self._store.settle()
            self._work = self._scan
            self._close = self._store.close

    def prepare(self, number: int) -> Work:
        return self._work

    def _ask_registry(self) -> None:
        assert sum(1 for _ in Registry(self._db).latest_all()) == OBJECTS

    def _scan(self) -> None:
        newest = {bytes(key[:4]): value for key, value in self._store.scan()}
        assert len(newest) == OBJECTS

    def close(self) -> None:
        self._close()
