"""A backup is a whole store of one moment, or it is not there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading

import pytest
from support.engine import TINY, content, files, flip, kill, scratch
from support.recording import Op, Recording

import oor
from oor import names
from oor.cli import exits
from oor.cli.app import run as run_command
from oor.crashlab.images import CrashImages
from oor.crashlab.levels import CRASHES
from oor.trace import MUTATING
from oor.verify import verify


def fill(db, tag, count=60):
    db.write({b"%03d" % i: b"%s %d" % (tag, i) for i in range(count)})


def test_a_backup_opens_as_a_store_of_what_was_committed_before_the_call(tmp_path):
    with oor.open(tmp_path / "s", **TINY) as db:
        fill(db, b"first")
        db.compact()
        fill(db, b"second", 30)
        db.delete(b"059")
        kept = content(db)
        done = db.backup(tmp_path / "b")
        assert (done.path, done.last_lsn) == (str(tmp_path / "b"), db.last_lsn)
        assert 1 <= done.first_lsn <= done.last_lsn and done.verified and not done.copied_bytes
        fill(db, b"third")
        db.compact()
    assert not verify(str(tmp_path / "b")).damage
    with oor.open(tmp_path / "b", **TINY) as twin:
        assert content(twin) == kept
        assert twin.recovery.clean and twin.recovery.records == 0
        assert twin.last_lsn == done.last_lsn
        assert twin.put(b"goes", b"on") == done.last_lsn + 1
    with oor.open(tmp_path / "s", **TINY) as db:
        assert db.get(b"goes") is None and db.get(b"000") == b"third 0"


def test_its_tables_are_the_stores_files_under_a_second_name_and_outlive_them(tmp_path):
    with oor.open(tmp_path / "s", **TINY) as db:
        fill(db, b"first")
        done = db.backup(tmp_path / "b")
        own = {os.stat(path).st_ino for path in files(tmp_path / "s", ".sst")}
        linked = {os.stat(path).st_ino for path in files(tmp_path / "b", ".sst")}
        assert linked == own and len(linked) == done.tables
        fill(db, b"other")
        db.compact()
        assert not linked & {os.stat(path).st_ino for path in files(tmp_path / "s", ".sst")}
    with oor.open(tmp_path / "b", **TINY) as twin:
        assert twin.get(b"001") == b"first 1"


def test_the_two_stores_have_different_ids(tmp_path):
    with oor.open(tmp_path / "s", **TINY) as db:
        db.put(b"a", b"1")
        db.backup(tmp_path / "b")
        with oor.open(tmp_path / "b", **TINY) as twin:
            ids = {store._state.manifest.state.database_id for store in (db, twin)}
            assert len(ids) == 2


def test_where_there_are_no_links_the_tables_are_copied(tmp_path):
    with Recording(tmp_path, payloads=False) as recording, oor.open(tmp_path / "s", **TINY) as db:
        fill(db, b"first")
        recording.fail(Op.LINK, errno=errno.EXDEV, forever=True)
        done = db.backup(tmp_path / "b")
        assert done.copied_bytes == done.bytes > 0
        kept = content(db)
    with oor.open(tmp_path / "b", **TINY) as twin:
        assert content(twin) == kept


def test_an_empty_store_has_a_backup_too(tmp_path):
    with oor.open(tmp_path / "s") as db:
        done = db.backup(tmp_path / "b")
    assert (done.tables, done.last_lsn, done.first_lsn) == (0, 0, 0)
    with oor.open(tmp_path / "b") as twin:
        assert content(twin) == {} and twin.put(b"a", b"1") == 1


def test_a_name_that_is_taken_or_lies_in_the_store_is_refused(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "door").symlink_to(tmp_path / "s")
    with oor.open(tmp_path / "s") as db:
        for target in ("there", "s", "s/inside", "door/inside", "no/such/parent"):
            with pytest.raises(oor.LimitError):
                db.backup(tmp_path / target)
        assert "inside" not in os.listdir(tmp_path / "s")
    with pytest.raises(oor.ClosedError):
        db.backup(tmp_path / "late")


def test_damage_is_found_before_the_backup_has_its_name(tmp_path):
    with oor.open(tmp_path / "s", **TINY) as db:
        fill(db, b"first")
        db.flush()
        flip(files(tmp_path / "s", ".sst")[0], 20)
        with pytest.raises(oor.CorruptionError, match="damaged"):
            db.backup(tmp_path / "b")
        assert not (tmp_path / "b").exists()
        flip(files(tmp_path / "s", ".sst")[0], 20)
        assert db.backup(tmp_path / "b").verified, "what an attempt left is in nobody's way"


def test_a_backup_during_writes_flushes_and_compactions_has_a_prefix_with_all_before_the_call(
    tmp_path,
):
    options = TINY | {"background": True, "durability": "os", "max_immutables": 4}
    acknowledged, stop = [0], threading.Event()

    def write(db):
        n = 0
        while not stop.is_set():
            db.write({b"count": b"%d" % n, b"%04d" % (n % 500): b"%d" % n})
            acknowledged[0] = n
            n += 1

    with oor.open(tmp_path / "s", **options) as db:
        writer = threading.Thread(target=write, args=(db,))
        writer.start()
        try:
            seen = []
            for k in range(8):
                while acknowledged[0] < 150 * (k + 1):
                    assert writer.is_alive()
                    stop.wait(0.001)
                before = acknowledged[0]
                seen.append((before, db.backup(tmp_path / f"b{k}").last_lsn))
        finally:
            stop.set()
            writer.join()
        assert db.stats().compactions > 0
    for k, (before, last_lsn) in enumerate(seen):
        with oor.open(tmp_path / f"b{k}", read_only=True) as twin:
            found = content(twin)
            top = int(found.pop(b"count"))
            assert top >= before and last_lsn == 2 * (top + 1)
            model = {b"%04d" % (n % 500): b"%d" % n for n in range(top + 1)}
            assert found == model


def test_a_crash_at_any_operation_leaves_a_whole_backup_or_none_and_the_store_as_it_was(tmp_path):
    (tmp_path / "root").mkdir()
    with Recording(tmp_path / "root") as recording:
        db = oor.open(tmp_path / "root" / "s", **TINY)
        fill(db, b"first", 40)
        db.sync()
        kept = content(db)
        begin = len(recording.take())
        db.backup(tmp_path / "root" / "b")
        recording.mark("done")
        kill(db)
    crashes = CrashImages(recording)
    seen = set()
    with scratch() as folder:
        points = [point for point in crashes.points() if point >= begin]
        for n, image in enumerate(crashes.all(*CRASHES, points=points, per_point=6)):
            image.write(f"{folder}/{n}")
            marks = [e.text for e in recording.events[: image.point] if e.op is Op.MARK]
            for name in os.listdir(f"{folder}/{n}"):
                assert name in ("s", "b", "b.partial")
            there = os.path.isdir(f"{folder}/{n}/b")
            assert there or not marks, "a backup that was acknowledged is gone"
            seen.add((there, image.level))
            for name in ("s", "b") if there else ("s",):
                twin = oor.open(f"{folder}/{n}/{name}", **TINY)
                assert content(twin) == kept, f"{name} at event {image.point}"
                kill(twin)
            shutil.rmtree(f"{folder}/{n}")
    assert seen == {(there, level) for there in (True, False) for level in CRASHES}


def test_a_fault_at_any_operation_leaves_no_backup_and_the_store_goes_on(tmp_path):
    met = 0
    for nth in range(1, 100):
        target = tmp_path / f"b{nth}"
        recorded = Recording(tmp_path, payloads=False)
        with recorded as recording, oor.open(tmp_path / f"s{nth}", **TINY) as db:
            fill(db, b"first", 20)
            db.flush()
            recording.fail(MUTATING, nth=nth, path_part=f"b{nth}", errno=errno.EIO)
            try:
                db.backup(target)
            except oor.OorError:
                # A verification tells what the system refuses as damage.
                assert recording.faults_met == 1
                recording.heal()
                met += 1
                assert not target.exists() or not verify(str(target)).damage
                assert db.put(b"after", b"1") == db.last_lsn
            else:
                break
    assert met > 5 and recording.faults_met == 0
    assert not verify(str(target)).damage


def test_the_command_makes_one_and_says_what_it_holds(tmp_path, capsys):
    with oor.open(tmp_path / "s") as db:
        fill(db, b"first")
    store = str(tmp_path / "s")
    assert run_command(["backup", store, str(tmp_path / "b"), "--json"]) == exits.FINE
    found = json.loads(capsys.readouterr().out)
    assert found["last_lsn"] == 60 and found["verified"] is True
    assert run_command(["backup", store, str(tmp_path / "c"), "--unverified"]) == exits.FINE
    assert "everything up to LSN 60" in capsys.readouterr().out
    assert run_command(["backup", store, str(tmp_path / "b")]) == exits.ERROR
    assert "not there yet" in capsys.readouterr().err
    assert names.CURRENT in os.listdir(tmp_path / "c")
