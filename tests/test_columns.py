"""Batches on their way to C: small ones are joined at once, large ones in pieces, to the same
bytes."""

from __future__ import annotations

import pytest

import oor
from oor import native
from oor.native import TOMBSTONE, Columns, ffi


def laid_out(columns):
    count, keys, keys_size, key_sizes, values, values_size, value_sizes = columns.arguments()
    as_bytes = lambda data, size: data if isinstance(data, bytes) else bytes(ffi.buffer(data, size))
    return (
        count, as_bytes(keys, keys_size), list(key_sizes[0:count]),
        as_bytes(values, values_size), list(value_sizes[0:count]),
    )  # fmt: skip


CASES = {
    "nothing": [],
    "one": [(b"k", b"v")],
    "deletes": [(b"a", None), (b"b", b""), (b"c", b"v")],
    "many": [(b"%d" % n, b"v" * (n % 7)) for n in range(20_000)],
    "many with deletes": [(b"%d" % n, None if n % 3 else b"v") for n in range(20_000)],
    "only deletes": [(b"%d" % n, None) for n in range(20_000)],
    "few and long": [(b"%d" % n, bytes([n]) * 700_000) for n in range(5)],
    "one is long": [(b"a", b""), (b"b", bytes(3 << 20)), (b"c", None)],
}


@pytest.mark.parametrize("case", CASES)
def test_the_columns_hold_all_pairs_in_order(case):
    pairs = CASES[case]
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    assert laid_out(Columns(keys, values)) == (
        len(pairs), b"".join(keys), [len(key) for key in keys],
        b"".join(value for value in values if value is not None),
        [TOMBSTONE if value is None else len(value) for value in values],
    )  # fmt: skip


def test_no_join_of_a_large_batch_is_longer_than_a_piece(monkeypatch):
    longest = 0

    def join(items, original=native._join):
        nonlocal longest
        joined = original(items)
        longest = max(longest, len(joined[0]))
        return joined

    monkeypatch.setattr(native, "_join", join)
    Columns([b"%06d" % n for n in range(100_000)], [bytes(100)] * 100_000)
    Columns([b"%d" % n for n in range(300)], [bytes(50_000)] * 300)
    assert 0 < longest <= native.JOIN_BYTES


def test_a_batch_of_many_megabytes_is_stored_whole(tmp_path):
    batch = {b"%d" % n: bytes([n % 251]) * 40_000 for n in range(200)} | {b"gone": None}
    with oor.open(tmp_path / "s") as db:
        db.put(b"gone", b"v")
        assert db.write(batch) == 202
    with oor.open(tmp_path / "s") as db:
        assert dict(db.scan()) == {key: value for key, value in batch.items() if value is not None}
