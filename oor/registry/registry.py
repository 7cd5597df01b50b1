"""The registry of one database: its sources, its deliveries, and the questions one can ask it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from oor.errors import CorruptionError, FormatError, LimitError
from oor.registry import keys
from oor.registry.delivery import Delivery, deliveries
from oor.registry.elset import ElementSet
from oor.registry.questions import Accept, Questions
from oor.registry.store import Reader, Store

_SOURCE_FORMAT = 1


class Registry(Questions):
    """The element sets of one database. Cheap: it keeps only the names of sources.

    Threads: all calls are safe at once. Each question reads one moment; two may read two, unless
    they are asked of one `snapshot`.

        >>> import oor, os, tempfile
        >>> from oor.registry import Registry, ingest
        >>> folder = tempfile.mkdtemp()
        >>> with open(folder + "/vanguard.tle", "w") as file:
        ...     _ = file.write(
        ...         "1 00005U 58002B   24001.50000000  .00000000  00000-0  00000-0 0  9992\\n"
        ...         "2 00005  34.2500 100.0000 1845000 200.0000 150.0000 10.85000000000013\\n"
        ...     )
        >>> with oor.open(folder + "/catalog.oor") as db:
        ...     _ = ingest(db, [folder + "/vanguard.tle"], source="archive")
        ...     newest = Registry(db).latest(5)
        >>> newest.epoch.isoformat(), newest.inclination
        ('2024-01-01T12:00:00+00:00', Decimal('34.2500'))
    """

    def __init__(self, db: Store) -> None:
        super().__init__(db)
        self._db = db
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}

    @contextmanager
    def snapshot(self, *, whole: bool = False) -> Iterator[Questions]:
        """The catalogue as it is now, to ask more than one question of.

        With `whole` it holds only the sets of deliveries that are whole: what a delivery that is
        under way, was cut or was left in the middle has brought so far is not seen.
        """
        with self._db.snapshot() as reader:
            yield _Pinned(self, reader, _of_whole(reader) if whole else None)

    # ---- deliveries ----

    def deliveries(self, source: str | None = None) -> list[Delivery]:
        """All deliveries in the order in which they began; of one source if it is named."""
        found = deliveries(self._db)
        return [one for one in found if source is None or one.source == source]

    def last_whole(self, source: str | None = None) -> Delivery | None:
        """The last delivery that is whole, of one source if it is named; or None."""
        for one in deliveries(self._db, reverse=True):
            if one.whole and (source is None or one.source == source):
                return one
        return None

    def delivered(self, delivery: Delivery) -> Iterator[ElementSet]:
        """The sets that a delivery has stored, by catalog number and epoch.

        Sets that were there already are not among them. Cost: a scan of all sets.
        """
        with self._db.snapshot() as reader:
            yield from _Pinned(self, reader, delivery.covers).elements()

    def walk_latest(self) -> Iterator[ElementSet]:
        """As `latest_all`, from the sets themselves and not from the index."""
        with self._db.snapshot() as reader:
            for key, value in self._walked(reader):
                yield self._elset(key, value)

    # ---- sources ----

    def sources(self) -> dict[int, str]:
        """Id -> name of every source registered so far. FormatError for one of a later format."""
        names: dict[int, str] = {}
        for key, value in self._db.scan(prefix=keys.SOURCE_PREFIX):
            if not value or value[0] != _SOURCE_FORMAT:
                raise FormatError(
                    f"the source record {key.hex()} is of a format this build does not read"
                )
            names[keys.source_id_of(key)] = value[1:].decode("utf-8")
        with self._lock:
            self._names = names
        return dict(names)

    def source_id(self, name: str | None, *, durability: str | None = None) -> int:
        """The id of a source, registered now if it is new; 0 for None.

        Raises LimitError for an empty name, one past 255 bytes, or the 65,536th source.
        """
        if name is None:
            return 0
        raw = name.encode("utf-8")
        if not 0 < len(raw) <= 255:
            raise LimitError(f"a source name has 1 to 255 bytes, not {len(raw)}")
        with _registering:
            known = self.sources()
            for source_id, other in known.items():
                if other == name:
                    return source_id
            source_id = max(known, default=0) + 1
            if source_id > keys.SOURCE_ID_MAX:
                raise LimitError(f"the store has {keys.SOURCE_ID_MAX} sources already")
            value = bytes([_SOURCE_FORMAT]) + raw
            self._db.put(keys.source_key(source_id), value, durability=durability)
            return source_id

    # ---- within ----

    @contextmanager
    def _pinned(self) -> Iterator[Reader]:
        with self._db.snapshot() as reader:
            yield reader

    def _name_of(self, source_id: int) -> str:
        name = self._names.get(source_id)
        if name is None:
            name = self.sources().get(source_id)
        if name is None:
            raise CorruptionError(f"source {source_id} has element sets and no record of its name")
        return name


_registering = threading.Lock()
"""Held while a source gets its id: two callers must never give one id to two names."""


class _Pinned(Questions):
    """Questions to one snapshot."""

    def __init__(self, registry: Registry, reader: Reader, accept: Accept | None) -> None:
        super().__init__(reader, accept)
        self._registry = registry

    @contextmanager
    def _pinned(self) -> Iterator[Reader]:
        yield self._reader

    def _name_of(self, source_id: int) -> str:
        return self._registry._name_of(source_id)


def _of_whole(reader: Reader) -> Accept:
    """Whether a set is of a whole delivery, by its LSN."""
    partial = [one for one in deliveries(reader) if not one.whole]
    return lambda lsn: not any(one.covers(lsn) for one in partial)
