"""The log: frames, segments, the shared tail, rotation and reuse."""

from __future__ import annotations

import os
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.engine import files, flip, read, scratch, write
from support.recording import Op, Recording

import oor
from oor.log import Log, SegmentScan, Tail, inspect_segment
from oor.native import Columns, lib
from oor.options import Options

ID = bytes(range(16))


def open_log(folder, *, epoch=1, first_segment=1, lsn=1, **options):
    log = Log(
        str(folder), database_id=ID, epoch=epoch, first_segment=first_segment, first_lsn=lsn, next_lsn=lsn, room=0,
        options=Options.of(**{"segment_bytes": 32 << 10, "tail_bytes": 16 << 10, "durability": "os"} | options),
    )  # fmt: skip
    log.finish_copy()
    log.start()
    return log


def read_log(folder, *, epoch=1, tail=True):
    """Every mutation that the segments and the tail hold, in order, and what ended the last one."""
    found = []
    info = None
    old = Tail(str(folder), ID, epoch if tail else epoch + 1000)
    for path in files(str(folder), ".wal"):
        number = int(os.path.basename(path)[:-4])
        info = inspect_segment(str(folder), number, ID, epoch, old)
        if not info.begun:
            break
        scan = SegmentScan(str(folder), number, ID, epoch, old, 0)
        while (chunk := scan.next(1)) is not None:
            found += chunk.pairs.items()
        scan.close()
    return found, info


SIZES = st.lists(st.integers(0, 5000) | st.sampled_from([12_200, 16_384, 40_000]), max_size=40)


@given(sizes=SIZES, padding=st.booleans(), direct=st.booleans(), syncs=st.integers(1, 50))
@settings(max_examples=40)
def test_what_is_appended_is_read_back_across_tails_segments_and_large_frames(
    sizes, padding, direct, syncs
):
    with scratch() as folder:
        log = open_log(folder, wal_block_padding=padding, direct_io=direct)
        given_ = []
        for i, size in enumerate(sizes):
            lsn = log.put(b"%d" % i, b"v" * size)
            assert lsn == i + 1
            given_.append((b"%d" % i, b"v" * size))
            if i % syncs == 0:
                log.sync(lsn)
                assert log.durable_lsn() >= lsn
        log.close()
        assert read_log(folder)[0] == given_


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("over", range(-100, 101, 50))
def test_frames_about_as_large_as_the_tail_neither_hang_nor_get_lost(tmp_path, padding, over):
    log = open_log(tmp_path, wal_block_padding=padding)
    given_ = []
    for blocks in (1, 2, 3, 4, 7, 8):
        value = b"v" * (blocks * 4096 + over - 64)
        given_.append((b"%d" % blocks, value))
        log.put(*given_[-1])
    log.close()
    assert read_log(tmp_path)[0] == given_


def test_a_batch_is_one_frame(tmp_path):
    log = open_log(tmp_path)
    assert log.append(Columns([b"a", b"b", b"c"], [b"1", None, b"3"])) == 1
    assert log.next_lsn() == 4
    log.sync(3)
    log.close()
    found, info = read_log(tmp_path, tail=False)
    assert found == [(b"a", b"1"), (b"b", None), (b"c", b"3")]
    assert (info.frames, info.records, info.last_lsn) == (1, 3, 3)


def test_rotation_makes_everything_before_it_durable_and_states_it_in_the_header(tmp_path):
    log = open_log(tmp_path)
    for i in range(10):
        log.put(b"%d" % i, b"v")
    assert log.rotate() == 2
    assert log.durable_lsn() == 10
    assert log.rotate() == 2, "an empty segment is not left"
    log.close()
    _, info = read_log(tmp_path)
    assert (info.number, info.previous_segment, info.previous_last_lsn, info.first_lsn) == (
        2,
        1,
        10,
        11,
    )


@pytest.mark.parametrize("tail", [64 << 10, 2 << 20], ids=["small tail", "large tail"])
def test_segments_grow_from_a_megabyte_to_their_full_size_and_hold_a_full_tail(tmp_path, tail):
    """Each is made while the one before it fills: a first one of full size would come too late."""
    log = open_log(tmp_path, segment_bytes=8 << 20, tail_bytes=tail)
    given_ = []
    while log.state().rotations < 5:
        given_.append((b"%06d" % len(given_), bytes(tail - 5000)))
        log.put(*given_[-1])
    sizes = [segment.size for segment in log.segments()]
    assert sizes[0] == 1 << 20 and sizes[-2:] == [8 << 20, 8 << 20]
    assert all(last < size <= max(2 * last, tail + 4096) for last, size in pairwise(sizes[:-2]))
    assert sizes == [os.path.getsize(path) for path in files(str(tmp_path), ".wal")][: len(sizes)]
    assert log.state().disk_bytes in (sum(sizes), sum(sizes) + (8 << 20)), "one may be made ahead"
    log.close()
    assert read_log(tmp_path)[0] == given_


def test_only_segments_of_full_size_are_kept_to_be_used_again(tmp_path):
    log = open_log(tmp_path, segment_bytes=4 << 20, tail_bytes=64 << 10, spare_segments=9)
    while log.state().rotations < 6:
        log.put(b"key", bytes(50_000))
    log.sync(log.next_lsn() - 1)
    sizes = [segment.size for segment in log.segments()[:-1]]
    assert log.release(log.next_lsn() - 1) == len(sizes)
    spares = [os.path.getsize(path) for path in files(str(tmp_path), ".spare")]
    assert spares == [4 << 20] * sum(size == 4 << 20 for size in sizes)
    log.close()


def test_segments_go_only_when_everything_in_them_is_released(tmp_path):
    log = open_log(tmp_path, spare_segments=0)
    for i in range(150):
        log.put(b"%03d" % i, b"v" * 500)
    log.sync(150)
    segments = log.segments()
    assert len(segments) > 2
    assert log.release(segments[0].last_lsn - 1) == 0
    assert log.release(segments[0].last_lsn) == 1
    assert [s.number for s in log.segments()] == [s.number for s in segments[1:]]
    assert log.first_needed_segment(segments[1].last_lsn) == segments[2].number
    log.close()


@pytest.mark.parametrize("size", [960, 971, 983])
def test_a_segment_that_is_used_again_never_replays_frames_of_its_earlier_uses(tmp_path, size):
    log = open_log(tmp_path, spare_segments=2)
    lsn = 0
    for _ in range(6):
        while log.state().segment_count < 3:
            lsn = log.put(b"%06d" % lsn, b"v" * size)
        log.rotate()
        log.release(lsn)
    assert log.state().recycled > 3
    first = log.next_lsn()
    for _ in range(5):
        log.put(b"new", b"n" * size)
    log.sync(lsn + 5)
    log.close()
    newest = files(str(tmp_path), ".wal")
    numbers = [int(os.path.basename(path)[:-4]) for path in newest]
    info = inspect_segment(
        str(tmp_path), max(n for n in numbers if begun(tmp_path, n)), ID, 1, no_tail(tmp_path)
    )
    assert (info.first_lsn, info.records, info.later_frames) == (first, 5, 0)
    assert info.ended_text in ("bytes that do not verify", "zeros")


def no_tail(folder):
    return Tail(str(folder), ID, 999)


def begun(folder, number):
    return inspect_segment(str(folder), number, ID, 1, no_tail(folder)).begun


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"OORF"])
def test_what_was_never_a_segment_gives_no_frame(tmp_path, fill):
    write(str(tmp_path / "000000000001.wal"), fill * (40_960 // len(fill)))
    info = inspect_segment(str(tmp_path), 1, ID, 1, no_tail(tmp_path))
    assert not info.begun and info.frames == 0 and info.later_frames == 0
    for size in (0, 1, 99, 4095):
        write(str(tmp_path / "000000000001.wal"), fill * (size // len(fill)))
        assert not inspect_segment(str(tmp_path), 1, ID, 1, no_tail(tmp_path)).begun


@pytest.mark.parametrize("length", [0, 1, 2**30, 2**30 + 1, 2**31 - 1, 2**32 - 1])
def test_a_damaged_length_is_never_believed(tmp_path, length):
    log = open_log(tmp_path)
    for i in range(3):
        log.put(b"%d" % i, b"v" * 100)
    log.sync(3)
    log.close()
    path = files(str(tmp_path), ".wal")[0]
    data = bytearray(read(path))
    data[4096 + 152 + 8 : 4096 + 152 + 12] = length.to_bytes(4, "little")
    write(path, bytes(data))
    info = inspect_segment(str(tmp_path), 1, ID, 1, no_tail(tmp_path))
    assert info.last_lsn == 1
    assert info.later_frames == 1 and info.highest_lsn == 3


def test_other_databases_and_epochs_are_not_read(tmp_path):
    log = open_log(tmp_path)
    log.put(b"a", b"1")
    log.sync(1)
    log.close()
    assert inspect_segment(str(tmp_path), 1, ID, 1, no_tail(tmp_path)).records == 1
    assert not inspect_segment(str(tmp_path), 1, ID, 2, no_tail(tmp_path)).begun
    assert not inspect_segment(str(tmp_path), 1, bytes(16), 1, no_tail(tmp_path)).begun


def test_one_of_two_header_copies_is_enough(tmp_path):
    open_log(tmp_path).close()
    path = files(str(tmp_path), ".wal")[0]
    for copy in (0, 2048):
        flip(path, copy + 30)
        assert begun(tmp_path, 1)
        flip(path, copy + 30)
    flip(path, 30)
    flip(path, 2078)
    assert not begun(tmp_path, 1)


def test_with_block_padding_no_block_is_written_twice(tmp_path):
    with Recording(tmp_path, payloads=False) as recording:
        log = open_log(tmp_path, wal_block_padding=True, segment_bytes=1 << 20)
        start = len(recording.take())
        for i in range(60):
            lsn = log.put(b"%d" % i, b"v" * (37 * i % 2000))
            if i % 3 == 0:
                log.sync(lsn)
        log.sync(lsn)
        log.close()
    seen = set()
    for event in recording.events[start:]:
        if event.op is Op.WRITE and event.path.endswith("1.wal"):
            blocks = {
                (event.path, at) for at in range(event.offset, event.offset + event.length, 4096)
            }
            assert not blocks & seen
            seen |= blocks
    assert len(seen) > 5


def test_a_seal_promises_all_that_was_written(tmp_path):
    log = open_log(tmp_path)
    log.put(b"a", b"1")
    log.seal()
    log.close()
    _, info = read_log(tmp_path, tail=False)
    assert info.ended == lib.OOR_END_SEAL
    assert info.promised_lsn == 1


def test_an_idle_log_seals_itself_so_that_the_last_writes_are_promised_too(tmp_path):
    log = open_log(tmp_path, durability="interval", sync_interval=0.005)
    log.put(b"a", b"1")
    for _ in range(2000):
        if read_log(tmp_path, tail=False)[1].ended == lib.OOR_END_SEAL:
            break
        threading.Event().wait(0.005)
    else:
        pytest.fail("no seal was written")
    log.put(b"b", b"2")
    log.sync(2)
    log.close()
    assert read_log(tmp_path, tail=False)[0] == [(b"a", b"1"), (b"b", b"2")]


def test_calls_after_a_close_say_so(tmp_path):
    log = open_log(tmp_path)
    log.close()
    for call in (lambda: log.put(b"a", b""), log.rotate, log.seal):
        with pytest.raises(oor.ClosedError):
            call()
