"""Every call fails in every way that a disk is known to fail in, and then the power goes too.

OOR_EXPLORE=n looks at n times as many calls; `make faults` at each of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import replace

import pytest

import oor
from oor import native
from oor.crashlab import model
from oor.crashlab.faults import ERROR_PROFILES, FaultExplorer
from oor.crashlab.memory import ROOT, STORE, MemoryDisk
from oor.crashlab.profiles import PROFILES
from oor.crashlab.recording import MUTATING, How, Op, Recording, Snapshot
from oor.crashlab.run import TINY, kill

EXPLORE = int(os.environ.get("OOR_EXPLORE", "1"))
BY_NAME = {kind.name: kind for kind in ERROR_PROFILES}
LATE = "sync: told at the next one"
ELSEWHERE = "sync: told to another descriptor"


@pytest.fixture
def disk():
    with MemoryDisk() as disk:
        yield disk


@pytest.mark.parametrize("kind", ERROR_PROFILES, ids=lambda kind: kind.name.replace(" ", "_"))
def test_no_error_of_the_system_costs_what_was_promised(disk, kind):
    explorer = FaultExplorer(disk, seed=1)
    stride = max(1, (40 if len(kind.ops) > 2 else 5) // EXPLORE)
    for options in ({}, {"direct_io": False}):
        explorer.explore(kind, options, stride=stride)
    tally = explorer.tally
    assert not tally.violations, "\n".join(map(str, tally.violations))
    assert tally.calls[kind.name] and tally.states[kind.name]


def test_every_call_that_changes_the_disk_can_be_done_and_reported_as_failed(disk):
    explorer = FaultExplorer(disk, points=1, states=1)
    kind = BY_NAME["EIO, and it was done"]
    met = set()
    for op in (*MUTATING, Op.CLOSE):
        explorer.explore(replace(kind, ops=(op,)))
        met = {name for name, count in explorer.tally.by_op.items() if count}
    assert met == {op.name for op in (*MUTATING, Op.CLOSE)} - {"LINK"}, "no file has two names"
    assert not explorer.tally.violations


# ---- it would say so -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [LATE, ELSEWHERE])
def test_a_device_that_lies_about_a_sync_is_seen_to_lose_what_was_promised(disk, name):
    """The same states without forgiveness: these two are no claim, and the page says so."""
    explorer = FaultExplorer(disk)
    explorer.explore(replace(BY_NAME[name], lies=False), {"direct_io": False}, stride=3)
    assert {found.invariant for found in explorer.tally.violations} & {"I2", "I9", "I12"}


def test_a_store_that_takes_a_failed_sync_for_made_is_caught(disk, monkeypatch):
    """A planted bug: success is told for every sync that failed, so that the store goes on."""
    explorer = FaultExplorer(disk)
    fail = Recording.fail
    monkeypatch.setattr(
        Recording, "fail", lambda self, ops, **named: fail(self, ops, **named | {"how": How.SWALLOWED})
    )  # fmt: skip
    kind = replace(BY_NAME["sync: EIO, pages clean, new bytes read"], how=How.SWALLOWED)
    explorer.explore(kind, {"direct_io": False}, stride=3)
    assert explorer.tally.violations


# ---- the model of a failed sync ------------------------------------------------------------------


def written_and_failed(profile, after):
    """A file of "old" on which "new" was written, whose sync failed, and that was synced again."""
    flags = native.WRITE | native.CREATE
    with (
        MemoryDisk(),
        Recording(ROOT, start=Snapshot([""])) as recording,
        native.File(f"{ROOT}/a", flags) as file,
    ):
        file.write(b"old", 0)
        file.sync()
        native.sync_dir(ROOT)
        file.write(b"new", 0)
        recording.fail(Op.SYNC, errno=errno.EIO, how=after)
        with contextlib.suppress(oor.StorageError):
            file.sync()
        recording.heal()
        file.sync()
    disk = model.Disk(Snapshot([""]), profile)
    for event in recording.events:
        path = event.path.removeprefix(ROOT).lstrip("/") or "."
        disk.feed(event, path, None)
    return disk.find("a")


def test_the_pages_of_a_failed_sync_are_never_written_by_a_later_one():
    file = written_and_failed(PROFILES["posix-strict"], How.BEFORE)
    assert bytes(file.live) == b"new" and bytes(file.base) == b"old"
    assert [unit.clean for unit in file.pending()] == [True]


def test_a_file_system_that_drops_them_shows_what_was_there_before():
    file = written_and_failed(PROFILES["btrfs"], How.BEFORE)
    assert bytes(file.live) == bytes(file.base) == b"old" and not file.pending()


def test_a_sync_that_told_nobody_has_lost_its_pages_too():
    file = written_and_failed(PROFILES["posix-strict"], How.SWALLOWED)
    assert bytes(file.base) == b"old" and file.pending()


def test_an_error_told_late_comes_at_the_next_sync_of_the_file_and_of_no_other(disk):
    with Recording(ROOT, start=Snapshot([""])) as recording:
        flags = native.WRITE | native.CREATE
        with native.File(f"{ROOT}/a", flags) as a, native.File(f"{ROOT}/b", flags) as b:
            a.write(b"1", 0)
            recording.fail(Op.SYNC, errno=errno.EIO, how=How.LATE)
            a.sync()
            b.sync()
            with pytest.raises(oor.StorageError) as told:
                a.sync()
            assert told.value.errno == errno.EIO
            a.sync()
            assert recording.faults_met == 1


def test_a_transfer_goes_on_where_it_was_interrupted(disk):
    flags = native.READ | native.WRITE | native.CREATE
    with (
        Recording(ROOT, start=Snapshot([""])) as recording,
        native.File(f"{ROOT}/a", flags) as file,
    ):
        recording.fail(Op.WRITE, how=How.INTERRUPTED, amount=3)
        file.write(b"0123456789", 0)
        recording.fail(Op.READ, how=How.INTERRUPTED, amount=4)
        assert file.read(10) == b"0123456789"
        writes = [event for event in recording.take() if event.op is Op.WRITE]
        assert [event.result for event in writes] == [3, -errno.EINTR, 7]
        reads = [event.result for event in recording.take() if event.op is Op.READ]
        assert reads == [4, -errno.EINTR, 6]


# ---- no room behind each byte --------------------------------------------------------------------


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "buffered"])
@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT"])
def test_a_write_of_the_log_that_ran_out_of_room_behind_any_byte_is_whole_or_absent(
    disk, direct, name
):
    options = TINY | {"direct_io": direct}
    kept = {b"before": b"1", b"after": b"3"}
    for amount in [*range(0, 130), *range(130, 4096, 61), 4095]:
        disk.clear()
        with Recording(ROOT, start=Snapshot([""]), payloads=False) as recording:
            db = oor.open(STORE, **options)
            db.put(b"before", b"1", durability="sync")
            recording.fail(
                Op.WRITE, path_part=".wal", errno=getattr(errno, name), how=How.TORN, amount=amount
            )
            with pytest.raises(oor.DiskFullError) as full:
                db.put(b"torn", b"2" * 20, durability="sync")
            assert full.value.errno == getattr(errno, name)
            recording.heal()
            db.put(b"after", b"3", durability="sync")
            torn = {b"torn": b"2" * 20} if db.get(b"torn") else {}
            assert dict(db.scan()) == kept | torn
            kill(db)
            with oor.open(STORE, **options) as db:
                assert dict(db.scan()) in (kept, kept | {b"torn": b"2" * 20})
