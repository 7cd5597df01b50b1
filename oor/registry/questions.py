"""Questions to a catalogue: the newest sets, those at a time, the history, what is where.

The order of an object's sets is total: by epoch, and sets of one epoch by LSN, so the last ingested
is in force.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import chain, compress, pairwise
from typing import Any

from oor.errors import LimitError
from oor.registry import index, keys
from oor.registry.conflict import Conflict, conflicts_of
from oor.registry.elset import ElementSet
from oor.registry.store import Reader

Moment = datetime | int
"""An aware datetime, or microseconds since 1970-01-01 UTC."""
Accept = Callable[[int], bool]
"""Whether the set with this LSN counts."""

_EPOCH_0 = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SKIP_AFTER = 64
_OBJECT_SIZE = 5
_MOMENT_SIZE = 13
_CHUNK = 2048
_THREADS = 2
_NO_SOURCE = bytes(2)
_NEWEST_MOMENT: Any = {"limit": 2**31, "group": _MOMENT_SIZE, "reverse": True}
"""Of a range, as `scan_many` takes it: all sets of the newest epoch."""

Pair = tuple[bytes, bytes]


def microseconds(moment: Moment) -> int:
    """Microseconds since 1970-01-01 UTC. Raises LimitError for a datetime without a zone."""
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise LimitError(f"{moment.isoformat()} has no time zone; epochs are UTC")
    return (moment - _EPOCH_0) // _MICROSECOND


class Questions(abc.ABC):
    """What can be asked of a store or of a snapshot of it.

    `prefer` names sources in the order of preference: the answer is then the newest set of the
    first of them that has one, and the newest of all where none has.
    """

    def __init__(self, reader: Reader, accept: Accept | None = None) -> None:
        self._reader = reader
        self._accept = accept

    @abc.abstractmethod
    def _name_of(self, source_id: int) -> str:
        """The name of a registered source."""

    @abc.abstractmethod
    def _pinned(self) -> Any:
        """A context that gives a reader which does not change."""

    # ---- one object ----

    def latest(self, catalog_number: int, *, prefer: Sequence[str] = ()) -> ElementSet | None:
        """The newest set of an object, or None. Cost: two or three lookups, some us."""
        get = self._reader.get
        if not prefer and self._accept is None and get(keys.OPEN_KEY) is None:
            if not 0 <= catalog_number <= keys.NUMBER_MAX:
                return None
            name = keys.newest_key(catalog_number)
            value = get(name)
            if value is None:
                return None
            key, stored = index.newest_of(name, value)
            if stored is None:
                stored = get(key)
            assert stored is not None, "the index names a set that is not there"
            return self._elset(key, stored)
        stop = keys.object_start(catalog_number + 1)
        return self._elset_of(self._newest(self._reader, catalog_number, stop, prefer))

    def at(
        self, catalog_number: int, moment: Moment, *, prefer: Sequence[str] = ()
    ) -> ElementSet | None:
        """The set with the newest epoch at or before `moment`, never one after it; or None.

        Cost: one short reverse scan.
        """
        stop = keys.moment_start(catalog_number, microseconds(moment) + 1)
        if not prefer and self._accept is None and len(stop) == _MOMENT_SIZE:
            range_ = stop[:_OBJECT_SIZE], stop
            (pairs,) = self._reader.scan_many((range_,), **_NEWEST_MOMENT)
            return self._elset(*_in_force(pairs)) if pairs else None
        return self._elset_of(self._newest(self._reader, catalog_number, stop, prefer))

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
        pairs = self._accepted(self._reader.scan(low, high))
        return sorted((self._elset(key, value) for key, value in pairs), key=_order)

    def revisions(self, catalog_number: int, epoch: Moment) -> list[ElementSet]:
        """All sets of an object with this very epoch, in order of ingest; the last is in force."""
        at = microseconds(epoch)
        return self.history(catalog_number, at, at + 1)

    def conflicts(self, catalog_number: int | None = None) -> Iterator[Conflict]:
        """Sets of one object and epoch with one element set number and more than one state.

        Of one object, or of all; of any sources. A number is no version over a longer time: it
        wraps, and some sources always give the same. Cost: a scan of the sets, 0.5 us each.
        """
        if catalog_number is None:
            return conflicts_of(self.elements())
        return conflicts_of(sorted(self.history(catalog_number), key=lambda elset: elset.key))

    def by_source(
        self, catalog_number: int, moment: Moment | None = None
    ) -> dict[str | None, ElementSet]:
        """The newest set that each source has of an object (at or before `moment`), newest first.

        Cost: a scan of the object's history.
        """
        stop = keys.object_start(catalog_number + 1)
        if moment is not None:
            stop = keys.moment_start(catalog_number, microseconds(moment) + 1)
        best = self._newest_by_source(self._reader, catalog_number, stop, None)
        found = [self._elset(*pair) for pair in best.values()]
        return {elset.source: elset for elset in sorted(found, key=_order, reverse=True)}

    def gaps(
        self, catalog_number: int, longer_than: timedelta
    ) -> list[tuple[ElementSet, ElementSet]]:
        """Pairs of neighbouring sets of an object whose epochs lie further apart than that."""
        sets = self.history(catalog_number)
        least = longer_than // _MICROSECOND
        return [(one, two) for one, two in pairwise(sets) if two.epoch_us - one.epoch_us > least]

    # ---- the whole catalogue ----

    def objects(self) -> list[int]:
        """The catalog numbers of all objects, rising. Cost: 0.3 us an object."""
        with self._pinned() as reader:
            return [_number(key) for key, _ in self._newest_pairs(reader, values=False)]

    def latest_all(self, *, prefer: Sequence[str] = ()) -> Iterator[ElementSet]:
        """The newest set of every object, by falling catalog number, from one snapshot.

        Cost: about 3 us an object; with `prefer` a scan of the object's history at the most.
        """
        with self._pinned() as reader:
            for key, value in reversed(self._newest_pairs(reader)):
                if prefer:
                    stop = keys.object_start(_number(key) + 1)
                    pair = self._newest(reader, _number(key), stop, prefer)
                    assert pair is not None
                    key, value = pair
                yield self._elset(key, value)

    def catalogue_at(self, moment: Moment, *, prefer: Sequence[str] = ()) -> Iterator[ElementSet]:
        """Of every object the set that `at` gives, by falling catalog number, from one snapshot.

        Objects whose first epoch is later are not among them. Cost: about 10 us an object, on two
        threads; with `prefer` a scan of the object's history at the most.
        """
        past = keys.moment_start(0, microseconds(moment) + 1)[_OBJECT_SIZE:]
        with self._pinned() as reader:
            pairs = self._newest_pairs(reader)
            pairs.reverse()
            if prefer or self._accept is not None:
                for key, _ in pairs:
                    stop = (
                        key[:_OBJECT_SIZE] + past if past else keys.object_start(_number(key) + 1)
                    )
                    found = self._newest(reader, _number(key), stop, prefer)
                    if found is not None:
                        yield self._elset(*found)
                return
            is_late = [bool(past) and key[_OBJECT_SIZE:_MOMENT_SIZE] >= past for key, _ in pairs]
            late = [key for key, _ in compress(pairs, is_late)]
            before = self._newest_before(reader, late, past)
            for pair, waits in zip(pairs, is_late, strict=True):
                if waits:
                    earlier = next(before)
                    if not earlier:
                        continue
                    pair = earlier[0] if len(earlier) == 1 else _in_force(earlier)
                yield self._elset(*pair)

    def elements(self) -> Iterator[ElementSet]:
        """Every set of the registry, by catalog number and epoch, from one snapshot."""
        with self._pinned() as reader:
            for key, value in self._accepted(reader.scan(prefix=keys.ELSET_PREFIX)):
                yield self._elset(key, value)

    def by_designator(self, prefix: str) -> list[ElementSet]:
        """The newest sets of objects whose designator begins so, such as "1998-067", by number."""
        return self._of_label(keys.designator_prefix(prefix))

    def by_name(self, prefix: str) -> list[ElementSet]:
        """The newest sets of objects that have, or had, a name that begins so, in any case."""
        return self._of_label(keys.name_prefix(prefix))

    def stale(self, age: timedelta, now: Moment | None = None) -> list[ElementSet]:
        """The newest sets of objects that have none younger than `age`, the oldest first.

        Ages are counted from the epoch to `now` (None: the clock of this machine).
        """
        limit = microseconds(datetime.now(UTC) if now is None else now) - age // _MICROSECOND
        with self._pinned() as reader:
            pairs = [pair for pair in self._newest_pairs(reader) if _epoch_us(pair[0]) < limit]
        return sorted((self._elset(*pair) for pair in pairs), key=_order)

    # ---- within ----

    def _is_indexed(self, reader: Reader) -> bool:
        return self._accept is None and not index.is_open(reader)

    def _of_label(self, prefix: bytes) -> list[ElementSet]:
        found = (self.latest(number) for number in index.labelled(self._reader, prefix))
        return [elset for elset in found if elset is not None]

    def _newest_pairs(self, reader: Reader, *, values: bool = True) -> list[Pair]:
        """The newest set of every object by rising number; without `values` the keys are enough."""
        if not self._is_indexed(reader):
            return list(self._walked(reader))[::-1]
        names, found = index.newest_sets(reader)
        if values:
            missing = [place for place, value in enumerate(found) if value is None]
            for at in range(0, len(missing), _CHUNK):
                part = missing[at : at + _CHUNK]
                answers = reader.get_many([names[place] for place in part])
                for place, value in zip(part, answers, strict=True):
                    found[place] = value
        return list(zip(names, found, strict=True))  # type: ignore[arg-type]

    def _newest(
        self, reader: Reader, catalog_number: int, stop: bytes, prefer: Sequence[str]
    ) -> Pair | None:
        start = keys.object_start(catalog_number)
        if start >= stop:
            return None
        if prefer:
            best = self._newest_by_source(reader, catalog_number, stop, prefer[0])
            for name in prefer:
                if name in best:
                    return best[name]
            return max(best.values(), key=_place, default=None)
        return _first_moment(self._accepted(reader.scan(start, stop, reverse=True)))

    def _newest_before(
        self, reader: Reader, objects: Sequence[bytes], past: bytes
    ) -> Iterator[Sequence[Pair]]:
        """Of each object, named by a key of one of its sets, all sets of the newest epoch before.

        Nearly all of the cost is unpacking a block an object, without the interpreter's lock, so a
        second thread halves it.
        """

        def found(part: Sequence[bytes]) -> list[list[Pair]]:
            ranges = [(key[:_OBJECT_SIZE], key[:_OBJECT_SIZE] + past) for key in part]
            return reader.scan_many(ranges, **_NEWEST_MOMENT)

        parts = [objects[at : at + _CHUNK] for at in range(0, len(objects), _CHUNK)]
        with ThreadPoolExecutor(_THREADS, "oor-catalogue") as pool:
            try:
                yield from chain.from_iterable(pool.map(found, parts))
            finally:
                pool.shutdown(cancel_futures=True)

    def _newest_by_source(
        self, reader: Reader, catalog_number: int, stop: bytes, enough: str | None
    ) -> dict[str | None, Pair]:
        """The newest pair of each source by its name, at least until `enough` has one."""
        best: dict[bytes, Pair] = {}
        start = keys.object_start(catalog_number)
        until = b""
        if start < stop:
            for key, value in self._accepted(reader.scan(start, stop, reverse=True)):
                if key[:_MOMENT_SIZE] < until:
                    break
                source = key[13:15]
                if source not in best or _place((key, value)) > _place(best[source]):
                    best[source] = key, value
                if enough is not None and not until and self._source(key) == enough:
                    until = key[:_MOMENT_SIZE]
        return {self._source(key): (key, value) for key, value in best.values()}

    def _walked(self, reader: Reader) -> Iterator[Pair]:
        """The newest pair of every object by falling number, without the index."""
        stop: bytes | None = keys.ELSET_STOP
        while stop is not None:
            stop = yield from self._walk_down_from(reader, stop)

    def _walk_down_from(self, reader: Reader, stop: bytes) -> Generator[Pair, None, bytes | None]:
        """The newest pair of each object below `stop`; returns where to go on, None at the end.

        Walking down an object's history is cheap for a while; then a new scan that starts below the
        object is cheaper than walking on.
        """
        best: Pair | None = None
        number = moment = b""
        older = 0
        for key, value in self._accepted(reader.scan(keys.ELSET_PREFIX, stop, reverse=True)):
            if best is None or not key.startswith(number):
                if best is not None:
                    yield best
                best, older = (key, value), 0
                number, moment = key[:_OBJECT_SIZE], key[:_MOMENT_SIZE]
            elif key < moment:
                older += 1
                if older == _SKIP_AFTER:
                    yield best
                    return number
            elif _lsn(value) > _lsn(best[1]):
                best = key, value
        if best is not None:
            yield best
        return None

    def _accepted(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        if self._accept is None:
            return iter(pairs)
        accept = self._accept
        return (pair for pair in pairs if accept(_lsn(pair[1])))

    def _elset_of(self, pair: Pair | None) -> ElementSet | None:
        return None if pair is None else self._elset(*pair)

    def _elset(self, key: bytes, value: bytes) -> ElementSet:
        source_id = key[13:15]
        source = None if source_id == _NO_SOURCE else self._source(key)
        return ElementSet.from_record(key, value, source)

    def _source(self, key: bytes) -> str | None:
        source_id = key[13:15]
        return None if source_id == _NO_SOURCE else self._name_of(int.from_bytes(source_id, "big"))


def _in_force(pairs: Sequence[Pair]) -> Pair:
    """Of all sets of one object and epoch, the last ingested."""
    return pairs[0] if len(pairs) == 1 else max(pairs, key=_place)


def _first_moment(pairs: Iterator[Pair]) -> Pair | None:
    """Of pairs from the newest to the oldest: of those of the first epoch, the last ingested."""
    best = next(pairs, None)
    if best is None:
        return None
    for key, value in pairs:
        if key[:_MOMENT_SIZE] != best[0][:_MOMENT_SIZE]:
            break
        if _lsn(value) > _lsn(best[1]):
            best = key, value
    return best


def _number(key: bytes) -> int:
    return int.from_bytes(key[1:5], "big")


def _epoch_us(key: bytes) -> int:
    return int.from_bytes(key[5:13], "big") - 2**63


def _lsn(value: bytes) -> int:
    return int.from_bytes(value[:8], "little")


def _place(pair: Pair) -> tuple[bytes, int]:
    return pair[0][:_MOMENT_SIZE], _lsn(pair[1])


def _order(elset: ElementSet) -> Any:
    return elset.epoch_us, elset.lsn
