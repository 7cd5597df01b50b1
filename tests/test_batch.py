"""Batches, in every form that a user gives them."""

from __future__ import annotations

import pytest

import oor
from oor.batch import KEY_SIZE_MAX, as_bytes


def test_a_batch_keeps_order_and_counts_its_bytes():
    batch = oor.WriteBatch({b"a": b"1"})
    batch.put(b"bb", b"22")
    batch.delete(b"a")
    batch.extend([(bytearray(b"c"), memoryview(b"3")), (b"d", None)])
    batch.extend(oor.WriteBatch({b"e": b"5"}))
    assert list(zip(batch.keys, batch.values, strict=True)) == [
        (b"a", b"1"), (b"bb", b"22"), (b"a", None), (b"c", b"3"), (b"d", None), (b"e", b"5"),
    ]  # fmt: skip
    assert (len(batch), batch.size) == (6, 12)
    batch.clear()
    assert (len(batch), batch.size) == (0, 0)


def test_what_is_changed_later_does_not_change_the_batch():
    key = bytearray(b"key")
    batch = oor.WriteBatch()
    batch.put(key, key)
    key[:] = b"xxx"
    assert (batch.keys, batch.values) == ([b"key"], [b"key"])


def test_limits_are_checked_when_a_pair_is_added():
    batch = oor.WriteBatch()
    batch.put(b"k" * KEY_SIZE_MAX, b"")
    for add in (
        lambda: batch.put(b"k" * (KEY_SIZE_MAX + 1), b""),
        lambda: batch.delete(b"k" * (KEY_SIZE_MAX + 1)),
    ):
        with pytest.raises(oor.LimitError):
            add()
    assert len(batch) == 1


@pytest.mark.parametrize("wrong", ["text", 5, None, ["a"]])
def test_what_has_no_bytes_is_refused(wrong):
    with pytest.raises(TypeError):
        as_bytes(wrong)
    with pytest.raises(TypeError):
        oor.WriteBatch().put(wrong, b"")
