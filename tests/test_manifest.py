"""The manifest: edits that add up, torn ends, rolls, a disk that is full part-way."""

from __future__ import annotations

import errno
import os

import pytest
from support.engine import files, read, write
from support.recording import MUTATING, How, Op, Recording

import oor
from oor.manifest import Manifest, ManifestState, decode_line, encode_line, read_manifest
from oor.version import VersionEdit

ID = bytes(16)
WITHOUT_SYNC = tuple(op for op in MUTATING if op is not Op.SYNC)


def made(folder, count=0, **limits):
    manifest = Manifest.create(str(folder), 1, ManifestState(ID, epoch=1), **limits)
    for lsn in range(1, count + 1):
        manifest.append(VersionEdit(flushed_lsn=lsn, durable_lsn=lsn))
    return manifest


def test_edits_add_up_and_are_read_back(tmp_path):
    made(tmp_path, 5).close()
    found = read_manifest(str(tmp_path))
    assert (found.state.flushed_lsn, found.state.durable_lsn, found.lines) == (5, 5, 6)
    assert found.torn_bytes == 0


def test_a_line_is_readable_and_its_checksum_covers_all_of_it():
    line = encode_line({"n": 3, "edit": {"flushed_lsn": 7}})
    assert line[9:] == b'{"edit":{"flushed_lsn":7},"n":3}\n'
    assert decode_line(line[:-1]) == {"n": 3, "edit": {"flushed_lsn": 7}}
    for at in range(len(line) - 1):
        assert decode_line(line[:at] + bytes([line[at] ^ 1]) + line[at + 1 : -1]) is None


def test_a_manifest_cut_at_every_byte_gives_its_whole_lines(tmp_path):
    made(tmp_path, 3).close()
    (path,) = files(str(tmp_path), "1")
    data = read(path)
    first = data.index(b"\n") + 1
    for at in range(len(data) + 1):
        write(path, data[:at])
        if at < first:
            with pytest.raises(oor.CorruptionError):
                read_manifest(str(tmp_path))
        else:
            found = read_manifest(str(tmp_path))
            assert found.lines == data[:at].count(b"\n")
            assert found.state.flushed_lsn == found.lines - 1
            assert found.torn_bytes == at - data[:at].rindex(b"\n") - 1


def test_a_flip_in_any_line_but_the_last_is_refused_with_its_offset(tmp_path):
    made(tmp_path, 3).close()
    (path,) = files(str(tmp_path), "1")
    data = read(path)
    last = data.rindex(b"\n", 0, -1) + 1
    for at in range(len(data)):
        write(path, data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        if at < last:
            with pytest.raises(oor.CorruptionError) as caught:
                read_manifest(str(tmp_path))
            assert caught.value.path == path
            assert caught.value.offset is not None and caught.value.offset <= at
        else:
            assert read_manifest(str(tmp_path)).state.flushed_lsn == 2


def test_positions_that_go_back_and_lines_out_of_order_are_refused(tmp_path):
    made(tmp_path, 2).close()
    (path,) = files(str(tmp_path), "1")
    data = read(path)
    write(path, data + encode_line({"n": 3, "edit": {"flushed_lsn": 1}}))
    with pytest.raises(oor.CorruptionError, match="back"):
        read_manifest(str(tmp_path))
    write(path, data + encode_line({"n": 7, "edit": {}}))
    with pytest.raises(oor.CorruptionError, match="line"):
        read_manifest(str(tmp_path))
    write(path, data + encode_line({"n": 3, "edit": {"from the future": 1}}))
    with pytest.raises(oor.FormatError):
        read_manifest(str(tmp_path))


@pytest.mark.parametrize("amount", [0, 1, 9, 30, 10_000])
def test_an_append_that_ran_out_of_room_leaves_nothing_in_the_middle(tmp_path, amount):
    with Recording(tmp_path, payloads=False) as recording:
        manifest = made(tmp_path, 2)
        recording.fail(Op.WRITE, errno=errno.ENOSPC, how=How.TORN, amount=amount)
        with pytest.raises(oor.DiskFullError):
            manifest.append(
                VersionEdit(flushed_lsn=3, checkpoint_lsn=3, next_lsn=4)
            )  # longer than what follows
        assert manifest.state.flushed_lsn == 2
        recording.heal()
        manifest.append(VersionEdit(flushed_lsn=4))
        assert read_manifest(str(tmp_path)).torn_bytes == 0, "what was torn still stands behind"
        manifest.append(VersionEdit(flushed_lsn=5))
        manifest.close()
    found = read_manifest(str(tmp_path))
    assert found.state.flushed_lsn == 5 and found.torn_bytes == 0


def test_every_failure_of_a_roll_leaves_a_manifest_in_force(tmp_path):
    for error in (errno.ENOSPC, errno.EIO):
        for nth in range(1, 40):
            folder = tmp_path / f"{error}.{nth}"
            folder.mkdir()
            with Recording(folder, payloads=False) as recording:
                manifest = made(folder, 2, roll_bytes=200)
                recording.fail(
                    WITHOUT_SYNC if error == errno.ENOSPC else MUTATING, nth=nth, errno=error
                )
                done = 2
                for lsn in range(3, 12):
                    try:
                        manifest.append(VersionEdit(flushed_lsn=lsn))
                        done = lsn
                    except oor.StorageError as failed:
                        assert read_manifest(str(folder)).state.flushed_lsn >= done
                        if not isinstance(failed, oor.DiskFullError):
                            with pytest.raises(oor.FailedError):
                                manifest.append(VersionEdit(flushed_lsn=lsn))
                            break
                met = recording.faults_met
                recording.heal()
                manifest.close()
            assert read_manifest(str(folder)).state.flushed_lsn >= done
            if error == errno.ENOSPC:
                assert done >= 10
            if not met:
                break


def test_a_failed_sync_ends_the_manifest_and_is_not_tried_again(tmp_path):
    with Recording(tmp_path, payloads=False) as recording:
        manifest = made(tmp_path, 1)
        recording.fail(Op.SYNC, errno=errno.ENOSPC)
        for _ in range(2):
            with pytest.raises(oor.FailedError):
                manifest.append(VersionEdit(flushed_lsn=2))
        assert recording.faults_met == 1
        manifest.close()


def test_a_new_manifest_is_durable_before_current_names_it(tmp_path):
    with Recording(tmp_path, payloads=False) as recording:
        made(tmp_path).close()
    steps = [(e.op.name, os.path.basename(e.path)) for e in recording.events if e.effect and e.op in
             (Op.WRITE, Op.SYNC, Op.SYNC_DIR, Op.RENAME)]  # fmt: skip
    folder = tmp_path.name
    assert steps == [
        ("WRITE", "MANIFEST-000000000001"), ("SYNC", "MANIFEST-000000000001"), ("SYNC_DIR", folder),
        ("WRITE", "CURRENT.tmp"), ("SYNC", "CURRENT.tmp"), ("RENAME", "CURRENT.tmp"), ("SYNC_DIR", folder),
    ]  # fmt: skip


def test_numbers_are_never_given_twice(tmp_path):
    manifest = made(tmp_path)
    numbers = [manifest.new_number() for _ in range(5)]
    manifest.append(VersionEdit())
    manifest.close()
    assert read_manifest(str(tmp_path)).state.next_number > max(numbers)
    assert len(set(numbers)) == 5
