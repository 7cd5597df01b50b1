"""Views of a memtable: each shows its moment, a writer pays only while one is alive, and they leave
no trace.
"""

from __future__ import annotations

import gc
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st

import oor
from oor.memtable import ABSENT, Memtable

KEYS = st.sampled_from([b"%d" % i for i in range(6)])
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("apply"), st.dictionaries(KEYS, st.none() | st.binary(max_size=2), min_size=1)
        ),
        st.tuples(st.just("view"), st.none()),
        st.tuples(st.just("drop"), st.integers(0, 5)),
        st.tuples(st.just("read"), st.integers(0, 5)),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_every_view_shows_its_moment_however_views_come_and_go(steps):
    memtable, lsn, views = Memtable(1), 0, []
    for what, argument in steps:
        if what == "apply":
            memtable.apply(argument, lsn + 1, lsn + len(argument), 0)
            lsn += len(argument)
        elif what == "view":
            views.append((memtable.view(), dict(memtable.data)))
        elif what == "drop" and argument < len(views):
            del views[argument]
        elif what == "read" and argument < len(views):
            view, shown = views[argument]
            assert dict(view.window(None, None, 9, False)) == shown
        memtable._check()
    for view, shown in views:
        assert dict(view.window(None, None, 9, False)) == shown
        assert all(view.get(b"%d" % i) == shown.get(b"%d" % i, ABSENT) for i in range(6))


def test_a_writer_stops_noting_when_the_last_view_is_gone():
    memtable = Memtable(1)
    memtable.apply({b"a": b"1"}, 1, 1, 0)
    first, second = memtable.view(), memtable.view()
    memtable.apply({b"a": b"2"}, 2, 2, 0)
    third = memtable.view()
    del second, third
    assert memtable.noted is not None
    assert first.get(b"a") == b"1"
    del first
    assert memtable.noted is None


def test_a_memtable_goes_with_its_last_view():
    memtable = Memtable(1)
    memtable.apply({b"a": b"1"}, 1, 1, 0)
    view = memtable.view()
    gone = weakref.ref(memtable)
    del memtable
    assert gone() is not None and view.get(b"a") == b"1"
    gc.disable()
    try:
        del view
        assert gone() is None, "no cycle may keep a memtable until the collector comes"
    finally:
        gc.enable()


def test_a_thousand_snapshots_each_show_their_moment(tmp_path):
    with oor.open(tmp_path / "s", durability="os", background=False) as db:
        held = []
        for i in range(1000):
            db.put(b"n", b"%d" % i)
            db.put(b"%03d" % (i % 50), b"%d" % i)
            held.append(db.snapshot())
            if i == 600:
                db.flush()
        for i in range(0, 1000, 37):
            assert held[i][b"n"] == b"%d" % i
            assert held[i].get(b"%03d" % (i % 50)) == b"%d" % i
            assert len(held[i]) == 1 + min(i + 1, 50)
        pins = [pin.lsn for pin in db.pins() if pin.owner == "snapshot"]
        assert pins == [2 * i + 2 for i in range(1000)]
