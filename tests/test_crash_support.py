"""The crash images: they hold what a missing sync allows, and nothing that a sync forbids."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oor import native
from oor.crashlab.images import CrashImages
from oor.crashlab.levels import Level
from oor.crashlab.model import SECTOR
from oor.crashlab.recording import How, Op, Recording, Snapshot
from oor.errors import StorageError
from oor.native import check, ffi, lib

NEW = native.READ | native.WRITE | native.CREATE
POWER = (Level.ORDERED, Level.REORDERED, Level.TORN)
OLD_TEXT = b"old" * 400
NEW_TEXT = b"NEW!" * 400


def content_of(snapshot):
    return {path: content for path, (_, content) in snapshot.files.items()}


def replaced(folder, *, sync=True, sync_dir=True):
    """The toy protocol: put new content under a name, then acknowledge."""
    target = str(folder / "file")
    native.replace_atomic(target, OLD_TEXT)
    with Recording(folder) as recording:
        with native.File(target + ".tmp", NEW) as file:
            file.write(NEW_TEXT, 0)
            if sync:
                file.sync()
        native.rename(target + ".tmp", target)
        if sync_dir:
            native.sync_dir(str(folder))
        recording.mark("ack")
    return recording


def acknowledged(recording, image):
    return any(event.op is Op.MARK for event in recording.events[: image.point])


def outcomes(recording, *levels):
    """(acknowledged, content under the name) of every image."""
    return {
        (acknowledged(recording, image), image.files.get("file"))
        for image in CrashImages(recording).all(*levels)
    }


# ---- the toy protocol ---------------------------------------------------------------------------


def test_with_all_syncs_a_reader_finds_old_or_new_and_after_the_ack_only_new(tmp_path):
    found = outcomes(replaced(tmp_path))
    assert found == {(False, OLD_TEXT), (False, NEW_TEXT), (True, NEW_TEXT)}


@pytest.mark.parametrize("level", [Level.REORDERED, Level.ORDERED, Level.TORN])
def test_without_the_sync_of_the_file_the_name_may_show_less_than_the_content(tmp_path, level):
    found = outcomes(replaced(tmp_path, sync=False), level)
    assert (True, NEW_TEXT) in found
    assert (True, b"") in found  # neither size nor data
    assert (True, bytes(len(NEW_TEXT))) in found  # the size, not the data


def test_without_the_sync_of_the_directory_an_acknowledged_change_may_be_gone(tmp_path):
    for level in POWER:
        found = outcomes(replaced(tmp_path, sync_dir=False), level)
        assert (True, OLD_TEXT) in found
        assert (True, NEW_TEXT) in found


def test_a_kill_takes_nothing_that_was_done_synced_or_not(tmp_path):
    found = outcomes(replaced(tmp_path, sync=False, sync_dir=False), Level.KILL)
    assert {content for acked, content in found if acked} == {NEW_TEXT}


def test_a_kill_inside_a_write_leaves_a_part_of_it(tmp_path):
    recording = replaced(tmp_path)
    images = CrashImages(recording).all(Level.KILL)
    sizes = {len(image.files.get("file.tmp", b"")) for image in images}
    assert {0, 1, 512, 800, 1024, 1536, len(NEW_TEXT) - 1, len(NEW_TEXT)} <= sizes
    assert max(sizes) == len(NEW_TEXT)


def test_the_last_kill_image_is_the_directory_as_it_is(tmp_path):
    recording = replaced(tmp_path)
    (last,) = CrashImages(recording).at(len(recording.events), Level.KILL)
    assert last.files == content_of(Snapshot.of(str(tmp_path)))


# ---- each part of the model ---------------------------------------------------------------------


def final(recording, level=Level.REORDERED, **options):
    """The images when power goes after everything."""
    return list(CrashImages(recording).at(len(recording.events), level, **options))


def contents(recording, name, level=Level.REORDERED):
    return {image.files.get(name) for image in final(recording, level)}


def test_a_dsync_write_is_durable_by_itself_and_carries_no_other_write_along(tmp_path):
    path = str(tmp_path / "a")
    native.replace_atomic(path, b"....")
    with Recording(tmp_path) as recording:
        with native.File(path, native.WRITE) as plain:
            plain.write(b"p", 0)
            plain.write(b"pp", 2)
        with native.File(path, native.WRITE | lib.OOR_OPEN_DSYNC) as through:
            through.write(b"d", 3)
    assert contents(recording, "a") == {b"...d", b"p..d", b"..pd", b"p.pd"}


def test_a_dsync_write_in_flight_is_promised_by_nobody(tmp_path):
    path = str(tmp_path / "a")
    native.replace_atomic(path, b"." * 1024)
    flags = native.WRITE | lib.OOR_OPEN_DSYNC
    with Recording(tmp_path) as recording, native.File(path, flags) as through:
        through.write(b"d" * 1024, 0)
    (point,) = [n for n, event in enumerate(recording.events) if event.op is Op.WRITE]
    found = {image.files["a"] for image in CrashImages(recording).at(point, Level.TORN)}
    old, new = b"." * SECTOR, b"d" * SECTOR
    assert found == {old + old, new + old, old + new, new + new}
    assert contents(recording, "a", Level.TORN) == {new + new}


def test_a_sync_covers_only_what_ended_before_it_began(tmp_path):
    path = str(tmp_path / "a")
    native.replace_atomic(path, b"..")
    with Recording(tmp_path) as recording, native.File(path, native.WRITE) as file:
        file.write(b"1", 0)
        file.sync()
        file.write(b"2", 1)
    sync, write = recording.events[2:4]
    assert (sync.op, write.op) == (Op.SYNC, Op.WRITE)
    assert contents(recording, "a") == {b"1.", b"12"}
    # The same write while the sync runs: it ends first, and still is not covered.
    sync.end, write.begin, write.end = write.end, sync.end, sync.end
    recording.events[2:4] = [write, sync]
    assert contents(recording, "a") == {b"1.", b"12"}
    assert sync.begin < write.end < sync.end


def test_a_failed_sync_makes_nothing_durable_unless_it_was_done(tmp_path):
    for how, expected in ((How.BEFORE, {b".", b"1"}), (How.AFTER, {b"1"})):
        path = str(tmp_path / "a")
        native.replace_atomic(path, b".")
        with Recording(tmp_path) as recording, native.File(path, native.WRITE) as file:
            file.write(b"1", 0)
            recording.fail(Op.SYNC, errno=errno.EIO, how=how)
            with pytest.raises(StorageError):
                file.sync()
        assert contents(recording, "a") == expected


def test_ordered_loses_only_from_the_end_and_reordered_any(tmp_path):
    path = str(tmp_path / "a")
    native.replace_atomic(path, b"....")
    with Recording(tmp_path) as recording, native.File(path, native.WRITE) as file:
        for k in range(4):
            file.write(b"%d" % k, k)
    assert contents(recording, "a", Level.ORDERED) == {b"....", b"0...", b"01..", b"012.", b"0123"}
    assert len(contents(recording, "a")) == 16


def test_a_later_pending_write_wins_over_an_earlier_one(tmp_path):
    path = str(tmp_path / "a")
    native.replace_atomic(path, b".")
    with Recording(tmp_path) as recording, native.File(path, native.WRITE) as file:
        file.write(b"1", 0)
        file.write(b"2", 0)
    assert contents(recording, "a") == {b".", b"1", b"2"}
    assert {i.files["a"] for i in final(recording, Level.ORDERED)} == {b".", b"1", b"2"}


def test_a_pending_truncation_brings_the_old_tail_back(tmp_path):
    path = str(tmp_path / "a")
    native.replace_atomic(path, b"12345")
    with Recording(tmp_path) as recording, native.File(path, native.WRITE) as file:
        file.truncate(2)
        file.truncate(4)
    assert contents(recording, "a") == {b"12345", b"12", b"12\0\0"}


def test_reserved_room_may_be_there_or_not(tmp_path):
    path = str(tmp_path / "a")
    native.replace_atomic(path, b"1")
    with Recording(tmp_path) as recording, native.File(path, native.WRITE) as file:
        check(lib.oor_io_allocate(file.fd, b"a", 0, 3))
    assert contents(recording, "a") == {b"1", b"1\0\0"}


def test_names_not_synced_come_and_go_in_any_combination(tmp_path):
    for name in "ab":
        native.replace_atomic(str(tmp_path / name), name.encode())
    with Recording(tmp_path) as recording:
        native.unlink(str(tmp_path / "a"))
        native.rename(str(tmp_path / "b"), str(tmp_path / "c"))
    found = {tuple(sorted(image.files)) for image in final(recording)}
    assert found == {("a", "b"), ("b",), ("a", "c"), ("c",)}
    found = {tuple(sorted(image.files)) for image in final(recording, Level.ORDERED)}
    assert found == {("a", "b"), ("b",), ("c",)}


def test_a_directory_not_synced_into_its_parent_takes_all_below_it_along(tmp_path):
    with Recording(tmp_path) as recording:
        native.make_dir(str(tmp_path / "d"))
        native.replace_atomic(str(tmp_path / "d" / "a"), b"1")
    assert {(i.dirs, tuple(i.files)) for i in final(recording)} == {((), ()), (("d",), ("d/a",))}
    with Recording(tmp_path) as recording:
        native.make_dir(str(tmp_path / "e"))
        native.sync_dir(str(tmp_path))
        native.replace_atomic(str(tmp_path / "e" / "a"), b"1")
    (only,) = final(recording)
    assert only.files == {"d/a": b"1", "e/a": b"1"}


def test_two_names_of_one_file_show_one_content(tmp_path):
    path = str(tmp_path / "a")
    native.replace_atomic(path, b".")
    native.link(path, path + "2")
    with Recording(tmp_path) as recording, native.File(path, native.WRITE) as file:
        file.write(b"1", 0)
    assert {(i.files["a"], i.files["a2"]) for i in final(recording)} == {(b".", b"."), (b"1", b"1")}


def mapped(path, size):
    with native.File(path, native.READ | native.WRITE) as file:
        out = ffi.new("uint8_t **")
        check(lib.oor_io_map(file.fd, os.fsencode(path), size, out))
    return out[0]


def test_stores_into_a_map_survive_a_kill_and_go_page_by_page_at_a_power_loss(tmp_path):
    path = str(tmp_path / "tail")
    native.replace_atomic(path, bytes(3 * 4096))
    with Recording(tmp_path) as recording:
        tail = mapped(path, 3 * 4096)
        lib.oor_io_store(tail, 4000, b"a" * 200, 200)  # in two pages
        lib.oor_io_store(tail, 9000, b"b" * 10, 10)
        lib.oor_io_unmap(tail, 3 * 4096)
    (alive,) = {image.files["tail"] for image in final(recording, Level.KILL)}
    assert alive == content_of(Snapshot.of(str(tmp_path)))["tail"]
    pages = set()
    for seed in range(20):
        for image in final(recording, seed=seed):
            tail_content = image.files["tail"]
            pages.add((b"a" in tail_content[:4096], b"a" in tail_content[4096:8192],
                       b"b" in tail_content))  # fmt: skip
    assert len(pages) == 8


def test_a_sync_of_a_mapped_file_makes_its_stores_durable(tmp_path):
    path = str(tmp_path / "tail")
    native.replace_atomic(path, bytes(4096))
    with Recording(tmp_path) as recording:
        tail = mapped(path, 4096)
        lib.oor_io_store(tail, 0, b"1", 1)
        with native.File(path, native.WRITE) as file:
            file.sync()
        lib.oor_io_store(tail, 1, b"2", 1)
        lib.oor_io_unmap(tail, 4096)
    assert {image.files["tail"][:2] for image in final(recording)} == {b"1\0", b"12"}


def test_a_torn_write_mixes_old_and_new_sectors_in_any_way(tmp_path):
    path = str(tmp_path / "a")
    native.replace_atomic(path, b"." * 4 * SECTOR)
    with Recording(tmp_path) as recording, native.File(path, native.WRITE) as file:
        file.write(b"x" * 3 * SECTOR, SECTOR // 2)  # touches four sectors
    patterns = {
        tuple(b"x" in content[k * SECTOR : (k + 1) * SECTOR] for k in range(4))
        for content in contents(recording, "a", Level.TORN)
    }
    assert len(patterns) == 16
    assert len(contents(recording, "a")) == 2


def test_many_pending_changes_are_bounded_and_the_same_for_the_same_seed(tmp_path):
    with Recording(tmp_path) as recording:
        for name in "abcdefgh":
            with native.File(str(tmp_path / name), NEW) as file:
                for k in range(20):
                    file.write(name.encode() * 700, k * 700)
    images = CrashImages(recording)
    for level in POWER:
        first = [image.digest for image in images.at(len(recording.events), level, seed=5)]
        again = [image.digest for image in images.at(len(recording.events), level, seed=5)]
        other = [image.digest for image in images.at(len(recording.events), level, seed=6)]
        assert first == again
        assert first != other
        assert 100 < len(first) == len(set(first)) <= 256
        whole = {name: name.encode() * 14_000 for name in "abcdefgh"}
        found = final(recording, level)
        assert any(image.files == whole for image in found)
        assert any(not image.files for image in found)


def test_what_was_pending_at_a_kill_may_still_be_lost_during_the_recovery(tmp_path):
    """A process reads what another wrote and never synced; then power goes."""
    first, second = tmp_path / "first", tmp_path / "second"
    os.mkdir(first)
    native.replace_atomic(str(first / "log"), b"..")
    with Recording(first) as recording, native.File(str(first / "log"), native.WRITE) as file:
        file.write(b"1", 0)
    images = CrashImages(recording)
    point = len(recording.events)
    (killed,) = images.at(point, Level.KILL)
    for synced, expected in ((False, {b"..", b"1.", b".2", b"12"}), (True, {b"1.", b"12"})):
        folder = second / str(synced)
        killed.write(folder)
        with Recording(folder) as recovery, native.File(str(folder / "log"), native.WRITE) as file:
            if synced:
                file.sync()
            file.write(b"2", 1)
        after = CrashImages(recovery, start=images.after_kill(point))
        found = {i.files["log"] for i in after.at(len(recovery.events), Level.REORDERED)}
        assert found == expected


def test_a_recovery_that_syncs_the_directory_keeps_the_names_it_found(tmp_path):
    first = tmp_path / "first"
    os.mkdir(first)
    with Recording(first) as recording:
        for name in "abc":
            native.File(str(first / name), NEW).close()
    images = CrashImages(recording)
    point = len(recording.events)
    (killed,) = images.at(point, Level.KILL)
    for synced, expected in ((False, 8), (True, 1)):
        folder = tmp_path / str(synced)
        killed.write(folder)
        with Recording(folder) as recovery:
            if synced:
                native.sync_dir(str(folder))
        after = CrashImages(recovery, start=images.after_kill(point))
        assert len(list(after.at(len(recovery.events), Level.REORDERED))) == expected


def test_numbers_and_descriptors_of_a_dead_process_mean_nothing_to_the_next(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    os.mkdir(first)
    for name in "ab":
        native.replace_atomic(str(first / name), b".")
    flags = native.WRITE | lib.OOR_OPEN_DSYNC
    with Recording(first) as recording:
        dying = native.File(str(first / "a"), flags)
    images = CrashImages(recording)
    (killed,) = images.at(1, Level.KILL)
    killed.write(second)
    dying.close()
    with native.File(str(second / "b"), native.WRITE) as file:  # open before it is recorded
        assert file.fd == recording.events[0].fd
        with Recording(second) as recovery:
            file.write(b"2", 0)
    after = CrashImages(recovery, start=images.after_kill(1))
    found = {(i.files["a"], i.files["b"]) for i in after.at(1, Level.REORDERED)}
    assert found == {(b".", b"."), (b".", b"2")}


def test_an_image_is_written_as_it_is(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    os.mkdir(source)
    with Recording(source) as recording:
        native.make_dir(str(source / "d"))
        native.replace_atomic(str(source / "d" / "a"), NEW_TEXT)
        native.replace_atomic(str(source / "empty"), b"")
    (image,) = final(recording, Level.KILL)
    image.write(target)
    written = Snapshot.of(str(target))
    assert content_of(written) == image.files == {"d/a": NEW_TEXT, "empty": b""}
    assert sorted(written.dirs) == ["", "d"]


def test_operations_outside_the_root_are_no_part_of_an_image(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    os.mkdir(inside)
    os.mkdir(outside)
    with Recording(inside) as recording:
        native.replace_atomic(str(outside / "x"), b"1")
        native.replace_atomic(str(inside / "y"), b"2")
    (image,) = final(recording)
    assert image.files == {"y": b"2"}


# ---- the model against the kernel ---------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.one_of(
    st.tuples(st.just("write"), NAMES, st.integers(0, 9000), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("truncate"), NAMES, st.integers(0, 9000)),
    st.tuples(st.just("allocate"), NAMES, st.integers(1, 9000)),
    st.tuples(st.just("replace"), NAMES, st.binary(max_size=40)),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("link"), NAMES, NAMES),
    st.tuples(st.just("unlink"), NAMES),
    st.tuples(st.just("sync"), NAMES),
    st.tuples(st.just("sync_dir")),
)


def perform(step, folder):
    at = lambda name: str(folder / name)
    match step:
        case ("write", name, offset, data):
            with native.File(at(name), NEW) as file:
                file.write(data, offset)
        case ("truncate", name, size):
            with native.File(at(name), NEW) as file:
                file.truncate(size)
        case ("allocate", name, size):
            with native.File(at(name), NEW) as file:
                check(lib.oor_io_allocate(file.fd, b"", 0, size))
        case ("replace", name, data):
            native.replace_atomic(at(name), data)
        case ("rename", source, target):
            native.rename(at(source), at(target))
        case ("link", source, target):
            native.link(at(source), at(target))
        case ("unlink", name):
            native.unlink(at(name))
        case ("sync", name):
            with native.File(at(name), NEW) as file:
                file.sync()
        case ("sync_dir",):
            native.sync_dir(str(folder))


@settings(max_examples=60, deadline=None)
@given(before=st.lists(STEPS, max_size=4), steps=st.lists(STEPS, max_size=12))
def test_the_model_agrees_with_the_kernel_on_what_is_there(tmp_path_factory, before, steps):
    folder = tmp_path_factory.mktemp("model")

    def go(step):
        try:
            perform(step, folder)
        except StorageError as error:
            assert error.errno in (errno.ENOENT, errno.EEXIST)

    for step in before:
        go(step)
    with Recording(folder) as recording:
        for step in steps:
            go(step)
        for name in os.listdir(folder):
            perform(("sync", name), folder)
        perform(("sync_dir",), folder)
    there = content_of(Snapshot.of(str(folder)))
    for level in Level:
        (image,) = final(recording, level)
        assert image.files == there
