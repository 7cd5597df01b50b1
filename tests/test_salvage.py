"""Salvage: what verifies is kept, and what is missing is listed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from support.engine import (
    ROOMY,
    TINY,
    content,
    files,
    filled,
    flip,
    frames_of,
    kill,
    read,
    without_tail,
    write,
)
from support.recording import Op, Recording

import oor


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store")


def test_salvage_keeps_what_verifies_and_reports_what_is_missing(path):
    found = filled(path, 40)
    without_tail(path)
    segment = files(path, ".wal")[0]
    offset, _, first, _ = frames_of(segment)[11]
    flip(segment, offset + 100)
    with oor.open(path, recovery="salvage", **ROOMY) as db:
        assert content(db) == {
            key: value for key, value in found.items() if key != b"%05d" % (first - 1)
        }
        ((loss),) = db.recovery.losses
        assert (loss.segment, loss.offset, loss.first_lsn, loss.last_lsn) == (
            1,
            offset,
            first,
            first,
        )
        assert db.put(b"next", b"") > 40
    with oor.open(path, **ROOMY) as db:
        assert db.recovery.clean


def test_salvage_reads_past_damage_in_a_large_segment(path):
    roomy = ROOMY | {"segment_bytes": 4 << 20, "tail_bytes": 1 << 20, "memtable_bytes": 64 << 20}
    db = oor.open(path, **roomy)
    for i in range(5000):
        db.put(b"%05d" % i, b"v" * 1000, durability="os")
    db.sync()
    db.put(b"last", b"")
    kill(db)
    without_tail(path)
    segment = files(path, ".wal")[1]
    flip(segment, frames_of(segment)[3][0] + 50)
    with pytest.raises(oor.CorruptionError):
        oor.open(path, **roomy)
    with oor.open(path, recovery="salvage", **roomy) as db:
        assert len(content(db)) == 5000


def test_salvage_reads_a_segment_without_a_header(path):
    found = filled(path, 20)
    without_tail(path)
    segment = files(path, ".wal")[0]
    write(segment, b"X" * 4096 + read(segment)[4096:])
    with oor.open(path, recovery="salvage", **ROOMY) as db:
        assert content(db) == found
        assert db.recovery.losses


def test_salvage_lists_each_range_that_is_missing_across_segments(path):
    db = oor.open(path, **TINY | {"memtable_bytes": 1 << 20})
    for i in range(600):
        db.put(b"%05d" % i, b"v" * 100)
    kill(db)
    without_tail(path)
    segments = files(path, ".wal")
    assert len(segments) >= 4
    whole = [frames_of(segment) for segment in segments]
    # A whole segment in the middle, the end of the one before it, and a frame of the first.
    os.unlink(segments[2])
    cut = [frame for frame in whole[1] if frame[3]][-2]
    write(segments[1], read(segments[1])[: cut[0]] + bytes(len(read(segments[1])) - cut[0]))
    hit = whole[0][5]
    flip(segments[0], hit[0] + 60)
    after = next(frame for frame in whole[3] if frame[3])
    with oor.open(path, recovery="salvage", **TINY) as db:
        lost = {lsn for one in db.recovery.losses for lsn in range(one.first_lsn, one.last_lsn + 1)}
        assert lost == {hit[2], *range(cut[2], after[2])}
        assert content(db) == {b"%05d" % i: b"v" * 100 for i in range(600) if i + 1 not in lost}
        told = json.loads(Path(db.recovery.salvage_report).read_text())
        assert Path(db.recovery.salvage_report).parent == Path(path).parent
        assert {
            lsn for one in told["lost"] for lsn in range(one["first_lsn"], one["last_lsn"] + 1)
        } == lost
        assert "segment" in told["refused_because"]
    with oor.open(path, **TINY) as db:
        assert db.recovery.clean and db.recovery.salvage_report is None


def test_salvage_of_a_log_that_ends_too_early_names_what_was_promised(path):
    filled(path, 40)
    without_tail(path)
    segment = files(path, ".wal")[0]
    frames = frames_of(segment)
    # All but the last frame, which is what promises the others.
    start, end = frames[20][0], frames[-1][0]
    write(segment, read(segment)[:start] + bytes(end - start) + read(segment)[end:])
    with oor.open(path, recovery="salvage", **ROOMY) as db:
        ((loss),) = db.recovery.losses
        assert loss.first_lsn == frames[20][2]
        assert len(content(db)) + (loss.last_lsn - loss.first_lsn + 1) == 40


def test_salvage_of_a_sound_store_reports_nothing(path):
    found = filled(path, 40)
    for _ in range(2):
        with oor.open(path, recovery="salvage", **ROOMY) as db:
            assert (content(db), db.recovery.losses, db.recovery.salvage_report) == (
                found,
                (),
                None,
            )


def test_salvage_keeps_the_whole_blocks_of_a_damaged_table(path):
    with oor.open(path, **TINY | {"memtable_bytes": 1 << 20}) as db:
        found = {b"%05d" % i: b"v%d" % i for i in range(500)}
        db.write(found)
        db.flush()
    table = files(path, ".sst")[0]
    flip(table, 1000)
    with pytest.raises(oor.CorruptionError) as refused, oor.open(path, **TINY) as db:
        content(db)
    assert 'recovery="salvage"' in str(refused.value)
    with oor.open(path, recovery="salvage", **TINY) as db:
        kept = content(db)
        assert 400 < len(kept) < 500 and kept.items() <= found.items()
        ((loss),) = db.recovery.losses
        assert loss.path == table and "1 blocks" in loss.what
        assert loss.first_lsn <= loss.last_lsn == 500
    with oor.open(path, **TINY) as db:
        assert content(db) == kept
        db.compact()
        assert content(db) == kept


def test_salvage_gives_up_no_table_that_only_cannot_be_read_now(path):
    with oor.open(path, **TINY) as db:
        db.put(b"a", b"1")
        db.flush()
    before = {name: read(name) for name in files(path, ".sst")}
    with Recording(path) as recording:
        recording.fail(Op.OPEN, path_part=".sst", nth=2, errno=errno.EMFILE, forever=True)
        with pytest.raises(oor.StorageError):
            oor.open(path, recovery="salvage", **TINY)
    assert {name: read(name) for name in files(path, ".sst")} == before
    with oor.open(path, **TINY) as db:
        assert db[b"a"] == b"1"


def test_salvage_goes_on_without_a_table_that_is_gone(path):
    with oor.open(path, **TINY | {"memtable_bytes": 1 << 20}) as db:
        for part in range(2):
            db.write({b"%d.%03d" % (part, i): b"v" for i in range(100)})
            db.flush()
    os.unlink(files(path, ".sst")[0])
    with pytest.raises(oor.CorruptionError):
        oor.open(path, **TINY)
    with oor.open(path, recovery="salvage", **TINY) as db:
        assert len(content(db)) == 100
        assert len(db.recovery.losses) == 1
