"""The order of operations of flush, checkpoint and compaction, read from the recording."""

from __future__ import annotations

import errno
import os
from itertools import groupby

import pytest
from support.engine import TINY, content, files, kill
from support.recording import Op, Recording

import oor
from oor.checkpoint import is_due
from oor.state import now

STEPS = (Op.WRITE, Op.SYNC, Op.SYNC_DIR, Op.RENAME, Op.UNLINK)


def kind(path):
    name = os.path.basename(path)
    return (
        "MANIFEST"
        if name.startswith("MANIFEST")
        else name.rpartition(".")[2]
        if "." in name
        else "dir"
    )


def steps(recording, start):
    """(operation, kind of file) of what this thread has done since, without repetitions, and of
    every write to the log, which a thread of its own may make."""
    found = []
    events = recording.take()[start:]
    (mine,) = {event.thread for event in events if kind(event.path) == "sst"}
    for event in events:
        step = event.op.name, kind(event.path)
        ours = event.thread == mine or step == ("WRITE", "wal")
        if event.op in STEPS and event.effect and ours and (not found or found[-1] != step):
            found.append(step)
    return found


def without_log(found):
    rest = (step for step in found if step not in (("WRITE", "wal"), ("SYNC", "wal")))
    return [step for step, _ in groupby(rest)]


@pytest.fixture
def recorded(tmp_path):
    path = str(tmp_path / "store")
    with Recording(tmp_path, payloads=False) as recording:
        # Without threads of the log: what a flush needs of it the flush does itself.
        limits = {"spare_segments": 0, "memtable_bytes": 1 << 20, "log_threads": False}
        db = oor.open(path, **TINY | limits)
        for i in range(150):
            db.put(b"%03d" % i, b"v" * 400, durability="os")
        yield db, recording, path
        kill(db)


def test_a_flush_writes_the_log_then_the_table_its_name_the_manifest_and_then_lets_go(recorded):
    db, recording, _ = recorded
    db.put(b"not yet durable", b"", durability="os")
    start = len(recording.take())
    db.flush()
    found = steps(recording, start)
    assert found.index(("WRITE", "wal")) < found.index(("WRITE", "sst"))
    order = without_log(found)
    first = order.index(("WRITE", "sst"))
    assert order[first:] == [
        ("WRITE", "sst"), ("SYNC", "sst"), ("SYNC_DIR", "dir"),
        ("WRITE", "MANIFEST"), ("SYNC", "MANIFEST"),
        ("UNLINK", "wal"), ("SYNC_DIR", "dir"),
    ]  # fmt: skip


def test_a_checkpoint_cuts_the_log_only_behind_a_durable_edit(recorded):
    db, recording, path = recorded
    start = len(recording.take())
    done = db.checkpoint()
    assert (done.lsn, done.redo_lsn) == (150, 151)
    assert done.segments_freed >= 1
    events = recording.take()[start:]
    synced = [e.end for e in events if e.op is Op.SYNC and kind(e.path) == "MANIFEST"]
    for event in events:
        if event.op in (Op.UNLINK, Op.RENAME) and kind(event.path) == "wal" and event.effect:
            assert min(synced) < event.begin
    assert all(s.first_lsn > 150 for s in db._state.log.segments()), (
        "what remains holds only later LSNs"
    )
    found = content(db)
    kill(db)
    with oor.open(path, **TINY) as db:
        assert db.recovery.records == 0
        assert content(db) == found


def test_a_compaction_removes_its_inputs_only_behind_a_durable_edit(recorded):
    db, recording, path = recorded
    db.flush()
    db.write({b"%03d" % i: b"new" for i in range(0, 150, 3)})
    db.flush()
    inputs = {os.path.basename(name) for name in files(path, ".sst")}
    start = len(recording.take())
    assert db._background.compactor.all() == 1
    events = [
        e for e in recording.take()[start:] if e.op in STEPS and e.effect and kind(e.path) != "wal"
    ]
    order = [(e.op, kind(e.path)) for e in events]
    last_write = max(n for n, step in enumerate(order) if step == (Op.SYNC, "sst"))
    name_sync = order.index((Op.SYNC_DIR, "dir"), last_write)
    edit = order.index((Op.SYNC, "MANIFEST"), name_sync)
    unlinks = [n for n, step in enumerate(order) if step == (Op.UNLINK, "sst")]
    assert min(unlinks) > edit > name_sync > last_write
    assert {os.path.basename(events[n].path) for n in unlinks} == inputs


@pytest.mark.parametrize("where", ["sst", "MANIFEST"])
def test_a_crash_in_mid_compaction_leaves_the_old_tables_or_the_new_ones(recorded, where):
    db, recording, path = recorded
    db.flush()
    db.write({b"%03d" % i: b"new" for i in range(0, 150, 3)})
    db.flush()
    found, old = content(db), set(files(path, ".sst"))
    if where == "sst":
        recording.fail(Op.WRITE, path_part="MANIFEST", errno=errno.EIO)  # tables written, edit not
    else:
        recording.fail(
            Op.UNLINK, path_part=".sst", errno=errno.EIO, forever=True
        )  # edit written, inputs there
    with pytest.raises(oor.StorageError):
        db._background.compactor.all()
    recording.heal()
    kill(db)
    new = set(files(path, ".sst")) - old
    assert new
    with oor.open(path, **TINY) as db:
        assert content(db) == found
        live = set(files(path, ".sst"))
        assert live == (old if where == "sst" else new)


def test_a_crash_in_mid_flush_removes_the_orphan_and_replays_the_log(recorded):
    db, recording, path = recorded
    found = content(db)
    recording.fail(Op.WRITE, path_part="MANIFEST", errno=errno.EIO)
    with pytest.raises(oor.StorageError):
        db.flush()
    recording.heal()
    kill(db)
    (orphan,) = files(path, ".sst")
    with oor.open(path, **TINY | {"memtable_bytes": 1 << 20}) as db:
        assert os.path.basename(orphan) in db.recovery.orphans
        assert db.recovery.records == 150
        assert not os.path.exists(orphan)
        assert content(db) == found


def test_a_flush_that_found_no_room_is_made_again_and_writes_go_on_meanwhile(recorded):
    db, recording, _ = recorded
    recording.fail(Op.WRITE, path_part=".sst", errno=errno.ENOSPC, forever=True)
    for _ in range(2):
        with pytest.raises(oor.DiskFullError):
            db.flush()
        db.put(b"meanwhile", b"1")
    assert len(content(db)) == 151
    recording.heal()
    assert db.flush() >= 1
    assert len(content(db)) == 151
    assert db.stats().flushed_lsn == db.last_lsn


def test_after_many_cycles_the_manifest_names_exactly_the_live_tables(tmp_path):
    path = str(tmp_path / "store")
    for cycle in range(4):
        with oor.open(path, **TINY) as db:
            for i in range(80):
                db.put(b"%02d" % (i % 40), b"%d" % cycle * 50, durability="os")
                if i % 20 == 9:
                    db.flush()
                if i % 40 == 15:
                    db.compact()
                if i % 40 == 35:
                    db.checkpoint()
            state = db._state.manifest.state
            assert {os.path.basename(f) for f in files(path, ".sst")} == {
                f"{n:012d}.sst" for n in state.tables
            }
            assert state.flushed_lsn == db.stats().flushed_lsn <= db.last_lsn
            last = db.last_lsn
        with oor.open(path, **TINY) as db:
            assert db.recovery.flushed_lsn == last


def test_the_size_of_the_log_alone_brings_a_flush_and_a_checkpoint(tmp_path):
    limits = {"max_log_bytes": 256 << 10, "segment_bytes": 64 << 10, "tail_bytes": 16 << 10}
    with oor.open(tmp_path / "store", durability="os", background=False, **limits) as db:
        while db.stats().log.live_bytes <= limits["max_log_bytes"]:
            db.put(b"%d" % db.last_lsn, b"v" * 1000)
        assert db.stats().immutables > 0, "a memtable of 64 MiB was full long before its size"
        assert is_due(db._state, now())
        db.checkpoint()
        assert not is_due(db._state, now())
        assert db.stats().log.live_bytes <= 2 * limits["segment_bytes"]
