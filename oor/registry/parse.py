"""From bytes to element sets, whatever form they have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from oor.registry.elset import ElementSet
from oor.registry.formats import Format, format_of, looked_at
from oor.registry.omm.scan import OmmBatch, OmmScanner
from oor.registry.rules import REASONS, Rejected
from oor.registry.tle_scan import BATCH_SETS, RULES, Batch, Scanner

__all__ = ["REASONS", "RULES", "Rejected", "parse", "scanner_of"]

AnyScanner: TypeAlias = Scanner | OmmScanner
AnyBatch: TypeAlias = Batch | OmmBatch

_SLICE = 1 << 20


def scanner_of(form: Format, batch_sets: int = BATCH_SETS) -> AnyScanner:
    """A scanner for an input of this format."""
    return Scanner(batch_sets) if form is Format.TLE else OmmScanner(form, batch_sets)


def parse(
    data: str | bytes | bytearray | memoryview | Iterable[bytes],
    format: str | Format | None = None,
    *,
    source: str | None = None,
) -> Iterator[ElementSet | Rejected]:
    """The element sets and rejects of an input, in its order.

    `data` is text, bytes, or chunks of bytes: TLE (2LE, 3LE, names or not), or OMM as KVN, XML,
    JSON or CSV. `format` ("tle", "kvn", "xml", "json", "csv") says which; None: its first bytes do.
    Raises nothing for bad input: that comes back as `Rejected`. LimitError for an unknown format.
    Memory is bounded, however long the input is. Cost: 3 us a set of TLE, 30 to 80 us a message.

        >>> from oor.registry import parse
        >>> line1 = "1 00005U 58002B   24001.50000000  .00000000  00000-0  00000-0 0  9992"
        >>> line2 = "2 00005  34.2500 100.0000 1845000 200.0000 150.0000 10.85000000000013"
        >>> for found in parse(f"{line1}\\n{line2}\\n"):
        ...     print(found.norad_cat_id, found.epoch_us, found.inclination)
        5 1704110400000000 34.2500
    """
    if isinstance(data, str):
        data = data.encode("utf-8")
    chunks = _slices(data) if isinstance(data, (bytes, bytearray, memoryview)) else data
    if format is None:
        form, chunks = looked_at(chunks)
    else:
        form = format_of(format)
    return _parsed(scanner_of(form), chunks, source)


def _parsed(
    scanner: AnyScanner, chunks: Iterable[bytes], source: str | None
) -> Iterator[ElementSet | Rejected]:
    for batch in scanner.batches(chunks):
        yield from in_order(batch, source)


def _slices(data: bytes | bytearray | memoryview) -> Iterator[bytes]:
    view = memoryview(data).cast("B")
    return (bytes(view[at : at + _SLICE]) for at in range(0, len(view), _SLICE))


def in_order(batch: AnyBatch, source: str | None) -> Iterator[ElementSet | Rejected]:
    """Sets and rejects of a batch as they lay in the input."""
    rejected = iter(batch.rejected)
    pending = next(rejected, None)
    for offset, elset in zip(batch.offsets(), batch.element_sets(0, source), strict=True):
        while pending is not None and pending.offset < offset:
            yield pending
            pending = next(rejected, None)
        yield elset
    if pending is not None:
        yield pending
        yield from rejected
