"""Recovery: where the log ends, what is damage, and what is done about it."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import shutil
import threading

import pytest
from support.engine import (
    ROOMY,
    TINY,
    content,
    copy_of,
    files,
    filled,
    flip,
    frames_of,
    kill,
    read,
    scratch,
    without_tail,
    write,
)
from support.recording import How, Op, Recording

import oor
from oor.analysis import analyze
from oor.trace import Trace


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store")


# ---- torn tails ----------------------------------------------------------------------------------


def test_a_torn_tail_is_accepted_with_the_exact_prefix(path, tmp_path):
    filled(path, 20)
    segment = files(path, ".wal")[0]
    *_, last = [frame for frame in frames_of(segment) if frame[3]]
    without_tail(path)
    data = bytearray(read(segment))
    data[last[0] + last[1] - 100 : last[0] + last[1]] = bytes(100)
    write(segment, bytes(data))
    with oor.open(path, **ROOMY) as db:
        assert sorted(content(db)) == [b"%05d" % i for i in range(19)]
        assert db.recovery.last_lsn == 19
        assert db.recovery.torn_bytes > 0


def test_valid_frames_behind_a_torn_one_are_never_replayed(path):
    db = oor.open(path, **ROOMY)
    for i in range(20):
        db.put(b"%05d" % i, b"v" * 300, durability="os")
    db.sync()  # one write of many blocks: the disk may take the later ones first
    kill(db)
    without_tail(path)
    segment = files(path, ".wal")[0]
    offset = frames_of(segment)[7][0]
    flip(segment, offset + 60)
    with oor.open(path, **ROOMY) as db:
        assert sorted(content(db)) == [b"%05d" % i for i in range(7)]
        assert db.put(b"next", b"") > 20


def test_the_next_lsn_is_above_every_lsn_that_a_lost_tail_held(path):
    db = oor.open(path, **ROOMY)
    db.put(b"durable", b"", durability="sync")
    given = [db.put(b"%d" % i, b"", durability="os") for i in range(300)][-1]
    kill(db)
    without_tail(path)
    with oor.open(path, **ROOMY) as db:
        assert db.put(b"next", b"") > given


def test_a_killed_process_loses_nothing_that_only_the_tail_has(path):
    found = filled(path, 25, mode="os")
    with oor.open(path, **ROOMY) as db:
        assert content(db) == found
        assert db.recovery.tail_frames > 0


def gone_on_without_drains(path):
    """A killed store whose tail holds the end of segment 1 and the start of segment 2; neither is
    drained.
    """
    with Recording(path, payloads=False) as recording:
        db = oor.open(path, **ROOMY)
        while db._state.log.state().segment_offset < 21_000:
            db.put(b"%05d" % db.last_lsn, b"v" * 300, durability="os")
        db.sync()
        recording.fail(Op.WRITE, path_part="1.wal", errno=errno.ENOSPC, forever=True)
        while db._state.log.segments()[-1].number == 1:
            db.put(b"%05d" % db.last_lsn, b"v" * 300, durability="os")
        assert not db._state.log.segments()[-1].begun
        result = content(db), db.durable_lsn, db.last_lsn
        kill(db)
    return result


def test_frames_of_the_tail_are_found_in_a_segment_whose_header_was_never_written(path):
    found, durable, given = gone_on_without_drains(path)
    assert durable < given - 1
    with oor.open(path, **ROOMY) as db:
        assert content(db) == found
        assert db.recovery.last_lsn == given


def test_a_tail_that_reached_the_disk_in_part_is_no_damage(path):
    """The next segment's half is on the disk, the pages of the half before it are not."""
    _, durable, given = gone_on_without_drains(path)
    tail = bytearray(read(path + "/TAIL"))
    half = len(tail) // 2
    for start in (0, half):
        if int.from_bytes(tail[start + 40 : start + 48], "little") == 1:
            tail[start : start + half] = bytes(half)
    write(path + "/TAIL", bytes(tail))
    with oor.open(path, **ROOMY) as db:
        assert sorted(content(db)) == [b"%05d" % i for i in range(durable)]
        assert db.put(b"next", b"") > given


# ---- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flipped", "zeros"])
def test_damage_below_the_durable_lsn_is_refused_with_its_place(path, damage):
    filled(path, 20)
    segment = files(path, ".wal")[0]
    offset, size, first, _ = frames_of(segment)[4]
    without_tail(path)
    if damage == "zeros":
        data = bytearray(read(segment))
        data[offset : offset + size] = bytes(size)
        write(segment, bytes(data))
    else:
        flip(segment, offset + 45)
    before = {name: read(name) for name in files(path)}
    with pytest.raises(oor.CorruptionError) as caught:
        oor.open(path, **ROOMY)
    error = caught.value
    assert (error.segment, error.offset, error.first_lsn) == (1, offset, first)
    assert error.last_lsn == 19, "the last frame promises everything before it"
    assert {name: read(name) for name in files(path)} == before | {
        path + "/LOCK": read(path + "/LOCK")
    }


def test_a_log_that_is_all_zeros_behind_its_header_is_refused_when_the_next_one_says_so(path):
    filled(path, 150)
    without_tail(path)
    first, *_ = files(path, ".wal")
    write(first, read(first)[:4096] + bytes(len(read(first)) - 4096))
    with pytest.raises(oor.CorruptionError) as caught:
        oor.open(path, **ROOMY)
    assert caught.value.segment == 1
    assert caught.value.offset == 4096


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_segment_is_refused(path, which):
    filled(path, 250)
    segments = [name for name in files(path, ".wal") if frames_of(name)]
    assert len(segments) > 2
    os.unlink(segments[which])
    with pytest.raises(oor.CorruptionError, match="missing") as caught:
        oor.open(path, **ROOMY)
    assert caught.value.segment == which + 1


def test_the_first_segment_of_an_epoch_is_missed_although_the_tables_hold_all_before_it(path):
    with oor.open(path, **ROOMY) as db:
        db.put(b"flushed", b"1")
    db = oor.open(path, **ROOMY)
    db.put(b"logged", b"2")
    kill(db)
    for name in files(path, ".wal"):
        os.unlink(name)
    with pytest.raises(oor.CorruptionError, match="missing"):
        oor.open(path, **ROOMY)


def test_a_lost_current_is_refused_and_nothing_is_removed(path):
    filled(path, 5)
    os.unlink(path + "/CURRENT")
    before = os.listdir(path)
    with pytest.raises(oor.CorruptionError, match="CURRENT"):
        oor.open(path, **ROOMY)
    assert sorted(os.listdir(path)) == sorted(before)


@pytest.mark.parametrize("damage", [b"X" * 4096, bytes(4096)])
def test_a_damaged_header_is_refused_and_one_copy_of_it_is_enough(path, damage, tmp_path):
    found = filled(path, 20)
    without_tail(path)
    twin = copy_of(path, tmp_path / "twin")
    segment = files(path, ".wal")[0]
    write(segment, damage + read(segment)[4096:])
    with pytest.raises(oor.CorruptionError) as caught:
        oor.open(path, **ROOMY)
    assert caught.value.segment == 1
    flip(files(twin, ".wal")[0], 20)  # the first copy of two
    with oor.open(twin, **ROOMY) as db:
        assert content(db) == found


def test_a_missing_table_is_refused(path):
    with oor.open(path, **ROOMY) as db:
        db.put(b"a", b"1")
    (table,) = files(path, ".sst")
    os.unlink(table)
    with pytest.raises(oor.CorruptionError, match="table") as caught:
        oor.open(path, **ROOMY)
    assert caught.value.path == table


# ---- what cannot be read is not the end ----------------------------------------------------------


@pytest.mark.parametrize("close", [False, True])
def test_an_error_at_any_read_of_an_open_is_raised_and_the_next_open_is_complete(close):
    with scratch() as folder:
        twin = f"{folder}/store"
        filled(twin, 60)
        db = oor.open(twin, **TINY)
        db.compact()
        db.put(b"more", b"1")
        found = content(db)
        if close:
            db.close()
        else:
            kill(db)
        fail_at_each_read(folder, twin, found)


def fail_at_each_read(folder, twin, found):
    kept = {name: read(name) for name in files(twin) if not name.endswith(("LOCK", "TAIL"))}
    faults = 0
    with Recording(folder, payloads=False) as recording:
        for nth in range(1, 200):
            recording.fail((Op.READ, Op.LIST, Op.SIZE), nth=nth, errno=errno.EIO)
            try:
                db = oor.open(twin, **TINY)
            except oor.OorError as error:
                assert isinstance(error, (oor.StorageError, oor.CorruptionError)), error
                assert error.errno == errno.EIO
            else:
                missed = recording.faults_met == 0
                recording.heal()
                assert missed, "an error of a read went unseen"
                assert content(db) == found
                kill(db)
                break
            recording.heal()
            if read(f"{twin}/CURRENT") == kept[f"{twin}/CURRENT"]:
                for name, data in kept.items():
                    assert os.path.exists(name), f"{name} was removed after an error"
                    assert read(name) == data
            faults += 1
    assert faults > 5


def test_a_short_read_is_read_on(path, tmp_path):
    found = filled(path, 30)
    with Recording(tmp_path, payloads=False) as recording:
        for amount in (1, 7, 512):
            twin = copy_of(path, tmp_path / f"twin{amount}")
            recording.fail(Op.READ, how=How.PARTIAL, amount=amount, forever=True)
            with oor.open(twin, **ROOMY) as db:
                recording.heal()
                assert content(db) == found


# ---- recovery that is cut short ------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize(
    "memtable_bytes", [1 << 20, 4096], ids=["copied forward", "flushed on the way"]
)
def test_a_recovery_that_fails_anywhere_is_recovered_by_the_next(error, memtable_bytes):
    options = ROOMY | {"memtable_bytes": memtable_bytes}
    with scratch() as folder, Recording(folder, payloads=False) as recording:
        origin = f"{folder}/origin"
        found = filled(origin, 60, mode="os")
        for nth in range(1, 400):
            store = copy_of(origin, f"{folder}/twin")
            met = []
            for place in (nth, nth * 7 % 31 + 1):  # two recoveries in a row that both fail
                recording.fail(nth=place, path_part="twin", errno=error)
                with contextlib.suppress(oor.StorageError):
                    kill(oor.open(store, **options))
                met.append(recording.faults_met)
                recording.heal()
            with oor.open(store, **options) as db:
                assert content(db) == found
                assert db.put(b"next", b"") > 60
            shutil.rmtree(store)
            if not met[0]:
                break
        assert 20 < nth < 399


def test_a_full_disk_is_not_filled_further_by_every_open_that_fails(path, tmp_path):
    filled(path, 30)
    with Recording(tmp_path, payloads=False) as recording:
        recording.fail(Op.WRITE, path_part="MANIFEST", errno=errno.ENOSPC, forever=True)
        sizes = []
        for _ in range(4):
            with pytest.raises(oor.DiskFullError):
                oor.open(path, **ROOMY)
            sizes.append(sum(os.path.getsize(name) for name in files(path)))
    assert sizes[0] == sizes[-1]


@pytest.mark.parametrize("is_new", [False, True], ids=["there", "new"])
def test_failed_opens_leave_no_descriptor_and_no_thread_behind(path, tmp_path, is_new):
    filled(path, 10)
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    tasks = len(os.listdir("/proc/self/task"))
    with Recording(tmp_path, payloads=False) as recording:
        for nth in range(1, 60):
            twin = str(tmp_path / "twin") if is_new else copy_of(path, tmp_path / "twin")
            recording.fail(
                (*(op for op in Op if op is not Op.CLOSE),),
                nth=nth,
                path_part="twin",
                errno=errno.EIO,
            )
            with contextlib.suppress(oor.OorError):
                kill(oor.open(twin, **ROOMY))
            recording.heal()
            shutil.rmtree(twin, ignore_errors=True)
    gc.collect()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
    # A thread that has ended may still have been listed at first.
    assert len(os.listdir("/proc/self/task")) <= tasks


def test_a_dry_plan_changes_nothing(path):
    filled(path, 30)
    before = {name: read(name) for name in files(path)}
    plan = analyze(path)
    assert plan.problem is None
    assert plan.log_end_lsn == 30
    assert {name: read(name) for name in files(path)} == before


def test_a_clean_close_is_reopened_without_redo(path):
    with oor.open(path, **ROOMY) as db:
        db.put(b"a", b"1")
    with oor.open(path, **ROOMY) as db:
        assert db.recovery.clean
        assert db.recovery.records == 0
        assert db[b"a"] == b"1"


def test_orphans_are_removed(path):
    filled(path, 5)
    for name in (
        "000000000077.sst",
        "000000000078.wal",
        "000000000079.spare",
        "CURRENT.tmp",
        "MANIFEST-000000000066",
    ):
        write(f"{path}/{name}", b"junk")
    write(path + "/notes.txt", b"somebody else's")
    with oor.open(path, **ROOMY) as db:
        assert len(db.recovery.orphans) == 5
        assert len(content(db)) == 5
    assert os.path.exists(path + "/notes.txt")
    assert not os.path.exists(path + "/000000000077.sst")


def test_two_sessions_that_both_crash_give_no_lsn_twice(path):
    given = set()
    for _ in range(6):
        db = oor.open(path, **ROOMY)
        for i in range(30):
            lsn = db.put(b"%d" % i, b"x", durability="os" if i > 10 else "sync")
            assert lsn not in given
            given.add(lsn)
        kill(db)
        without_tail(path)


def test_recovery_reads_each_segment_once(tmp_path):
    """Redo goes on with the bytes that analysis has read; a segment of zeros is not kept at all."""
    folder = tmp_path / "s"
    db = oor.open(folder, background=False, durability="os")
    for n in range(3000):
        db.put(b"%06d" % n, bytes(1000))
    kill(db)
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.wal")}
    assert len(sizes) > 1
    with Recording(folder) as recording:
        kill(oor.open(folder, background=False))
    read = dict.fromkeys(sizes, 0)
    for event in recording.events:
        name = os.path.basename(event.path)
        if event.op == Op.READ and name in sizes:
            read[name] += event.effect
    for name, size in sizes.items():
        # Whether it is blank is looked for in pieces of 256 KiB.
        assert size <= read[name] <= size + (256 << 10)


# ---- nothing is read that the disk may not have --------------------------------------------------


def test_an_open_makes_every_file_durable_before_it_reads_it(path):
    """What the page cache shows may not be on the disk: served, it would be gone after the next
    power loss.
    """
    db = oor.open(path, **TINY)
    for i in range(100):
        db.put(b"%03d" % i, b"v" * 50, durability="os")
    db.flush()
    db.put(b"more", b"1")
    kill(db)
    with Trace() as trace:
        db = oor.open(path, **TINY)
        events = trace.take()
        kill(db)
    read_first: dict[str, int] = {}
    synced: dict[str, int] = {}
    for at, event in enumerate(events):
        if event.op is Op.READ:
            read_first.setdefault(event.path, at)
        elif event.op is Op.SYNC:
            synced.setdefault(event.path, at)
    checked = [name for name in read_first if name.endswith((".wal", ".sst")) or "MANIFEST" in name]
    assert len(checked) >= 3
    for name in checked:
        assert synced.get(name, len(events)) < read_first[name], name
    names = next(at for at, event in enumerate(events) if event.op is Op.SYNC_DIR)
    assert names < min(read_first[name] for name in checked)


def test_a_sync_of_an_open_that_fails_ends_it(path):
    """The kernel may call pages clean that a failed sync left behind; nothing of them is trusted."""
    db = oor.open(path, **TINY)
    for i in range(200):
        db.put(b"%03d" % i, b"v" * 50, durability="os")
    db.flush()
    db.put(b"more", b"1")
    found = content(db)
    kill(db)
    read_by_open = [name for name in files(path) if name.endswith((".wal", ".sst"))]
    read_by_open += [name for name in files(path) if "MANIFEST" in name]
    for nth in range(1, len(read_by_open) + 1):
        with Trace() as trace:
            trace.fail(Op.SYNC, nth=nth, errno=errno.EIO)
            with pytest.raises(oor.StorageError) as raised:
                oor.open(path, **TINY)
            assert trace.faults_met == 1
        assert raised.value.errno == errno.EIO and raised.value.path in read_by_open
    with oor.open(path, **TINY) as db:
        assert content(db) == found
