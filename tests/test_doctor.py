"""The doctor: what a sync costs in a directory, and whether it can be believed."""

from __future__ import annotations

import errno
import json
import os

import pytest
from support.recording import Op, Recording

import oor
from oor import doctor
from oor.cli import exits
from oor.cli.app import run
from oor.doctor import Cost, FileSystem, examine, file_system_of

MOUNTS = r"""
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 22 0:26 / /mnt/with\040space rw,nosuid - xfs /dev/sd\134b rw,nobarrier
31 22 0:27 / /mnt rw - tmpfs tmpfs rw,size=10k
32 31 0:28 / /mnt/a rw - btrfs /dev/vdb rw
33 31 0:29 / /mnt/a rw - overlay overlay rw,lowerdir=/x
garbage
"""


@pytest.mark.parametrize(
    "path, kind, source",
    [
        ("/home/user", "ext4", "/dev/vda"),
        ("/mnt", "tmpfs", "tmpfs"),
        ("/mnt/a/b", "overlay", "overlay"),
        ("/mnt/ab", "tmpfs", "tmpfs"),
        ("/mnt/with space/x", "xfs", "/dev/sd\\b"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount_the_last_one_winning(path, kind, source):
    found = file_system_of(path, MOUNTS)
    assert (found.kind, found.source) == (kind, source)


def test_the_options_of_the_mount_and_of_the_file_system_count():
    assert set(file_system_of("/mnt/with space", MOUNTS).options) == {"rw", "nosuid", "nobarrier"}


def test_an_examination_measures_each_way_and_leaves_nothing_behind(tmp_path):
    found = examine(str(tmp_path), samples=10)
    assert [cost.samples for cost in found.costs if cost.error is None][-3:] == [10, 10, 10]
    assert all(0 < cost.p50 <= cost.p99 for cost in found.costs if cost.error is None)
    assert not os.listdir(tmp_path)
    with oor.open(tmp_path / "store") as db:
        db.put(b"k", b"v")
        assert found.sync_method == db.stats().sync_method


def test_where_direct_writes_are_refused_the_log_goes_the_other_way(tmp_path):
    with Recording(tmp_path) as disk:
        disk.fail(Op.OPEN, nth=2 + 1 + 1, path_part="doctor", errno=errno.EINVAL)
        found = examine(str(tmp_path), samples=10)
    assert found.sync_method == "pwrite+fdatasync"
    assert found.costs[0].error and not found.costs[1].error
    assert any("Direct writes are not to be had" in text for text in found.findings)


def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path):
    with Recording(tmp_path) as disk:
        disk.fail(Op.WRITE, errno=errno.ENOSPC)
        with pytest.raises(oor.DiskFullError):
            examine(str(tmp_path), samples=10)
    assert not os.listdir(tmp_path)


def costs(direct, written, fresh):
    return tuple(Cost("way", p50, p50, 10) for p50 in (direct, written, fresh, 1e-6))


@pytest.mark.parametrize(
    "file_system, measured, reaches, finding",
    [
        (FileSystem("ext4"), costs(70e-6, 90e-6, 150e-6), True, "A file that grows costs 1.7 x"),
        (FileSystem("ext4"), costs(70e-6, 90e-6, 95e-6), True, None),
        (FileSystem("ext4"), costs(5e-6, 6e-6, 6e-6), False, "faster than devices write"),
        (FileSystem("tmpfs"), costs(70e-6, 90e-6, 95e-6), False, "tmpfs is memory"),
        (
            FileSystem("xfs", options=("nobarrier",)),
            costs(70e-6, 90e-6, 95e-6),
            False,
            "without barriers",
        ),
        (FileSystem("overlay"), costs(70e-6, 90e-6, 95e-6), True, "overlay passes syncs on"),
    ],
)
def test_what_is_too_fast_to_be_true_is_said(file_system, measured, reaches, finding):
    assert doctor._reaches_device(file_system, measured) is reaches
    found = list(doctor._findings(file_system, measured, reaches))
    assert (not found) if finding is None else finding in found[0]


def test_the_command_prints_a_table_or_json(tmp_path, capsys):
    assert run(["doctor", str(tmp_path), "--samples", "10"]) == exits.FINE
    text = capsys.readouterr().out
    assert "the log goes by" in text and "pwrite + fdatasync into a written file" in text
    assert run(["doctor", str(tmp_path), "--samples", "10", "--json"]) == exits.FINE
    content = json.loads(capsys.readouterr().out)
    assert content["path"] == str(tmp_path) and len(content["costs"]) == 4
    assert run(["doctor", str(tmp_path / "not there")]) == exits.ERROR
