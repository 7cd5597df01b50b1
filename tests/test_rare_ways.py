"""Ways through log, manifest and recovery that no other test takes.

`make coverage` counts them: each test here is about one that was on its list.
"""

from __future__ import annotations

import errno
import os

import pytest
from support.engine import ROOMY, content, kill, read, write
from support.recording import Op, Recording

import oor
from oor.manifest import Manifest, ManifestState, _crc, encode_line, read_manifest
from oor.recovery import recover
from oor.version import VersionEdit

ID = bytes(range(16))


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "store")


def current_of(folder, name):
    write(os.path.join(folder, "CURRENT"), _crc(name).encode("ascii") + b" " + name + b"\n")


def manifest_of(folder, *lines):
    """A manifest whose lines all verify, whatever they say."""
    write(os.path.join(folder, "MANIFEST-000000000001"), b"".join(map(encode_line, lines)))
    current_of(folder, b"MANIFEST-000000000001")


FIRST = {"format": 1, "id": ID.hex(), "n": 0, "edit": {"epoch": 1}}


@pytest.fixture
def table(path):
    """What a manifest says of one table."""
    db = oor.open(path, **ROOMY)
    db.put(b"a", b"1")
    db.flush()
    db.close()
    _, meta = next(iter(read_manifest(path).state.tables.values()))
    return VersionEdit(add=((0, meta),)).to_json()


@pytest.mark.parametrize("damage", ["no space", "no newline", "another sum"])
def test_a_current_that_is_wrong_in_any_part_is_refused(tmp_path, damage):
    Manifest.create(str(tmp_path), 1, ManifestState(ID, epoch=1)).close()
    name = str(tmp_path / "CURRENT")
    good = read(name)
    if damage == "no space":
        write(name, good[:8] + b"_" + good[9:])
    elif damage == "no newline":
        write(name, good[:-1] + b"_")
    else:
        write(name, b"00000000" + good[8:])
    with pytest.raises(oor.CorruptionError, match="CURRENT does not verify"):
        read_manifest(str(tmp_path))


def test_a_current_that_verifies_and_names_something_else_is_refused(tmp_path):
    current_of(tmp_path, b"000000000001.sst")
    with pytest.raises(oor.CorruptionError, match="no manifest") as refused:
        read_manifest(str(tmp_path))
    assert "backup" in str(refused.value)


def test_a_manifest_of_another_format_is_told_from_a_damaged_one(tmp_path):
    manifest_of(tmp_path, FIRST | {"format": 2})
    with pytest.raises(oor.FormatError, match="format 2"):
        read_manifest(str(tmp_path))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([FIRST | {"id": "00"}], "16 bytes"),
        ([FIRST, {"n": 7, "edit": {}}], "says it is line 7"),
        ([FIRST, {"n": 1, "edit": {"remove": [9]}}], "removes table 9"),
        ([FIRST, {"n": 1, "edit": {"epoch": 0}}], "back to 0"),
        ([FIRST, {"n": 1}], "makes no sense"),
    ],
)
def test_lines_that_verify_and_contradict_each_other_are_refused_with_their_place(
    tmp_path, lines, says
):
    manifest_of(tmp_path, *lines)
    with pytest.raises(oor.CorruptionError, match=says) as refused:
        read_manifest(str(tmp_path))
    assert refused.value.offset is not None and refused.value.path.endswith("000001")


def test_a_manifest_that_adds_a_table_twice_is_refused(tmp_path, table):
    manifest_of(tmp_path, FIRST, {"n": 1, "edit": table}, {"n": 2, "edit": table})
    with pytest.raises(oor.CorruptionError, match="twice"):
        read_manifest(str(tmp_path))


def test_a_piece_of_a_line_that_looks_like_the_start_of_another_is_none(tmp_path):
    Manifest.create(str(tmp_path), 1, ManifestState(ID, epoch=1)).close()
    name = str(tmp_path / "MANIFEST-000000000001")
    whole = read(name)
    write(name, whole + b"torn but {never} a line {at all}\n")
    found = read_manifest(str(tmp_path))
    assert (found.lines, found.torn_bytes) == (1, len(read(name)) - len(whole))


def test_a_manifest_is_closed_once(tmp_path):
    manifest = Manifest.create(str(tmp_path), 1, ManifestState(ID, epoch=1))
    manifest.close()
    manifest.close()


def test_what_a_crash_left_of_a_store_that_was_being_made_goes_and_other_files_stay(path):
    oor.open(path, **ROOMY).close()
    for name in ("CURRENT", "TAIL"):
        os.unlink(f"{path}/{name}")
    write(f"{path}/notes.txt", b"somebody else's")
    write(f"{path}/CURRENT.tmp", b"half")
    with oor.open(path, **ROOMY) as db:
        assert db.recovery.created and content(db) == {}
    assert read(f"{path}/notes.txt") == b"somebody else's"
    assert not os.path.exists(f"{path}/CURRENT.tmp")


def test_no_store_is_made_where_none_is_wanted(path):
    os.mkdir(path)
    with pytest.raises(oor.StorageError) as refused:
        recover(path, oor.options.Options.of(create=False))
    assert refused.value.errno == errno.ENOENT and os.listdir(path) == []


# ---- the log -------------------------------------------------------------------------------------


def test_a_frame_that_ends_with_its_block_needs_no_filler(path):
    db = oor.open(path, **ROOMY | {"wal_block_padding": True})
    db.put(b"k", b"v" * (4096 - 40 - 7 - 1), durability="sync")
    frames = db.stats().log.frames
    db.put(b"after", b"1", durability="sync")
    assert db.stats().log.frames == frames + 1
    kill(db)
    with oor.open(path, **ROOMY) as db:
        assert db[b"after"] == b"1" and len(db[b"k"]) == 4096 - 48


def test_a_log_with_padded_blocks_is_copied_forward_with_padded_blocks(path):
    options = ROOMY | {"wal_block_padding": True}
    db = oor.open(path, **options)
    for i in range(30):
        db.put(b"%02d" % i, b"v" * 100, durability="sync")
    found = content(db)
    kill(db)
    for _ in range(2):
        db = oor.open(path, **options)
        assert content(db) == found and db.recovery.records == 30
        kill(db)


@pytest.mark.parametrize("nth", range(1, 6))
def test_a_file_system_that_refuses_direct_writes_it_has_agreed_to_is_written_through_its_cache(
    path, tmp_path, nth
):
    with Recording(tmp_path, payloads=False) as recording:
        recording.fail(Op.WRITE, nth=nth, path_part=".wal", errno=errno.EINVAL)
        db = oor.open(path, **ROOMY)
        for i in range(5):
            db.put(b"%d" % i, b"v", durability="sync")
        assert recording.faults_met == 1
        # The first is one of zeros, which is written again as it was.
        assert db.stats().log.direct == int(nth == 1)
        kill(db)
    with oor.open(path, **ROOMY) as db:
        assert len(content(db)) == 5


@pytest.mark.parametrize("size", [0, 50, 4096])
def test_a_tail_that_was_cut_off_or_is_foreign_is_an_empty_one(path, size):
    db = oor.open(path, **ROOMY)
    db.put(b"durable", b"1", durability="sync")
    kill(db)
    tail = f"{path}/TAIL"
    write(tail, read(tail)[:size] if size < 4096 else b"x" * len(read(tail)))
    with oor.open(path, **ROOMY) as db:
        assert content(db) == {b"durable": b"1"}
