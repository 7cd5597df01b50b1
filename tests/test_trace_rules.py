"""The rules that a trace of a store is held against: an ack follows its syncs, a failed sync is final."""

from __future__ import annotations

import errno
import os

import pytest

from oor import native
from oor.crashlab.recording import Op, Recording
from oor.crashlab.rules import acks_follow_durability, failed_syncs_are_final
from oor.errors import StorageError
from oor.native import lib

NEW = native.READ | native.WRITE | native.CREATE


def numbers_in(write):
    return [write.payload[0]]


def logged(folder, *, sync_first=False, sync=True, sync_dir=True, flags=0):
    """One write that carries LSN 7, acknowledged as durable."""
    with Recording(folder) as recording:
        with native.File(str(folder / "log"), NEW | flags) as file:
            if sync_first:
                file.sync()
            file.write(b"\x07rest", 0)
            if sync:
                file.sync()
        if sync_dir:
            native.sync_dir(str(folder))
        recording.mark("ack durable 7")
    return acks_follow_durability(recording.events, numbers_in)


def test_an_ack_after_the_syncs_keeps_the_rule(tmp_path):
    assert logged(tmp_path) == []


def test_an_ack_after_a_dsync_write_keeps_the_rule(tmp_path):
    assert logged(tmp_path, sync=False, flags=lib.OOR_OPEN_DSYNC) == []


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        ({"sync": False}, "before its write is durable"),
        ({"sync": False, "sync_first": True}, "before its write is durable"),
        ({"sync_dir": False}, "before its file's name is durable"),
    ],
)
def test_an_ack_without_one_of_the_syncs_breaks_the_rule(tmp_path, missing, complaint):
    (broken,) = logged(tmp_path, **missing)
    assert complaint in broken


def test_a_name_given_after_the_sync_of_its_directory_allows_no_ack(tmp_path):
    with Recording(tmp_path) as recording:
        with native.File(str(tmp_path / "log.tmp"), NEW) as file:
            file.write(b"\x07", 0)
            file.sync()
        native.sync_dir(str(tmp_path))
        native.rename(str(tmp_path / "log.tmp"), str(tmp_path / "log"))
        events = [*recording.take()]
        recording.mark("ack durable 7")
    (broken,) = acks_follow_durability(recording.events, numbers_in)
    assert "name" in broken
    # The sync of the directory returned last, but had begun before there was the name.
    sync_dir, rename = events[-2:]
    sync_dir.end, rename.begin, rename.end = rename.end, sync_dir.end, sync_dir.end
    mark = recording.events[-1]
    (broken,) = acks_follow_durability([*events[:-2], rename, sync_dir, mark], numbers_in)
    assert "name" in broken


def test_a_sync_that_began_before_the_write_ended_allows_no_ack(tmp_path):
    native.replace_atomic(str(tmp_path / "log"), b"")
    with Recording(tmp_path) as recording:
        with native.File(str(tmp_path / "log"), NEW) as file:
            file.sync()
            file.write(b"\x07", 0)
        recording.mark("ack durable 7")
    native.sync_dir(str(tmp_path))
    events = recording.events
    opened, sync, write = events[:3]
    opened.flags &= ~os.O_CREAT
    sync.end, write.begin, write.end = write.end, sync.end, sync.end
    events[1:3] = [write, sync]
    (broken,) = acks_follow_durability(events, numbers_in)
    assert "before its write is durable" in broken


def test_an_ack_of_something_never_written_breaks_the_rule(tmp_path):
    with Recording(tmp_path) as recording:
        recording.mark("ack durable 7")
    (broken,) = acks_follow_durability(recording.events, numbers_in)
    assert "never written" in broken


def test_going_on_after_a_failed_sync_breaks_the_rule(tmp_path):
    with Recording(tmp_path) as recording, native.File(str(tmp_path / "a"), NEW) as file:
        recording.fail(Op.SYNC, errno=errno.EIO)
        with pytest.raises(StorageError):
            file.sync()
        assert failed_syncs_are_final(recording.take()) == []
        file.sync()
    (broken,) = failed_syncs_are_final(recording.events)
    assert "SYNC" in broken
