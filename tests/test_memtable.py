"""The memtable: the newest of each key, views that never change, windows in order."""

from __future__ import annotations

import threading

import hypothesis.strategies as st
import pytest
from hypothesis import given

from oor.memtable import ABSENT, Memtable

KEYS = st.binary(max_size=2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=3)), max_size=4)),
        st.tuples(st.just("view"), st.none()),
        st.tuples(st.just("drop"), st.integers(0, 5)),
        st.tuples(st.just("window"), st.tuples(st.none() | KEYS, st.none() | KEYS, st.integers(1, 9), st.booleans())),
    ),
    max_size=40,
)  # fmt: skip


def window_of(expected, lower, upper, count, reverse):
    keys = sorted(
        (k for k in expected if (lower is None or k >= lower) and (upper is None or k < upper)),
        reverse=reverse,
    )
    return [(key, expected[key]) for key in keys[:count]]


@given(steps=STEPS)
def test_views_show_what_was_there_when_they_were_taken(steps):
    memtable, expected, views, lsn = Memtable(1), {}, [], 0
    for step, argument in steps:
        if step == "apply" and argument:
            memtable.apply(argument, lsn + 1, lsn + len(argument), 10)
            lsn += len(argument)
            expected |= argument
        elif step == "view":
            views.append((memtable.view(), dict(expected)))
        elif step == "drop" and views:
            views.pop(argument % len(views))
        elif step == "window":
            for view, then in [*views, (memtable.view(), expected)]:
                assert view.window(*argument) == window_of(then, *argument)
        memtable._check()
    for view, then in views:
        for key in expected:
            assert view.get(key) == then.get(key, ABSENT)
    assert memtable.data == expected
    assert memtable.last_lsn == lsn
    assert len(memtable) == len(expected)


def test_a_view_that_is_gone_costs_a_writer_nothing():
    memtable = Memtable(1)
    view = memtable.view()
    memtable.apply({b"a": b"1"}, 1, 1, 2)
    assert view.get(b"a") is ABSENT
    del view
    memtable.apply({b"a": b"2"}, 2, 2, 2)
    assert memtable.noted is None


def test_mutations_out_of_lsn_order_are_a_bug():
    memtable = Memtable(1)
    memtable.apply({b"a": b"1"}, 1, 3, 2)
    with pytest.raises(AssertionError, match="order"):
        memtable.apply({b"a": b"2"}, 3, 3, 2)


def test_a_window_is_whole_while_a_writer_adds_keys():
    memtable = Memtable(1)
    memtable.apply({b"%04d" % i: b"" for i in range(0, 2000, 2)}, 1, 1000, 0)
    view, done = memtable.view(), threading.Event()

    def write():
        for i in range(1, 2000, 2):
            memtable.apply({b"%04d" % i: b""}, 1000 + i, 1000 + i, 0)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert len(view.window(None, None, 5000, False)) == 1000
    writer.join()
    assert len(view.window(None, None, 5000, True)) == 1000
