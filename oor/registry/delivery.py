"""Deliveries: what came when, from whom, in which file, and whether all of it is there.

A delivery's record is written in the same batch as the sets it counts, with the state of the
reading, so a crash leaves one that says how far it came and can be resumed there, exactly once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from oor.registry import keys
from oor.registry.index import payload, record
from oor.registry.store import Reader


@dataclass(slots=True)
class Delivery:
    """One input of one ingest, so far or at its end.

    `read` counts sets and rejects: read == stored + already_there + quarantined. Times are seconds
    since 1970 UTC.
    """

    id: int
    source: str | None
    file: str
    sha256: str | None
    """In hex, of the file as it lies there; of a pipe, of its content, once it has ended."""
    format: str
    started: float
    finished: float | None = None
    expected: int | None = None
    """Sets and rejects that the caller said there would be."""
    size: int = 0
    """Bytes read so far, uncompressed."""
    read: int = 0
    stored: int = 0
    already_there: int = 0
    quarantined: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    """Rejects by rule id."""
    lsns: list[list[int]] = field(default_factory=list)
    """First and last LSN of what it wrote, range by range."""
    failure: str | None = None
    """Why it ended before it was whole."""
    state: dict[str, Any] | None = field(default=None, repr=False)
    """Where to go on; None once it is whole."""

    @property
    def whole(self) -> bool:
        """Whether the input was read to its end, and held as many sets as were expected."""
        return self.finished is not None and self.failure is None

    def covers(self, lsn: int) -> bool:
        """Whether the mutation of this LSN is one of the delivery's."""
        return any(first <= lsn <= last for first, last in self.lsns)

    def wrote(self, first: int, last: int) -> None:
        """Take note of an acknowledged write: another range of LSNs, or more of the last."""
        if self.lsns and self.lsns[-1][1] + 1 == first:
            self.lsns[-1][1] = last
        else:
            self.lsns.append([first, last])

    def to_pair(self, following: int = 0) -> tuple[bytes, bytes]:
        """Its record, behind which `following` mutations of the delivery come in the same batch."""
        content = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "id"}
        content["following"] = following
        return keys.delivery_key(self.id), record(json.dumps(content).encode())

    @classmethod
    def of_pair(cls, key: bytes, value: bytes) -> Delivery:
        """Read back. Raises FormatError for a later format."""
        content = json.loads(payload(key, value))
        content["rules"] = Counter(content["rules"])
        following = content.pop("following")
        found = cls(int.from_bytes(key[1:], "big"), **content)
        if following:
            # The record is the first of its batch and could not know its own LSN.
            lsn = int.from_bytes(value[:8], "little")
            found.wrote(lsn, lsn + following)
        return found


def deliveries(reader: Reader, *, reverse: bool = False) -> Iterator[Delivery]:
    """All of them in the order in which they began, or the last first."""
    for key, value in reader.scan(prefix=keys.DELIVERY_PREFIX, reverse=reverse):
        yield Delivery.of_pair(key, value)


def delivery(reader: Reader, delivery_id: int) -> Delivery | None:
    """One of them by its id."""
    key = keys.delivery_key(delivery_id)
    value = reader.get(key)
    return None if value is None else Delivery.of_pair(key, value)


def by_content(reader: Reader, identity: bytes, source_id: int) -> Delivery | None:
    """The last delivery of this content from this source, whole or not."""
    key = keys.content_key(identity, source_id)
    value = reader.get(key)
    return None if value is None else delivery(reader, int.from_bytes(payload(key, value), "big"))


def content_pair(identity: bytes, source_id: int, delivery_id: int) -> tuple[bytes, bytes]:
    """The record by which the content is recognised when it comes again."""
    return keys.content_key(identity, source_id), record(delivery_id.to_bytes(4, "big"))


def next_id(reader: Reader) -> int:
    """The id after the last delivery's."""
    last = next(iter(reader.scan(prefix=keys.DELIVERY_PREFIX, reverse=True, limit=1)), None)
    return 1 if last is None else int.from_bytes(last[0][1:], "big") + 1
