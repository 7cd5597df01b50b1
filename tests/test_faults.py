"""Every call that changes the disk fails once, in the middle of a whole workload.

A full disk refuses the write and the same handle goes on; any other failure ends writing. In both
cases what was acknowledged stays readable and is there after the next open.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import shutil

import pytest
from support.engine import TINY, History, content, digest, kill, scratch
from support.recording import How, Op, Recording

import oor

STEPS = 36


def step(db, history, number):
    """One step of a workload that meets every room; deterministic."""
    mode = ("sync", "os", "os")[number % 3]
    size = 20_000 if number % 17 == 11 else 300
    batch = {b"key%02d" % (number % 13): b"%d " % number + b"v" * size}
    if number % 5 == 1:
        batch |= {b"other%d" % (number % 3): b"%d" % number, b"key%02d" % ((number + 5) % 13): None}
    history.write(db, batch, mode)
    if number % 9 == 4:
        db.flush()
    if number == 20:
        db.compact()
    if number in (14, 30):
        db.checkpoint()
    if number % 12 == 7:
        db._background.compactor.once()


def possible(history, failed):
    """Digests of what may be there: every acknowledged batch, and each failed one whole or not at
    all.
    """
    states = {digest({}): {}}
    for n, batch in enumerate(history.batches, 1):
        after = [{k: v for k, v in (s | batch).items() if v is not None} for s in states.values()]
        kept = states if n in failed else {}
        states = kept | {digest(state): state for state in after}
    return states


def run_with_fault(root, recording, arm, *, stays_open, options):
    """The workload with one fault; returns how many operations met it."""
    path = f"{root}/store"
    history, failed, raised = History(), set(), []
    recording.heal()
    try:
        db = oor.open(path, **TINY | options)
    except oor.OorError as error:
        raised.append(error)
        recording.heal()
        db = oor.open(path, **TINY | options)
    arm()
    for number in range(STEPS):
        try:
            step(db, history, number)
        except oor.OorError as error:
            raised.append(error)
            # A call that raised before it returned an LSN is indeterminate: whole or absent.
            failed |= history.uncertain
            if not isinstance(error, oor.DiskFullError):
                break
    met = recording.faults_met
    recording.heal()
    if stays_open:
        for error in raised:
            assert isinstance(error, oor.DiskFullError), error
        last = history.write(db, {b"once there is room": b"it goes on"}, "sync")
        assert last == db.durable_lsn
    elif raised:
        assert all(isinstance(error, oor.StorageError) for error in raised), raised
        fatal = any(is_fatal(event) for event in recording.take())
        try:
            history.write(db, {b"nothing of the log": b"was touched"}, "sync")
        except oor.FailedError:
            failed.add(len(history.batches))
            assert_read_only(db)
        else:
            assert not fatal, "writing went on after a failure of the log or the manifest"
    seen = content(db)
    assert digest(seen) in possible(history, failed), "a reader sees what no one wrote"
    kill(db)
    with oor.open(path, **TINY | options) as db:
        assert digest(content(db)) in possible(history, failed), "the next open lost something"
        db.put(b"and", b"on")
    with oor.open(path, **TINY | options) as db:
        assert db.recovery.clean
    return met


def is_fatal(event):
    """Whether it is a failure after which nothing may be written: of a write or sync of log or
    manifest.
    """
    if event.op not in (Op.WRITE, Op.SYNC) or event.result >= 0:
        return False
    return event.path.endswith(".wal") or "MANIFEST" in event.path or "CURRENT" in event.path


def assert_read_only(db):
    with pytest.raises(oor.FailedError):
        db.put(b"refused", b"", durability="sync")
    with pytest.raises(oor.FailedError):
        db.put(b"refused", b"", durability="os")
    with pytest.raises(oor.FailedError):
        db.flush()
    assert db.get(b"refused") is None


MUTATING = (
    Op.OPEN, Op.WRITE, Op.SYNC, Op.TRUNCATE, Op.ALLOCATE, Op.RENAME, Op.LINK, Op.UNLINK, Op.SYNC_DIR,
)  # fmt: skip
WITHOUT_SYNCS = tuple(op for op in MUTATING if op not in (Op.SYNC, Op.SYNC_DIR))


def fail_everywhere(arguments, *, stays_open, options):
    count = 0
    with scratch() as root:
        for nth in range(1, 5000):
            with Recording(root, payloads=False) as recording:
                met = run_with_fault(
                    root, recording, lambda: recording.fail(nth=nth, path_part="store/", **arguments),
                    stays_open=stays_open, options=options,
                )  # fmt: skip
            shutil.rmtree(f"{root}/store")
            count += bool(met)
            if not met:
                break
    assert count > 20, "hardly a fault was met"
    return count


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "buffered"])
def test_a_disk_that_is_full_for_one_call_loses_nothing_and_the_same_handle_goes_on(direct):
    fail_everywhere(
        {"ops": WITHOUT_SYNCS, "errno": errno.ENOSPC},
        stays_open=True,
        options={"direct_io": direct},
    )


def test_a_write_that_was_torn_by_a_full_disk_loses_nothing_and_the_same_handle_goes_on():
    fail_everywhere(
        {"ops": (Op.WRITE,), "errno": errno.ENOSPC, "how": How.TORN, "amount": 700},
        stays_open=True,
        options={},
    )


def test_a_short_write_is_written_on():
    fail_everywhere(
        {"ops": (Op.WRITE,), "how": How.PARTIAL, "amount": 512}, stays_open=True, options={}
    )


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "buffered"])
def test_any_failed_call_that_changes_the_disk_ends_writing_and_loses_nothing(direct):
    fail_everywhere(
        {"ops": MUTATING, "errno": errno.EIO}, stays_open=False, options={"direct_io": direct}
    )


def test_a_call_that_was_done_and_reported_as_failed_ends_writing_and_loses_nothing():
    fail_everywhere(
        {"ops": MUTATING, "errno": errno.EIO, "how": How.AFTER}, stays_open=False, options={}
    )


def test_a_segment_whose_name_found_no_room_is_made_again_under_the_same_number(tmp_path):
    with Recording(tmp_path, payloads=False) as recording:
        db = oor.open(str(tmp_path / "store"), **TINY | {"memtable_bytes": 1 << 20})
        recording.fail(Op.SYNC_DIR, errno=errno.ENOSPC)
        written, refused = 0, 0
        for i in range(400):
            try:
                db.put(b"%03d" % i, b"v" * 300, durability="os")
                written += 1
            except oor.DiskFullError:
                refused += 1
        assert recording.faults_met == 1
        assert refused <= 1 and written == len(content(db))
        assert db._state.log.segments()[-1].number >= 3
        kill(db)


@pytest.mark.parametrize("next_step", ["rotate and sync", "log only"])
def test_a_large_frame_that_found_no_room_but_reached_the_disk_hides_nothing_that_follows(
    tmp_path, next_step
):
    """Its LSN is given again, so that a reader must never take it for the frame that has it."""
    path = str(tmp_path / "store")
    options = TINY | {"memtable_bytes": 1 << 20}
    with Recording(tmp_path, payloads=False) as recording:
        db = oor.open(path, **options)
        db.put(b"before", b"1", durability="sync")
        # The frame's own file: the log's thread may write zeros to the next one at the same time.
        recording.fail(Op.WRITE, path_part="00000001.wal", errno=errno.ENOSPC, how=How.AFTER)
        with pytest.raises(oor.DiskFullError):
            db.put(b"large", b"L" * 17_000, durability="os")
        if next_step == "rotate and sync":
            db._state.log.rotate()
        db.put(b"after", b"2", durability="sync" if next_step == "rotate and sync" else "os")
        kill(db)
    with oor.open(path, **options) as db:
        assert content(db) == {b"before": b"1", b"after": b"2"}


def test_a_large_frame_that_finds_no_room_for_long_leaves_the_handle_writable(tmp_path):
    path = str(tmp_path / "store")
    options = TINY | {"memtable_bytes": 1 << 20}
    with Recording(tmp_path, payloads=False) as recording:
        db = oor.open(path, **options)
        recording.fail(Op.WRITE, path_part=".wal", errno=errno.ENOSPC, how=How.AFTER, forever=True)
        for mode in ("os", "sync"):
            with pytest.raises(oor.DiskFullError):
                db.put(b"large", b"L" * 17_000, durability=mode)
            with pytest.raises(oor.DiskFullError):
                db.put(b"small", b"S", durability=mode)
        recording.heal()
        db.put(b"after", b"2", durability="os")
        kill(db)
    with oor.open(path, **options) as db:
        assert content(db) == {b"after": b"2"}


def test_a_store_that_failed_and_was_closed_holds_no_descriptor(tmp_path):
    """The failure that it keeps would hold the frames it came through, and they their tables."""
    path = str(tmp_path / "store")

    def life():
        with Recording(path, payloads=False) as recording:
            db = oor.open(path, background=False)
            db.put(b"k", b"v")
            recording.fail(Op.SYNC, path_part="MANIFEST", errno=errno.EIO)
            with contextlib.suppress(oor.FailedError):
                db.flush()
            assert recording.faults_met == 1
            with contextlib.suppress(oor.OorError):
                db.close()

    gc.collect()
    gc.disable()
    try:
        before = os.listdir("/proc/self/fd")
        life()
        assert len(os.listdir("/proc/self/fd")) == len(before)
    finally:
        gc.enable()
