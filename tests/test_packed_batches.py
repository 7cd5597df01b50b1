"""Batches that reach the log as the operations of a frame: what takes that way, and that it is no
other than the general one.
"""

from __future__ import annotations

import struct
import sys
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engine import content, kill

import oor
from oor.batch import KEY_SIZE_MAX, batch_of, batch_of_lists
from oor.native import Columns, Ops, check, ffi, lib, pack

OP = struct.Struct("<BHI")
PUT, DELETE = 1, 2
PACKED_MAX = 1 << 20
PAIRS = st.dictionaries(st.binary(max_size=20), st.none() | st.binary(max_size=200))


def operations(pairs):
    return b"".join(
        OP.pack(DELETE if value is None else PUT, len(key), len(value or b""))
        + key
        + (value or b"")
        for key, value in pairs.items()
    )


@given(PAIRS)
def test_a_packed_batch_is_the_operations_of_its_pairs_in_their_order(pairs):
    assert pack(pairs) == operations(pairs)
    found = batch_of(pairs)
    if not pairs:
        assert found is None
        return
    ops, merged = found
    assert type(ops) is Ops and ops.count == len(pairs) and merged == pairs and merged is not pairs
    assert ops.payload == sum(map(len, chain(pairs, filter(None, pairs.values()))))


class Text(bytes):
    """Bytes that are something else besides."""


@pytest.mark.parametrize(
    "pairs",
    [
        {b"k": bytearray(b"v")}, {b"k": memoryview(b"v")}, {memoryview(b"k"): b"v"}, {b"k": "v"},
        {"k": b"v"}, {b"k": 5}, {b"k": Text(b"v")}, {Text(b"k"): b"v"}, {b"good": b"v", b"k": False},
        {b"k" * (KEY_SIZE_MAX + 1): b"v"}, {b"k": bytes(PACKED_MAX)}, [(b"k", b"v")], None,
    ],
)  # fmt: skip
def test_what_is_not_bytes_or_too_much_is_left_to_the_general_way(pairs):
    assert pack(pairs) is None


def test_as_much_as_one_go_takes_is_packed():
    pairs = {b"k": bytes(PACKED_MAX - OP.size - 1)}
    assert pack(pairs) == operations(pairs)
    assert pack(pairs | {b"": b""}) is None


FORMS = {
    "a dict": lambda: {b"a": b"1", b"b": None, b"c": b"3"},
    "pairs": lambda: [(b"a", b"1"), (b"b", None), (b"c", b"3")],
    "a generator": lambda: iter([(b"a", b"1"), (b"b", None), (b"c", b"3")]),
    "a batch": lambda: oor.WriteBatch({b"a": b"1", b"b": None, b"c": b"3"}),
    "buffers": lambda: [(bytearray(b"a"), b"1"), (memoryview(b"b"), None), (b"c", bytearray(b"3"))],
    "a key twice": lambda: [(b"a", b"0"), (b"b", b"2"), (b"a", b"1"), (b"b", None), (b"c", b"3")],
    "a batch with a key twice": lambda: oor.WriteBatch(
        [(b"c", b"4"), (b"a", b"1"), (b"b", None), (b"c", b"3")]
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("durability", ["sync", "interval"])
@pytest.mark.parametrize("method", ["write", "try_write"])
def test_a_batch_in_any_form_counts_and_shows_and_survives_alike(
    tmp_path, form, durability, method
):
    count = {"a key twice": 5, "a batch with a key twice": 4}.get(form, 3)
    expected = {b"a": b"1", b"c": b"3"}
    with oor.open(tmp_path / "s", durability=durability) as db:
        db.put(b"b", b"before")
        assert getattr(db, method)(FORMS[form]()) == 1 + count == db.last_lsn
        assert content(db) == expected
        db.sync()
        kill(db)
    with oor.open(tmp_path / "s") as db:
        assert content(db) == expected and db.last_lsn >= 1 + count


def test_which_forms_are_packed():
    packed = {form: type(batch_of(make())[0]) is Ops for form, make in FORMS.items()}
    assert packed == {form: form in ("a dict", "pairs", "a generator", "a batch") for form in FORMS}
    assert type(batch_of_lists([b"a", b"b"], [b"1", None])[0]) is Ops
    assert type(batch_of_lists([b"a", b"a"], [b"1", None])[0]) is Columns


@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_what_the_caller_changes_after_the_write_changes_nothing(tmp_path, durability):
    given, value = {b"k": b"v", b"other": b"v"}, bytearray(b"v")
    with oor.open(tmp_path / "s", durability=durability) as db:
        db.write(given)
        db.write([(b"late", value)])
        given[b"k"] = given[b"more"] = b"x"
        value[:] = b"x"
        assert content(db) == {b"k": b"v", b"other": b"v", b"late": b"v"}


GOOD = operations({b"k": b"v", b"l": None})
WRONG = {
    "one less than stated": (3, GOOD),
    "one more than stated": (1, GOOD),
    "none": (0, b""),
    "cut in a header": (2, GOOD[:-5]),
    "cut in a value": (1, operations({b"k": b"value"})[:-1]),
    "of no kind": (1, b"\x03" + operations({b"k": b"v"})[1:]),
    "a deletion with a value": (1, b"\x02" + operations({b"k": b"v"})[1:]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_operations_that_are_not_whole_are_refused_and_nothing_is_logged(tmp_path, wrong):
    count, ops = WRONG[wrong]
    with oor.open(tmp_path / "s", background=False) as db:
        db.put(b"k", b"before")
        arguments = (count, ops, len(ops), ffi.NULL, ffi.NULL, 0, ffi.NULL, lib.OOR_APPEND_OPS, 0)
        with pytest.raises((oor.LimitError, oor.CorruptionError)):
            check(lib.oor_wal_append(db._state.log.raw, *arguments))
        assert db.last_lsn == 1 and db.put(b"l", b"after") == 2
        kill(db)
    with oor.open(tmp_path / "s") as db:
        assert content(db) == {b"k": b"before", b"l": b"after"}


def test_packing_keeps_no_reference_and_survives_want_of_memory():
    testing = pytest.importorskip("_testcapi")
    pairs = {b"%05d" % n: b"v%05d" % n for n in range(50)}
    everything = [pairs, *pairs, *pairs.values()]
    counts = list(map(sys.getrefcount, everything))
    for _ in range(3):
        assert pack(pairs) == operations(pairs)
        assert pack(pairs | {b"x": bytearray(b"v")}) is None
    refused = False
    testing.set_nomemory(0, 1)
    try:
        pack(pairs)
    except MemoryError:
        refused = True
    finally:
        testing.remove_mem_hooks()
    assert refused and list(map(sys.getrefcount, everything)) == counts
