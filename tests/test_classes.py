"""Classes of bugs that other stores had and that no other file here is about; and the table of all.

tests/classes.toml names for each class the tests that reveal it; `make classes` prints it.
"""

from __future__ import annotations

import ast
import errno
import itertools
import os
import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import classes
import pytest
from support.engine import (
    ROOMY,
    TINY,
    content,
    copy_of,
    files,
    flip,
    frames_of,
    kill,
    read,
    scratch,
    without_tail,
    write,
)

import oor
from oor import native
from oor.manifest import read_manifest
from oor.trace import How, Op, Trace

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store")


# ---- the table -----------------------------------------------------------------------------------


def test_every_class_has_a_test_that_exists_and_a_bug_that_turns_it_red():
    table = classes.read()
    assert set(table) == classes.ids()
    known = classes.tests_of_the_tree()
    for name, entry in table.items():
        assert entry.tests, f"{name} has no test"
        for test in entry.tests:
            assert test.partition("[")[0] in known, f"{name} names {test}, which is not there"
        assert entry.edits or entry.by_design, f"{name} has never been red"


def test_every_planted_bug_still_finds_its_place():
    for name, entry in classes.read().items():
        for edit in entry.edits:
            text = (ROOT / edit.file).read_text()
            assert text.count(edit.old) == 1, f"{name}: {edit.file} has not one {edit.old!r}"
            assert edit.old != edit.new


# ---- A: the end of the log -----------------------------------------------------------------------


def _last_edits():
    """What the last line of the manifest may be, by what makes it."""

    def flushed(db):
        db.flush()

    def compacted(db):
        db.compact()

    def checkpointed(db):
        db.checkpoint()

    return [flushed, compacted, checkpointed]


@pytest.mark.parametrize("last", _last_edits())
@pytest.mark.parametrize("closed", [False, True])
def test_a_damaged_last_line_of_the_manifest_loses_nothing_in_silence(last, closed):
    """It cannot be told from a torn one, and need not be: what it released is missed."""
    with scratch() as folder:
        origin = f"{folder}/origin"
        db = oor.open(origin, **TINY)
        for i in range(80):
            db.put(b"%03d" % (i % 50), b"v%d" % i * 20)
        db.flush()
        db.put(b"more", b"1")
        last(db)
        full = content(db)
        if closed:
            db.close()
        else:
            kill(db)
        manifest = next(name for name in files(origin) if "MANIFEST" in name)
        data = read(manifest)
        start = data[:-1].rfind(b"\n") + 1
        outcomes = set()
        for at in range(start, len(data)):
            target = copy_of(origin, f"{folder}/{at}")
            flip(os.path.join(target, os.path.basename(manifest)), at)
            try:
                with oor.open(target, **TINY) as found:
                    assert content(found) == full, f"byte {at}"
                outcomes.add("whole")
            except oor.CorruptionError:
                outcomes.add("refused")
        assert outcomes


@pytest.mark.parametrize(
    ("mode", "direct", "padding", "delay", "bound"),
    list(itertools.product(["sync", "interval", "os"], [0, 1], [0, 1], [0.0, 0.001], [0, 1 << 20])),
)
def test_the_frame_behind_a_sync_promises_it_in_every_configuration(
    path, mode, direct, padding, delay, bound
):
    options = ROOMY | {
        "durability": mode, "direct_io": bool(direct), "wal_block_padding": bool(padding),
        "commit_delay": delay, "max_unsynced_bytes": bound,
    }  # fmt: skip
    db = oor.open(path, **options)
    for i in range(5):
        db.put(b"%d" % i, b"v")
    db.sync()
    promised = db.durable_lsn
    assert promised == 5
    db.put(b"behind", b"v")
    db.sync()
    kill(db)
    without_tail(path)
    segment, offset = next(
        (segment, offset)
        for segment in files(path, ".wal")
        for offset, _, first, count in frames_of(segment)
        if count and first == 6
    )
    assert int.from_bytes(read(segment)[offset + 24 : offset + 32], "little") == promised


def test_a_batch_of_which_any_blocks_are_missing_is_absent_as_a_whole():
    with scratch() as folder:
        origin = f"{folder}/origin"
        db = oor.open(origin, **ROOMY)
        db.put(b"before", b"v")
        before = content(db)
        db.write({b"batch%d" % i: bytes([65 + i]) * 2600 for i in range(5)})
        whole = content(db)
        kill(db)
        without_tail(origin)
        name = os.path.basename(files(origin, ".wal")[0])
        offset, size, _, _ = next(f for f in frames_of(f"{origin}/{name}") if f[3] == 5)
        data = read(f"{origin}/{name}")
        blocks = range(offset // 4096, (offset + size - 1) // 4096 + 1)
        assert len(blocks) >= 4
        found = []
        for at, missing in enumerate(itertools.product([False, True], repeat=len(blocks))):
            image = bytearray(data)
            for block, gone in zip(blocks, missing, strict=True):
                if gone:
                    start = max(offset, 4096 * block)
                    stop = min(offset + size, 4096 * (block + 1))
                    image[start:stop] = bytes(stop - start)
            # What stands behind the batch was written later than it, and is not there yet.
            image[offset + size :] = bytes(len(image) - offset - size)
            target = copy_of(origin, f"{folder}/{at}")
            write(f"{target}/{name}", bytes(image))
            with oor.open(target, **ROOMY) as db:
                found.append(content(db))
            assert found[-1] == (before if any(missing) else whole), missing
        assert found.count(whole) == 1


@pytest.mark.parametrize("size", [20, 45, 70, 150])
def test_a_batch_larger_than_a_segment_that_is_cut_anywhere_is_whole_or_absent(size):
    with scratch() as folder:
        origin = f"{folder}/origin"
        db = oor.open(origin, **ROOMY)
        db.put(b"before", b"v")
        before = content(db)
        db.write({b"%05d" % i: os.urandom(1000) for i in range(size)})
        whole = content(db)
        kill(db)
        without_tail(origin)
        segments = [os.path.basename(name) for name in files(origin, ".wal")]
        name = next(n for n in segments if any(f[3] == size for f in frames_of(f"{origin}/{n}")))
        data = read(f"{origin}/{name}")
        offset, length, _, _ = next(f for f in frames_of(f"{origin}/{name}") if f[3] == size)
        step = max(4096, length // 12 // 512 * 512)
        for at in range(offset, offset + length, step):
            target = copy_of(origin, f"{folder}/{at}")
            write(f"{target}/{name}", data[:at] + bytes(len(data) - at))
            with oor.open(target, **ROOMY) as db:
                assert content(db) == before
        with oor.open(origin, **ROOMY) as db:
            assert content(db) == whole


# ---- C and D: names, manifest, recovery ----------------------------------------------------------

WHO_REMOVES = {
    "oor/recovery.py": "before the store has a flush or a compaction",
    "oor/compactor.py": "inputs of a compaction whose edit is durable",
    "oor/compaction/run.py": "outputs of a compaction that failed, which no edit names",
    "oor/flush.py": "a table that was not finished, which no edit names",
    "oor/manifest.py": "the manifest that a durable CURRENT names no more",
    "oor/doctor.py": "a file of its own",
    "oor/backup.py": "what an attempt that did not end left under a name of its own",
}


def test_files_of_a_store_are_removed_only_where_nothing_can_need_them():
    """There is no clean-up of orphans beside a running flush: only recovery looks for any."""
    found = set()
    for place in (ROOT / "oor").rglob("*.py"):
        name = str(place.relative_to(ROOT))
        if name.startswith(("oor/lab/", "oor/course/", "oor/crashlab/")) or name == "oor/native.py":
            continue
        for node in ast.walk(ast.parse(place.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("unlink", "rmtree", "remove"):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                if owner in ("native", "os", "shutil"):
                    found.add(name)
    assert found == set(WHO_REMOVES)


def test_an_open_commits_once(path):
    """Two manifests of one recovery could contradict each other after a crash between them."""
    db = oor.open(path, **TINY)
    for i in range(200):
        db.put(b"%03d" % i, b"v" * 50)
    kill(db)
    with Trace() as trace:
        db = oor.open(path, **TINY)
        events = trace.take()
        kill(db)
    renames = [e for e in events if e.op is Op.RENAME and e.other.endswith("CURRENT")]
    lines = [e for e in events if e.op is Op.WRITE and "MANIFEST" in e.path]
    assert (len(renames), len(lines)) == (1, 1)


def test_the_manifest_never_says_more_is_durable_than_was_synced(path):
    """Recorded too early, it would make a healthy store look damaged."""
    db = oor.open(path, **TINY | {"durability": "os"})
    for round_ in range(6):
        for i in range(60):
            db.put(b"%03d" % i, b"%d" % round_ * 30)
        db.flush()
        synced = db.durable_lsn
        db.put(b"logged only", b"v")
        state = read_manifest(path).state
        assert synced <= state.durable_lsn or state.durable_lsn <= synced
        assert state.durable_lsn <= synced
        db.checkpoint()
        assert read_manifest(path).state.durable_lsn <= db.durable_lsn
    before = db.last_lsn
    db.put(b"never synced", b"v")
    # An edit that needs no sync of the log, and so must not claim one.
    assert db._background.compactor.all()
    assert read_manifest(path).state.durable_lsn <= db.durable_lsn < db.last_lsn
    db.compact()
    copy = copy_of(path, path + ".copy")
    kill(db)
    os.unlink(os.path.join(copy, "TAIL"))
    with oor.open(copy, **TINY) as db:
        assert db.recovery.recovered_lsn >= before


# ---- F: errors of the system ---------------------------------------------------------------------


@pytest.mark.parametrize("part", [".sst", "MANIFEST", ".wal", "TAIL"])
def test_an_error_of_a_close_loses_nothing_that_was_acknowledged(path, part):
    """Each of these files was synced before anything depended on it, so that a late report of its
    close has nothing left to tell of; a table's is raised all the same, before an edit names it.
    """
    with Trace() as trace:
        db = oor.open(path, **TINY)
        for i in range(100):
            db.put(b"%03d" % i, b"v" * 50)
        full = content(db)
        trace.fail(Op.CLOSE, path_part=part, errno=errno.EIO, how=How.AFTER, forever=True)
        raised = []
        for step in (db.flush, lambda: db.put(b"000", b"v" * 50), db.close):
            try:
                step()
            except oor.OorError as error:
                raised.append(error)
        met = trace.faults_met
        trace.heal()
        kill(db)
    assert met
    if part == ".sst":
        assert raised and raised[0].errno == errno.EIO
    with oor.open(path, **TINY) as db:
        assert content(db) == full


# ---- G: processes, threads, the caller -----------------------------------------------------------

TRY_TO_OPEN = (
    "import sys, oor\ntry:\n    oor.open(sys.argv[1])\nexcept oor.LockedError:\n    sys.exit(7)"
)


def elsewhere(path):
    """Whether another process is refused."""
    return subprocess.run([sys.executable, "-c", TRY_TO_OPEN, path], cwd=ROOT).returncode == 7


def test_a_second_open_that_fails_leaves_the_first_ones_lock(path):
    """Locks of POSIX go when any descriptor of the file is closed; these do not."""
    with oor.open(path) as db:
        with pytest.raises(oor.LockedError):
            oor.open(path)
        with open(os.path.join(path, "LOCK"), "rb"):
            pass
        assert elsewhere(path)
        db.put(b"a", b"1")
    assert not elsewhere(path)


def test_every_alias_of_the_directory_is_refused_and_so_is_a_store_whose_lock_file_was_removed(
    path, tmp_path
):
    with oor.open(path) as db:
        os.symlink(path, tmp_path / "alias")
        for alias in (str(tmp_path / "alias"), path + "/.", os.path.relpath(path)):
            with pytest.raises(oor.LockedError):
                oor.open(alias)
            assert elsewhere(alias)
        os.unlink(os.path.join(path, "LOCK"))
        with pytest.raises(oor.LockedError):
            oor.open(path)
        assert elsewhere(path)
        db.put(b"a", b"1")


def test_no_decision_about_files_depends_on_the_time_of_day(path, monkeypatch):
    real = time.time
    shift = itertools.cycle([0.0, 3.2e8, -3.2e8])
    monkeypatch.setattr(time, "time", lambda: real() + next(shift))
    db = oor.open(path, **TINY | {"checkpoint_interval": 3600.0})
    for i in range(300):
        db.put(b"%03d" % i, b"v" * 50)
        if i % 60 == 0:
            db.flush()
    found = content(db)
    kill(db)
    with oor.open(path, **TINY) as db:
        assert content(db) == found
    callers = {
        str(place.relative_to(ROOT))
        for place in (ROOT / "oor").rglob("*.py")
        if re.search(r"\btime\.(time|time_ns|gmtime|localtime)\(", place.read_text())
    }
    engine = {name for name in callers if len(Path(name).parts) == 2 or "compaction" in name}
    # Both only write down when something was.
    # A flush notes the time for "fifo" by age, which test_strategies looks at.
    assert engine <= {"oor/flush.py", "oor/lock.py", "oor/salvage.py", "oor/telemetry.py"}


def test_a_value_that_changes_while_it_is_put_is_stored_as_it_was_at_one_moment(path):
    size = 200_000
    value = bytearray(b"a" * size)
    stop = threading.Event()

    def mutate():
        while not stop.is_set():
            for letter in b"abcd":
                value[:] = bytes([letter]) * size

    mutator = threading.Thread(target=mutate)
    mutator.start()
    try:
        db = oor.open(path, durability="os")
        for i in range(60):
            db.put(b"%03d" % i, value)
            db.write({b"batch%03d" % i: value})
        found = content(db)
    finally:
        stop.set()
        mutator.join()
    kill(db)
    with oor.open(path) as db:
        assert content(db) == found
    assert all(len(each) == size for each in found.values())


def test_a_store_whose_directory_was_moved_away_refuses_instead_of_writing_nowhere(path):
    db = oor.open(path, **ROOMY)
    kept = {}
    os.rename(path, path + ".moved")
    with pytest.raises(oor.OorError) as refused:
        for i in range(5000):
            db.put(b"%05d" % i, b"v" * 200)
            kept[b"%05d" % i] = b"v" * 200
    assert refused.value.errno == errno.ENOENT
    assert not os.path.exists(path)
    kill(db)
    with oor.open(path + ".moved", **ROOMY) as db:
        found = content(db)
    assert kept.items() <= found.items()
    assert len(found) <= len(kept) + 1


def test_a_snapshot_taken_at_any_step_of_a_compaction_stays_as_it_was(path):
    db = oor.open(path, **TINY)
    for part in range(6):
        db.write({b"%03d" % i: b"%d.%d" % (part, i) for i in range(0, 200, part + 1)})
        db.flush()
    taken = []
    install = db._state.install

    def spied(*arguments, **named):
        taken.append((db.snapshot(), content(db)))
        install(*arguments, **named)
        taken.append((db.snapshot(), content(db)))

    db._state.install = spied
    expected = content(db)
    db.compact()
    assert len(taken) >= 2
    db.put(b"000", b"later")
    db.compact()
    for snapshot, found in taken[:2]:
        assert dict(snapshot.scan()) == found == expected
        assert snapshot.get(b"000") == expected[b"000"]
        snapshot.close()
    db.close()


def frame_of(segment_id, place, first_lsn, durable_lsn, key, value):
    """A frame that verifies at `place` of a segment, made by the grammar of csrc/frame.c."""
    database_id, epoch, number = segment_id
    crc = lambda start, data: native.lib.oor_crc32c(start, data, len(data))
    masked = lambda start, data: native.lib.oor_crc32c_mask(crc(start, data))
    salt = crc(0, database_id + struct.pack("<QQ", epoch, number))
    body = struct.pack("<BHI", 1, len(key), len(value)) + key + value
    rest = struct.pack(
        "<IIIQQII", masked(salt, body), len(body), 1, first_lsn, durable_lsn, 0, 0x464F4F52
    )
    head = struct.pack("<I", masked(salt, struct.pack("<Q", place) + rest))
    return head + rest + body + bytes(-len(body) % 8)


def test_a_frame_inside_a_value_is_none_wherever_a_damaged_header_leads(path):
    db = oor.open(path, **ROOMY)
    db.put(b"before", b"v")
    state = read_manifest(path).state
    segment = files(path, ".wal")[0]
    identity = (state.database_id, state.epoch, 1)
    at = frames_of(segment)[-1][0] + frames_of(segment)[-1][1]
    # It verifies where it was made for, and carries a promise that would refuse the log.
    true = frame_of(identity, at, 2, 1, b"k", b"v")
    forged = frame_of(identity, 0, 1000, 999, b"forged", b"x" * 30)
    db.put(b"outer", forged * 20)
    kill(db)
    without_tail(path)
    data = read(segment)
    offset, _, _, _ = next(frame for frame in frames_of(segment) if frame[2] == 2)
    assert offset == at and data.count(forged) == 20
    # The header is damaged, and the value stands where a frame may begin.
    moved = data[:at] + b"\xff" * 8 + forged * 20
    write(segment, moved + bytes(len(data) - len(moved)))
    with oor.open(path, **ROOMY) as db:
        assert content(db) == {b"before": b"v"}
    write(segment, data[:at] + true + bytes(len(data) - at - len(true)))
    assert frames_of(segment)[-1][2] == 2
