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
from oor.registry import Registry, ingest
from oor.registry.synthetic import SyntheticCatalogue

OBJECTS = 10_000
ISSUES = 2
SETS = SyntheticCatalogue(OBJECTS, ISSUES).set_count


def write_text(directory: str) -> str:
    """A TLE file of SETS sets; returns its path."""
    path = os.path.join(directory, "text.tle")
    with open(path, "wb") as file:
        file.writelines(SyntheticCatalogue(OBJECTS, ISSUES).chunks())
    return path


class IngestSession(Session):
    """A file into an empty store, again and again."""

    def __init__(self, kind: type[Store], directory: str, data: Data) -> None:
        self._kind = kind
        self._text = write_text(directory)
        self._path = os.path.join(directory, "store")
        self._close: Work | None = None

    def prepare(self, number: int) -> Work:
        self.close()
        shutil.rmtree(self._path, ignore_errors=True)
        if self._kind is Oor:
            db = oor.open(self._path, durability="interval")
            self._close = db.close
            return lambda: self._check(ingest(db, [self._text]).read)
        store = self._kind(self._path, durable=False)
        self._close = store.close
        return lambda: self._check(registry.write_all(store, self._text))

    def _check(self, count: int) -> None:
        assert count == SETS

    def close(self) -> None:
        if self._close is not None:
            self._close()
        self._close = None


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
