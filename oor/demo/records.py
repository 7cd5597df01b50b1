"""The records of the criteria: the i-th is always the same, and as large as a usual element set."""

from __future__ import annotations

KEY_SIZE = 9
VALUE_SIZE = 138


def record(index: int) -> tuple[bytes, bytes]:
    """Key and value number `index`."""
    key = b"%09d" % index
    return key, (b"record %d, " % index * 14)[:VALUE_SIZE].ljust(VALUE_SIZE, b".")


def records(start: int, stop: int) -> dict[bytes, bytes]:
    """A run of them."""
    return dict(record(index) for index in range(start, stop))
