"""Segments that are used again: classes B1 to B10, each with a test that carries its id."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from dataclasses import replace

import pytest
from support.recording import Op, Recording

import oor
from oor import names
from oor.analysis import analyze
from oor.log import Log, Tail, inspect_segment
from oor.manifest import Manifest, read_manifest
from oor.native import ffi, lib
from oor.options import Options

SMALL = {
    "segment_bytes": 64 << 10,
    "tail_bytes": 16 << 10,
    "spare_segments": 4,
    "background": False,
    "max_immutables": 1000,
}
BLOCK = 4096


def opened(path, **options):
    return oor.open(path, **SMALL | options)


def crash(db, target, *, power=False):
    """The files of an open store as the end of its process leaves them; with `power`, no shared
    tail."""
    for _ in range(100):
        try:
            shutil.copytree(db.path, target)
            break
        except shutil.Error:  # a thread of the log gave a file another name meanwhile
            shutil.rmtree(target)
    if power:
        os.unlink(target / names.TAIL)
    return target


def fill(db, count, size, *, start=0, durability=None):
    """Records of equal size; returns the pairs."""
    pairs = {b"%06d" % n: b"%06d" % n + b"v" * (size - 6) for n in range(start, start + count)}
    for key, value in pairs.items():
        db.put(key, value, durability=durability)
    return pairs


def recycle(db, size=200):
    """Use some segments, free them, and go on until recycled ones are in use; returns all pairs."""
    pairs = fill(db, 900, size)
    db.checkpoint()
    pairs |= fill(db, 700, size, start=900)
    db.sync()
    assert db.stats().log.recycled >= 2, "the workload must use files again"
    return pairs


def segments(path):
    found = [(names.parse(name), name) for name in sorted(os.listdir(path))]
    return [
        (number, path / name) for (kind, number), name in found if kind is names.FileKind.SEGMENT
    ]


def frames_in(data, offset):
    """Whole frames with mutations from `offset` on, at any place that frames may have: (offset,
    LSN)."""
    info = ffi.new("oor_frame_info *")
    found = []
    while offset < len(data):
        if lib.oor_frame_inspect(data, len(data), offset, info):
            if info.op_count:
                found.append((offset, info.first_lsn))
            offset += info.size
        else:
            offset += 8
    return found


def recycled_files(db, size=200, **last):
    """Goes on until files are used again; each of them with the header of its use before, and its
    bytes now."""
    pairs = fill(db, 900, size)
    before = {os.stat(path).st_ino: path.read_bytes()[:BLOCK] for _, path in segments(db_path(db))}
    db.checkpoint()
    pairs |= fill(db, 250, last.get("size", size), start=900)
    db.sync()
    now = [(before[ino], path.read_bytes(), number) for number, path in segments(db_path(db))
           if (ino := os.stat(path).st_ino) in before]  # fmt: skip
    return pairs, now


def db_path(db):
    from pathlib import Path

    return Path(db.path)


def content(path, **options):
    with opened(path, **options) as db:
        return dict(db.scan())


# ---- B1, B2: what an earlier use left in the file ------------------------------------------------


@pytest.mark.parametrize("power", [False, True])
def test_old_frames_behind_the_end_of_a_recycled_segment_are_never_replayed(tmp_path, power):
    """B1: frames of equal size, so that the old ones stand exactly where the next new one would."""
    with opened(tmp_path / "s", durability="os") as db:
        pairs, reused = recycled_files(db)
        lsn = db.last_lsn
        image = crash(db, tmp_path / "image", power=power)
    stale = 0
    for old_header, data, number in reused:
        info = inspect_segment(str(image), number, read_manifest(str(image)).state.database_id, 1,
                               Tail(str(image), bytes(16), 1))  # fmt: skip
        end = max(info.end, BLOCK) if info.begun else BLOCK
        found = frames_in(old_header + data[BLOCK:], end)
        stale += len(found)
        # Those that stand in line are the trap: whole, of equal size, and where a reader looks
        # next.
        assert all(at % 8 == 0 for at, _ in found)
        assert not frames_in(data, end)
    assert stale > 50, "the test must meet old frames that are whole"
    with opened(image) as db:
        assert db.recovery.last_lsn == lsn
        assert dict(db.scan()) == pairs


@pytest.mark.parametrize("size", [211, 307, 509, 97])
def test_a_recycled_segment_with_frames_of_another_size_opens(tmp_path, size):
    """B2: old bytes that begin in the middle of a frame are no corruption."""
    with opened(tmp_path / "s", durability="os") as db:
        pairs, reused = recycled_files(db, size=200, last=size)
        pairs |= fill(db, 33, size, start=5000, durability="sync")
        assert reused
        image = crash(db, tmp_path / "image", power=True)
    assert analyze(str(image)).problem is None
    assert content(image) == pairs


# ---- B3, B4: LSNs across segments and sessions ---------------------------------------------------


def test_the_end_of_a_segment_that_is_lost_under_a_later_one_is_refused_and_a_jump_is_not(tmp_path):
    """B3: the header of segment i + 1 says where i ended, whatever the LSNs look like."""
    with opened(tmp_path / "s", durability="os") as db:
        pairs = fill(db, 100, 200)
        db.checkpoint()
        pairs |= fill(db, 400, 200, start=100)
        db.sync()
        image = crash(db, tmp_path / "image", power=True)
        db.checkpoint()
        pairs_later = pairs | fill(db, 1, 200, start=900, durability="sync")
        healthy = crash(db, tmp_path / "healthy", power=True)
    plan = analyze(str(image))
    assert plan.problem is None and len(plan.segments) >= 2
    first = plan.segments[0]
    path = image / names.segment_name(first.number)
    whole = path.read_bytes()
    last_frame = frames_in(whole, BLOCK)[-1][0]
    path.write_bytes(whole[:last_frame] + bytes(len(whole) - last_frame))
    with pytest.raises(oor.CorruptionError) as refused:
        opened(image)
    assert refused.value.segment == first.number
    assert content(healthy) == pairs_later


def test_each_session_gives_lsns_above_every_frame_that_is_on_the_disk(tmp_path):
    """B4: recover, write, crash, recover: what the second session acknowledged is not passed
    over."""
    pairs, lsns = {}, []
    source = tmp_path / "0"
    for session in range(4):
        with opened(source, durability="sync") as db:
            files = [path.read_bytes() for _, path in segments(source)]
            highest = max((lsn for data in files for _, lsn in frames_in(data, BLOCK)), default=0)
            if session % 2:
                db.checkpoint()
            for n in range(60):
                key = b"%d %d" % (session, n)
                lsns.append(db.put(key, b"v" * 150))
                pairs[key] = b"v" * 150
            assert lsns[-60] > highest
            target = tmp_path / str(session + 1)
            crash(db, target, power=session % 2 == 0)
        source = target
        assert content(crash_copy(source)) == pairs
    assert lsns == sorted(set(lsns))


def crash_copy(path):
    target = path.with_name(path.name + "-copy")
    shutil.copytree(path, target)
    return target


# ---- B5, B6: what recovery leaves alone ----------------------------------------------------------


def test_frames_behind_a_hole_stay_dead_when_new_ones_reach_their_place(tmp_path):
    """B5: nothing is appended to an old segment, so what lies behind its end is never reached
    again."""
    with opened(tmp_path / "s", durability="os") as db:
        fill(db, 40, 200)
        db.sync()  # one write: no frame says that an earlier one was durable
        image = crash(db, tmp_path / "image", power=True)
    number, path = segments(image)[-1]
    data = bytearray(path.read_bytes())
    frames = frames_in(bytes(data), BLOCK)
    hole, after = frames[20][0], frames[21][0]
    data[hole:after] = bytes(after - hole)
    path.write_bytes(bytes(data))
    with opened(image, durability="sync") as db:
        kept = dict(db.scan())
        assert len(kept) == 20
        for n in range(1, 5):  # each as large as the one that is gone
            key = b"new%03d" % n
            db.put(key, key + b"v" * 194)
            kept[key] = key + b"v" * 194
            again = crash(db, tmp_path / f"again{n}", power=True)
            assert content(again) == kept
        assert all(other != number for other, _ in segments(image) if other > number)


def test_recovery_cuts_no_segment_short(tmp_path):
    """B6: a truncation may come undone; the end of the log is where frames end, not where a file
    does."""
    with opened(tmp_path / "s", durability="os") as db:
        pairs = recycle(db)
        image = crash(db, tmp_path / "image", power=True)
    with Recording(image) as disk:
        assert content(image) == pairs
    cuts = [e for e in disk.events if e.op is Op.TRUNCATE and e.path.endswith((".wal", ".spare"))]
    assert not cuts


# ---- B7, B8, B9: the size and the blocks of a file -----------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_segment_whose_growth_was_lost_opens_when_nothing_in_it_was_promised(tmp_path, size):
    """B7: the header counts on a size that is not there."""
    with opened(tmp_path / "s", durability="os") as db:
        fill(db, 300, 200)
        image = crash(db, tmp_path / "image", power=True)
    _, path = segments(image)[-1]
    os.truncate(path, size)
    assert analyze(str(image)).problem is None
    kept = content(image)
    assert list(kept) == [b"%06d" % n for n in range(len(kept))]


@pytest.mark.parametrize("direct_io", [True, False])
def test_no_sync_of_the_log_depends_on_a_size_that_it_changes_itself(tmp_path, direct_io):
    """B8: a file has its size, synced, before the first frame is written, new or used again."""
    with (
        Recording(tmp_path) as disk,
        opened(tmp_path / "s", durability="os", direct_io=direct_io) as db,
    ):
        recycle(db)
    size, synced, begun = {}, {}, set()
    for event in disk.events:
        if not event.path.endswith((".wal", ".spare")) or not event.effect:
            continue
        if event.op is Op.ALLOCATE:
            size[event.object] = max(size.get(event.object, 0), event.offset + event.effect)
        elif event.op is Op.SYNC:
            synced[event.object] = size.get(event.object, 0)
        elif event.op is Op.WRITE:
            end = event.offset + event.effect
            if event.payload.strip(b"\0"):
                begun.add(event.object)
                assert end <= synced.get(event.object, 0), (event.path, event.offset)
            size[event.object] = max(size.get(event.object, 0), end)
    assert len(begun) >= 3


@pytest.mark.parametrize("refused", [0, errno.EOPNOTSUPP, errno.ENOSYS])
def test_every_block_is_written_once_before_use_whether_or_not_it_can_be_reserved(
    tmp_path, refused
):
    """B9: reserved blocks read as zeros after a crash and cost a journal entry; written ones do
    neither."""
    with Recording(tmp_path) as disk:
        if refused:
            disk.fail(Op.ALLOCATE, errno=refused, forever=True)
        with opened(tmp_path / "s", durability="os") as db:
            pairs = recycle(db)
            image = crash(db, tmp_path / "image", power=True)
    written = {}
    for event in disk.events:
        if event.op is not Op.WRITE or not event.path.endswith((".wal", ".spare")):
            continue
        blocks = range(event.offset // BLOCK, -(-(event.offset + event.effect) // BLOCK))
        if event.payload.strip(b"\0") and event.offset >= BLOCK:
            assert written.get(event.object, set()).issuperset(blocks), event.path
        written.setdefault(event.object, set()).update(blocks)
    assert content(image) == pairs


# ---- B10: large numbers --------------------------------------------------------------------------


def log_at(path, segment, lsn):
    options = Options(segment_bytes=64 << 10, tail_bytes=16 << 10)
    where = {"first_segment": segment, "first_lsn": lsn, "next_lsn": lsn, "room": 0}
    log = Log(str(path), database_id=bytes(16), epoch=1, options=options, **where)
    log.finish_copy()
    log.start()
    return log


@pytest.mark.parametrize("start", [2**32 - 2, 2**62, 2**63 - 70])
def test_a_log_goes_on_across_large_numbers(tmp_path, start):
    """B10: near 2^32 nothing wraps; near 2^63 there is room up to the last number."""
    log = log_at(tmp_path, start, start)
    for n in range(60):
        assert log.put(b"k%d" % n, b"v" * 900) == start + n
        if n % 20 == 19:
            log.sync(start + n)
            log.rotate()
    log.seal()
    log.close()
    numbers = [number for number, _ in segments(tmp_path)]
    assert min(numbers) == start and len(numbers) >= 4
    tail = Tail(str(tmp_path), bytes(16), 1)
    found = [inspect_segment(str(tmp_path), number, bytes(16), 1, tail) for number in numbers]
    assert sum(info.records for info in found) == 60
    assert max(info.last_lsn for info in found) == start + 59
    for earlier, later in itertools.pairwise(found):
        if later.begun:
            assert later.previous_segment == earlier.number
            assert later.first_lsn == earlier.next_lsn


def test_the_last_lsn_is_given_and_the_one_behind_it_is_refused(tmp_path):
    """B10: at the end of all LSNs a write is refused, and nothing of it is logged."""
    log = log_at(tmp_path, 1, 2**63 - 3)
    assert log.put(b"a", b"1") == 2**63 - 3
    with pytest.raises(oor.LimitError):
        log.append(oor.native.Columns([b"b", b"c", b"d"], [b"2", b"3", b"4"]))
    assert log.put(b"b", b"2") == 2**63 - 2
    assert log.put(b"c", b"3") == 2**63 - 1
    for _ in range(2):
        with pytest.raises(oor.LimitError, match="used up"):
            log.put(b"d", b"4")
    log.sync(2**63 - 1)
    assert log.durable_lsn() == 2**63 - 1
    log.close()


def test_segment_numbers_end_without_a_wrap(tmp_path):
    """B10: behind the last number there is no segment; what was logged stays durable."""
    log = log_at(tmp_path, 2**63 - 1, 1)
    log.sync(log.put(b"k", b"v"))
    with pytest.raises(oor.OorError):
        log.rotate()
    assert log.durable_lsn() == 1
    log.close()
    assert [number for number, _ in segments(tmp_path)] == [2**63 - 1]


@pytest.mark.parametrize("start", [2**32 - 5, 2**62])
def test_a_store_crosses_large_numbers_through_crashes_and_flushes(tmp_path, start):
    """B10: the same for everything above the log: memtable, tables, manifest, recovery."""
    path = tmp_path / "s"
    opened(path).close()
    manifest = read_manifest(str(path))
    state = replace(
        manifest.state,
        next_lsn=start,
        flushed_lsn=start - 1,
        durable_lsn=start - 1,
        log_start=start,
    )
    for name in os.listdir(path):
        if name not in (names.LOCK, names.CURRENT):
            os.unlink(path / name)
    Manifest.create(str(path), start, state).close()
    with opened(path, durability="os") as db:
        pairs = recycle(db)
        assert db.last_lsn >= start + len(pairs) - 1
        image = crash(db, tmp_path / "image", power=True)
    for source in (path, image):
        assert content(source) == pairs
