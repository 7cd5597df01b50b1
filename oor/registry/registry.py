"""Questions to a catalogue of element sets: the newest, the one at a time, the history.

The order of an object's sets is total: by epoch, and sets of one epoch by LSN, so the last ingested
wins.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from oor.errors import CorruptionError, FormatError, LimitError
from oor.registry import keys
from oor.registry.elset import ElementSet
from oor.registry.store import Reader, Store

Moment = datetime | int
"""An aware datetime, or microseconds since 1970-01-01 UTC."""

_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SOURCE_FORMAT = 1
_SKIP_AFTER = 64


def microseconds(moment: Moment) -> int:
    """Microseconds since 1970-01-01 UTC. Raises ValueError for a datetime without a zone."""
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; epochs are UTC")
    return (moment - _EPOCH_0) // _MICROSECOND


class Registry:
    """The element sets of one database. Cheap: it keeps only the names of sources.

    Threads: all calls are safe at once. Each query reads one snapshot; two queries may read two.
    """

    def __init__(self, db: Store) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}

    # ---- sources ----

    def sources(self) -> dict[int, str]:
        """Id -> name of every source registered so far."""
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

    # ---- one object ----

    def latest(self, catalog_number: int) -> ElementSet | None:
        """The newest set of an object, or None. Cost: one short reverse scan."""
        return self._newest(catalog_number, keys.object_start(catalog_number + 1))

    def at(self, catalog_number: int, moment: Moment) -> ElementSet | None:
        """The set with the newest epoch at or before `moment`, never one after it; or None."""
        stop = keys.moment_start(catalog_number, microseconds(moment) + 1)
        return self._newest(catalog_number, stop)

    def history(
        self, catalog_number: int, start: Moment | None = None, stop: Moment | None = None
    ) -> list[ElementSet]:
        """All sets of an object with start <= epoch < stop, by epoch, then in order of ingest."""
        low = keys.object_start(catalog_number)
        high = keys.object_start(catalog_number + 1)
        if start is not None:
            low = keys.moment_start(catalog_number, microseconds(start))
        if stop is not None:
            high = keys.moment_start(catalog_number, microseconds(stop))
        if low >= high:
            return []
        found = [self._elset(key, value) for key, value in self._db.scan(low, high)]
        found.sort(key=_order)
        return found

    def revisions(self, catalog_number: int, epoch: Moment) -> list[ElementSet]:
        """All sets of an object with this very epoch, in order of ingest; the last is in force."""
        at = microseconds(epoch)
        return self.history(catalog_number, at, at + 1)

    # ---- the whole catalogue ----

    def latest_all(self) -> Iterator[ElementSet]:
        """The newest set of every object, by falling catalog number, from one snapshot.

        Cost: at most 64 records an object and one more scan for each object with a longer history.
        """
        with self._db.snapshot() as snapshot:
            yield from self._latest_of_each(snapshot)

    def elements(self) -> Iterator[ElementSet]:
        """Every set of the registry, by catalog number and epoch, from one snapshot."""
        with self._db.snapshot() as snapshot:
            for key, value in snapshot.scan(prefix=keys.ELSET_PREFIX):
                yield self._elset(key, value)

    # ---- within ----

    def _newest(self, catalog_number: int, stop: bytes) -> ElementSet | None:
        start = keys.object_start(catalog_number)
        if start >= stop:
            return None
        # Most epochs have one set: two pairs tell, and a scan that knows its end is short.
        pairs = list(self._db.scan(start, stop, reverse=True, limit=2))
        if not pairs:
            return None
        if len(pairs) == 1 or not pairs[1][0].startswith(pairs[0][0][:_MOMENT_SIZE]):
            return self._elset(*pairs[0])
        best: tuple[bytes, bytes] | None = None
        for key, value in self._db.scan(start, stop, reverse=True):
            if best is None:
                best = key, value
            elif key[:_MOMENT_SIZE] != best[0][:_MOMENT_SIZE]:
                break
            elif _lsn(value) > _lsn(best[1]):
                best = key, value
        return None if best is None else self._elset(*best)

    def _latest_of_each(self, reader: Reader) -> Iterator[ElementSet]:
        stop: bytes | None = keys.ELSET_STOP
        while stop is not None:
            stop = yield from self._latest_down_from(reader, stop)

    def _latest_down_from(
        self, reader: Reader, stop: bytes
    ) -> Generator[ElementSet, None, bytes | None]:
        """The newest set of each object below `stop`; returns where to go on, None at the end.

        Walking down an object's history is cheap for a while; then a new scan that starts below the
        object is cheaper than walking on.
        """
        best: tuple[bytes, bytes] | None = None
        number = moment = b""
        older = 0
        for key, value in reader.scan(keys.ELSET_PREFIX, stop, reverse=True):
            if best is None or not key.startswith(number):
                if best is not None:
                    yield self._elset(*best)
                best, older = (key, value), 0
                number, moment = key[:_OBJECT_SIZE], key[:_MOMENT_SIZE]
            elif key < moment:
                older += 1
                if older == _SKIP_AFTER:
                    yield self._elset(*best)
                    return number
            elif _lsn(value) > _lsn(best[1]):
                best = key, value
        if best is not None:
            yield self._elset(*best)
        return None

    def _elset(self, key: bytes, value: bytes) -> ElementSet:
        source_id = int.from_bytes(key[13:15], "big")
        name = None if source_id == 0 else self._source_name(source_id)
        return ElementSet.from_record(key, value, name)

    def _source_name(self, source_id: int) -> str:
        name = self._names.get(source_id)
        if name is None:
            name = self.sources().get(source_id)
        if name is None:
            raise CorruptionError(f"source {source_id} has element sets and no record of its name")
        return name


_registering = threading.Lock()
"""Held while a source gets its id: two callers must never give one id to two names."""

_OBJECT_SIZE = 5
_MOMENT_SIZE = 13


def _lsn(value: bytes) -> int:
    return int.from_bytes(value[:8], "little")


def _order(elset: ElementSet) -> Any:
    return elset.epoch_us, elset.lsn
