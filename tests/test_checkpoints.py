"""Checkpoints: writers go on meanwhile, they come by themselves, and a crash anywhere is harmless."""

from __future__ import annotations

import threading

import pytest

import oor
from oor import flush, native
from oor.crashlab.explorer import Explorer, Plan
from oor.crashlab.memory import MemoryDisk
from oor.crashlab.recording import Op
from oor.crashlab.run import record
from oor.crashlab.workloads import workload_of

SMALL = {
    "segment_bytes": 64 << 10,
    "tail_bytes": 16 << 10,
    "durability": "os",
    "checkpoint_interval": 3600.0,
}
PATIENCE = 60.0
"""Seconds until something that does not happen is a failure."""


class Gate:
    """A slow device: whoever comes through waits until it is opened."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self):
        self.reached.set()
        assert self.opened.wait(PATIENCE)


@pytest.fixture
def gate(monkeypatch, request):
    """One that stands behind the write of a table, or before the sync of the manifest."""
    gate = Gate()
    write_table, sync = flush.write_table, native.File.sync

    def write_slowly(*arguments, **named):
        meta = write_table(*arguments, **named)
        gate.wait()
        return meta

    def sync_slowly(file):
        if "MANIFEST" in file.path:
            gate.wait()
        sync(file)

    def install():
        if request.param == "table":
            monkeypatch.setattr(flush, "write_table", write_slowly)
        else:
            monkeypatch.setattr(native.File, "sync", sync_slowly)
        return gate

    yield install
    gate.opened.set()


def in_time(work):
    """Run it in a thread that must end."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "a writer waits"


@pytest.mark.parametrize("gate", ["table", "manifest"], indirect=True)
@pytest.mark.parametrize("background", [True, False])
def test_writers_of_every_mode_go_on_while_a_checkpoint_waits_for_the_disk(
    tmp_path, gate, background
):
    with oor.open(tmp_path / "s", background=background, **SMALL) as db:
        db.write({b"before%d" % n: bytes(500) for n in range(20)})
        done = []
        slow = gate()
        checkpoint = threading.Thread(target=lambda: done.append(db.checkpoint()))
        checkpoint.start()
        assert slow.reached.wait(PATIENCE)

        def write():
            for mode in ("sync", "interval", "os"):
                # More than a segment: rotations were prepared ahead and are no part of it.
                for n in range(100):
                    db.put(b"%s%03d" % (mode.encode(), n), bytes(900), durability=mode)
                db.write({b"batch": mode.encode(), b"before0": None}, durability=mode)
                db.delete(b"before1", durability=mode)
                assert db.get(b"batch") == mode.encode()
            with db.snapshot() as snapshot:
                assert len(snapshot) == len(list(db.keys())) == 18 + 300 + 1

        in_time(write)
        assert not done, "the checkpoint was to be under way"
        slow.opened.set()
        checkpoint.join()
        [result] = done
        assert (result.lsn, result.redo_lsn) == (20, 21)
        assert result.seconds > 0
        assert len(list(db.keys())) == 319


def test_a_checkpoint_says_what_it_did(tmp_path):
    with oor.open(tmp_path / "s", background=False, **SMALL) as db:
        for n in range(300):
            db.put(b"%d" % n, bytes(900))
        before = [segment.number for segment in db._state.log.segments()]
        done = db.checkpoint()
        after = [segment.number for segment in db._state.log.segments()]
        assert (done.lsn, done.redo_lsn) == (300, 301)
        assert done.segments_freed == len(before) and not set(before) & set(after)
        state = db._state.manifest.state
        assert (state.checkpoint_lsn, state.log_start) == (300, after[0])


def test_a_store_that_is_written_to_has_a_checkpoint_after_the_interval(tmp_path):
    with oor.open(tmp_path / "s", **SMALL | {"checkpoint_interval": 0.05}) as db:
        db.put(b"k", b"v")
        state = db._state
        with state.lock:
            assert state.changed.wait_for(
                lambda: state.manifest.state.checkpoint_lsn == 1, PATIENCE
            )
        assert state.view.active.first_lsn == 2


# ---- a crash anywhere ----------------------------------------------------------------------------

TWO_TABLES = ("put", "flush", "batch", "flush", "delete")


@pytest.mark.parametrize(
    "sequence",
    [
        ("put", "batch", "flush"),
        (*TWO_TABLES, "compact"),
        ("put", "big", "rotate", "delete", "checkpoint"),
        ("put", "flush", "batch", "close"),
        ("put", "flush", "batch", "reopen"),
    ],
    ids=lambda sequence: sequence[-1],
)
def test_a_crash_behind_any_operation_of_it_while_the_manifest_rolls_breaks_nothing(
    sequence,
):
    """Each edit is a roll: a new manifest, CURRENT exchanged, the old one removed."""
    with MemoryDisk() as disk:
        recorded = record(
            disk, workload_of(sequence), name=sequence[-1], options={"manifest_bytes": 0}
        )
        last = next(
            n for n, e in enumerate(recorded.events) if e.op is Op.MARK and e.text == "last"
        )
        rolls = [
            event
            for event in recorded.events[last:]
            if event.op is Op.RENAME and event.other.endswith("CURRENT")
        ]
        assert rolls, "the operation must roll the manifest"
        explorer = Explorer(disk, Plan(seed=4, nested=1))
        explorer.explore_recorded(recorded, only_last=True)
        tally = explorer.finish()
    assert not tally.violations, "\n".join(map(str, tally.violations))
    assert tally.states >= len(recorded.events) - last, "a state behind each operation at the least"
