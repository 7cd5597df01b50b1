"""Several writers under the crash laboratory: the oracle puts what they gave into LSN order."""

from __future__ import annotations

import pytest
from support.recording import Event, Op

from oor.crashlab.crowd import WRITERS, together
from oor.crashlab.explorer import Explorer, Plan
from oor.crashlab.history import History
from oor.crashlab.memory import MemoryDisk
from oor.crashlab.run import record
from oor.crashlab.scripts import SCRIPTS

UNWATCHED = "one of them breaks a rule of order on purpose, and the explorer judges the others"
A, B, C = {b"k": b"a"}, {b"k": b"b"}, {b"k": b"c"}


class Marks:
    """A recording that keeps only marks."""

    def __init__(self):
        self.texts = []

    def mark(self, text):
        self.texts.append(text)


def event(op, *, text="", begin=0, end=0, path="", number=1, flags=0, offset=0, payload=b""):
    return Event(op, 3, flags, begin, end, 1, number, offset, 0, 1, 0, path, "",
                 text.encode() or payload)  # fmt: skip


def told(history):
    return [tuple(promise) for promise in history.promises(
        [event(Op.MARK, text=text) for text in history.recording.texts])]  # fmt: skip


class Store:
    """Answers with the LSNs it is told, after whatever else is to happen meanwhile."""

    def __init__(self, lsn, meanwhile=lambda: None):
        self._lsn, self._meanwhile = lsn, meanwhile

    def put(self, key, value, *, durability):
        self._meanwhile()
        return self._lsn


def test_what_was_given_first_and_logged_second_has_the_second_place():
    history = History(Marks())
    history.write(Store(2, lambda: history.write(Store(1), B, "sync")), A, "os")
    history.settle()
    assert (history.batches, history.lsns) == ([B, A], [1, 2])
    # submit 1, submit 2, ack 2, synced 1, durable 2, ack 1
    assert told(history) == [
        (0, 0, 0), (0, 0, 0), (2, 0, 0), (2, 1, 0), (2, 1, 0), (2, 1, 1), (2, 2, 1),
    ]  # fmt: skip


def test_a_batch_that_is_acknowledged_asks_for_all_that_have_lower_lsns():
    history = History(Marks())
    history.write(Store(1, lambda: history.write(Store(2), B, "os")), A, "os")
    history.settle()
    # submit 1, submit 2, ack 2: the first is in the log, though nobody has been told
    assert told(history)[3] == (2, 2, 0)


def test_what_is_seen_behind_a_write_that_waits_for_its_sync_asks_for_that_write():
    history = History(Marks())
    seen = lambda: history.looked(0, dict(B))
    history.write(Store(1, lambda: history.write(Store(2, seen), B, "os")), A, "sync")
    history.settle()
    assert history.wrong_looks(history.lengths()) == []
    # submit 1, submit 2, look 1: batch 2 is logged, and batch 1 is durable
    assert told(history)[3] == (2, 2, 1)


@pytest.mark.parametrize(
    ("since", "state", "wrong"),
    [(2, dict(B), False), (0, {}, False), (1, {}, True), (2, dict(A), True), (0, dict(C), True)],
)
def test_a_look_is_wrong_if_no_prefix_is_it_or_lacks_what_was_acknowledged(since, state, wrong):
    history = History(Marks())
    history.write(Store(1), A, "os")
    history.write(Store(2), B, "os")
    history.looked(since, state)
    history.settle()
    assert bool(history.wrong_looks(history.lengths())) == wrong


def test_the_newest_is_the_one_with_the_highest_lsn_of_those_that_have_returned():
    history = History(Marks())
    found = []
    history.write(
        Store(3, lambda: (history.write(Store(2), B, "os"), history.write(Store(1), C, "os"),
                          found.append(history.newest()))),
        A, "os",
    )  # fmt: skip
    assert found == [2] and history.newest() == 1


@pytest.mark.parametrize("name", ["W-T", "W-T-sync", "W-T-os", "W-T-buffered"])
def test_writers_that_meet_leave_no_state_and_see_none_that_breaks_an_invariant(name):
    workload, options = SCRIPTS[name]
    with MemoryDisk() as disk:
        recorded = record(disk, workload, name=name, options=options, seed=3)
        explorer = Explorer(disk, Plan(seed=3, per_workload=300, nested=1))
        explorer.explore_recorded(recorded)
        tally = explorer.finish()
    assert not tally.violations, "\n".join(map(str, tally.violations))
    assert tally.states >= 300
    history = recorded.history
    assert history.lsns == sorted(history.lsns) and len(set(history.lsns)) == len(history.lsns)
    assert history._places, "no two writers met"
    assert len({event.thread for event in recorded.events}) > len(WRITERS)
    assert recorded.promises[-1].acked == len(history.batches)
    assert len({look.shown for look in history.looks}) > 2, "nobody looked while they wrote"


def test_a_look_that_no_prefix_explains_is_a_violation():
    def workload(run):
        db = run.open()
        db.put(b"k", b"v", durability="os")
        run.history.looked(1, {b"k": b"another"})

    with MemoryDisk() as disk:
        explorer = Explorer(disk, Plan(states=1))
        explorer.explore("x", workload)
    assert explorer.tally.violations[0].invariant == "I15"


def test_what_a_thread_raises_is_raised_when_all_have_ended():
    done = []

    def fails():
        raise ValueError("one of them")

    with pytest.raises(ValueError, match="one of them"):
        together("x", fails, lambda: done.append(1))
    assert done == [1]


@pytest.mark.parametrize(("beyond", "broken"), [(0, []), (1, ["I13"])])
def test_who_was_told_of_a_sync_may_say_so_when_the_segment_has_gone_and_of_no_more(beyond, broken):
    def workload(run):
        db = run.open()
        lsn = db.put(b"k", b"v", durability="sync")
        db.checkpoint()
        run.history.mark(f"synced {lsn + beyond}")

    with MemoryDisk() as disk:
        explorer = Explorer(disk, Plan(states=1))
        explorer.explore("x", workload)
    assert [violation.invariant for violation in explorer.tally.violations] == broken
