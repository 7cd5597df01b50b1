"""The door to the disk: what its calls do, what is recorded of them, how they fail on demand."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from support.recording import MUTATING, How, Op, Recording

from oor import native
from oor.errors import DiskFullError, LimitError, StorageError
from oor.native import check, ffi, lib

READ_WRITE = native.READ | native.WRITE
NEW = READ_WRITE | native.CREATE


@pytest.fixture
def recording(tmp_path):
    with Recording(tmp_path) as found:
        yield found


def shape(events):
    return [(event.op, os.path.basename(event.path), event.result) for event in events]


# ---- what the calls do --------------------------------------------------------------------------


def test_a_file_reads_back_what_was_written_at_each_offset(tmp_path):
    with native.File(str(tmp_path / "a"), NEW) as file:
        file.write(b"world", 6)
        file.write(b"hello ", 0)
        file.sync()
        assert file.size() == 11
        assert file.read(100) == b"hello world"
        assert file.read(5, 6) == b"world"
        assert file.read(5, 11) == b""
        file.truncate(5)
        assert native.read_file(file.path) == b"hello"


def test_names_are_made_moved_and_removed(tmp_path):
    at = lambda name: str(tmp_path / name)
    native.make_dir(at("d"))
    native.replace_atomic(at("d/a"), b"1")
    native.link(at("d/a"), at("d/b"))
    native.rename(at("d/b"), at("d/c"))
    assert native.list_dir(at("d")) == ["a", "c"]
    native.unlink(at("d/a"))
    assert not native.exists(at("d/a"))
    assert native.read_file(at("d/c")) == b"1"
    native.sync_dir(at("d"))


def test_an_exclusive_create_refuses_a_name_that_is_taken(tmp_path):
    native.File(str(tmp_path / "a"), NEW).close()
    with pytest.raises(StorageError) as caught:
        native.File(str(tmp_path / "a"), NEW | native.EXCLUSIVE)
    assert caught.value.errno == errno.EEXIST


def test_an_error_says_what_was_tried_and_on_which_path(tmp_path):
    path = str(tmp_path / "absent" / "a")
    with pytest.raises(StorageError, match="cannot open the file") as caught:
        native.File(path, native.READ)
    assert caught.value.path == path
    assert caught.value.errno == errno.ENOENT


def test_a_lock_is_refused_while_another_open_file_has_it(tmp_path):
    path = str(tmp_path / "LOCK")
    with native.File(path, NEW) as first, native.File(path, NEW) as second:
        assert first.lock()
        assert not second.lock()
        first.close()
        assert second.lock()


def test_no_descriptor_is_inherited_by_a_child(tmp_path):
    with native.File(str(tmp_path / "a"), NEW) as file:
        assert not os.get_inheritable(file.fd)


def aligned(size):
    block = ffi.new("uint8_t[]", size + lib.OOR_BLOCK)
    skip = -int(ffi.cast("uintptr_t", block)) % lib.OOR_BLOCK
    return block, block + skip


def test_direct_reads_and_writes_meet_the_end_of_a_file_that_is_no_multiple_of_a_block(tmp_path):
    path = str(tmp_path / "a")
    content = os.urandom(3 * lib.OOR_BLOCK)
    try:
        file = native.File(path, NEW | lib.OOR_OPEN_DIRECT | lib.OOR_OPEN_DSYNC)
    except StorageError as error:
        assert error.errno == errno.EINVAL
        pytest.skip("this file system has no direct access")
    owner, block = aligned(len(content))
    with file:
        ffi.memmove(block, content, len(content))
        check(lib.oor_io_write(file.fd, b"a", block, len(content), 0))
        file.truncate(2 * lib.OOR_BLOCK + 700)
        ffi.memmove(block, bytes(len(content)), len(content))
        assert lib.oor_io_read(file.fd, b"a", block, len(content), 0) == 2 * lib.OOR_BLOCK + 700
    assert bytes(ffi.buffer(block, len(content))).rstrip(b"\0") == content[
        : 2 * lib.OOR_BLOCK + 700
    ].rstrip(b"\0")
    assert owner


def test_a_read_refused_at_the_unaligned_end_of_a_file_is_its_end_and_elsewhere_an_error(
    recording, tmp_path
):
    with native.File(str(tmp_path / "a"), NEW) as file:
        file.write(b"0123456789", 0)
        recording.fail(Op.READ, nth=2, errno=errno.EINVAL)
        assert file.read(100) == b"0123456789"
        recording.fail(Op.READ, nth=1, errno=errno.EINVAL)
        with pytest.raises(StorageError):
            file.read(100)


def test_syncs_reach_the_kernel_which_refuses_what_cannot_be_synced(tmp_path):
    reader, writer = os.pipe()
    assert lib.oor_io_sync(writer, b"a pipe") == lib.OOR_E_IO
    assert lib.oor_last_error().sys_errno == errno.EINVAL
    os.close(reader)
    os.close(writer)
    native.File(str(tmp_path / "a"), NEW).close()
    with pytest.raises(StorageError) as caught:
        native.sync_dir(str(tmp_path / "a"))
    assert caught.value.errno == errno.ENOTDIR


def test_a_close_of_a_number_that_is_not_open_is_an_error():
    assert lib.oor_io_close(1 << 20, b"nothing") == lib.OOR_E_IO


def test_opening_neither_to_read_nor_to_write_is_refused(tmp_path):
    with pytest.raises(LimitError):
        native.File(str(tmp_path / "a"), native.CREATE)


def test_reserving_blocks_succeeds_whatever_the_file_system_can_do(tmp_path):
    with native.File(str(tmp_path / "a"), NEW) as file:
        check(lib.oor_io_allocate(file.fd, b"a", 0, 1 << 16))
        with Recording(tmp_path) as recording:
            recording.fail(Op.ALLOCATE, errno=errno.EOPNOTSUPP, forever=True)
            check(lib.oor_io_allocate(file.fd, b"a", 0, 1 << 20))


def test_a_refused_direct_open_reports_einval_so_that_the_caller_can_do_without(
    recording, tmp_path
):
    recording.fail(Op.OPEN, errno=errno.EINVAL)
    with pytest.raises(StorageError) as caught:
        native.File(str(tmp_path / "a"), NEW | lib.OOR_OPEN_DIRECT)
    assert caught.value.errno == errno.EINVAL
    native.File(str(tmp_path / "a"), NEW).close()


# ---- what is recorded ---------------------------------------------------------------------------


def test_each_operation_is_recorded_with_its_fields(recording, tmp_path):
    path = str(tmp_path / "a")
    with native.File(path, NEW | native.EXCLUSIVE) as file:
        fd = file.fd
        file.write(b"hello", 7)
        file.sync()
        file.read(100, 8)
        file.size()
        file.lock()
        check(lib.oor_io_allocate(fd, b"", 4096, 100))
        file.truncate(9)
    native.link(path, path + ".b")
    native.rename(path, path + ".c")
    native.unlink(path + ".b")
    native.make_dir(str(tmp_path / "d"))
    native.sync_dir(str(tmp_path))
    native.list_dir(str(tmp_path))
    native.exists(path)
    recording.mark("the end")

    events = recording.take()
    by_op = {event.op: event for event in events}
    assert [event.op for event in events] == [
        Op.OPEN, Op.WRITE, Op.SYNC, Op.READ, Op.READ, Op.SIZE, Op.LOCK, Op.ALLOCATE, Op.TRUNCATE,
        Op.CLOSE, Op.LINK, Op.RENAME, Op.UNLINK, Op.MAKE_DIR, Op.SYNC_DIR, Op.LIST, Op.EXISTS,
        Op.MARK,
    ]  # fmt: skip
    assert [event.end for event in events] == sorted({event.end for event in events})
    assert {event.thread for event in events} == {threading.get_native_id()}
    assert all(event.begin <= event.end for event in events)
    opened = by_op[Op.OPEN]
    assert (opened.path, opened.fd, opened.effect) == (path, fd, 1)
    wanted = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    assert opened.flags == wanted
    of_file = [event for event in events if event.op in set(Op) - {Op.MARK} and event.fd == fd]
    assert {event.object for event in of_file} == {opened.object} != {0}
    assert {event.path for event in of_file} == {path}
    write = by_op[Op.WRITE]
    assert (write.offset, write.length, write.effect, write.result) == (7, 5, 5, 5)
    assert write.payload == b"hello"
    first_read = next(event for event in events if event.op is Op.READ)
    assert (first_read.offset, first_read.length, first_read.effect) == (8, 100, 4)
    assert by_op[Op.SIZE].result == 12
    allocate = by_op[Op.ALLOCATE]
    assert (allocate.offset, allocate.length) == (4096, 100)
    assert by_op[Op.TRUNCATE].length == 9
    for op, other in ((Op.LINK, ".b"), (Op.RENAME, ".c")):
        assert (by_op[op].path, by_op[op].other) == (path, path + other)
    for op in (Op.LINK, Op.RENAME, Op.UNLINK):
        assert by_op[op].object == opened.object
    assert by_op[Op.MAKE_DIR].object not in (0, opened.object)
    assert by_op[Op.LIST].result == 2
    assert by_op[Op.EXISTS].result == 0
    assert by_op[Op.MARK].text == "the end"


def test_an_object_keeps_its_number_through_renames_and_a_new_file_never_gets_it(
    recording, tmp_path
):
    at = lambda name: str(tmp_path / name)
    numbers = []
    for name in ("a", "a", "a"):  # removed each time, so that its inode may come back
        with native.File(at(name), NEW) as file:
            file.write(b"x", 0)
        native.rename(at(name), at("b"))
        with native.File(at("b"), READ_WRITE) as file:
            file.write(b"y", 0)
        native.unlink(at("b"))
    native.make_dir(at("d"))
    made = recording.take()[-1]
    for event in recording.take():
        if event.op is Op.WRITE:
            numbers.append((event.payload, event.object))
    old, new = numbers[::2], numbers[1::2]
    assert [number for _, number in old] == [number for _, number in new]
    assert len({number for _, number in old} | {made.object}) == 4


def test_a_file_replaced_by_a_rename_is_another_object_than_the_one_before(recording, tmp_path):
    path = str(tmp_path / "CURRENT")
    native.replace_atomic(path, b"1")
    native.replace_atomic(path, b"2")
    objects = [event.object for event in recording.take() if event.op is Op.RENAME]
    assert len(set(objects)) == 2


def test_a_file_open_since_before_the_recording_is_known_by_its_path(tmp_path):
    path = os.path.realpath(tmp_path / "a")
    with native.File(path, NEW) as file:
        with Recording(tmp_path) as recording:
            file.write(b"x", 0)
        assert recording.snapshot.files["a"][1] == b""
        assert shape(recording.events) == [(Op.WRITE, "a", 1)]
        assert recording.events[0].path == path


def test_stores_into_a_shared_map_belong_to_the_mapped_object(recording, tmp_path):
    path = str(tmp_path / "tail")
    with native.File(path, NEW) as file:
        file.write(bytes(8192), 0)
        out = ffi.new("uint8_t **")
        check(lib.oor_io_map(file.fd, b"tail", 8192, out))
    lib.oor_io_store(out[0], 4090, b"0123456789", 10)
    lib.oor_io_unmap(out[0], 8192)
    events = {event.op: event for event in recording.take()}
    store = events[Op.STORE]
    assert (store.offset, store.effect, store.payload) == (4090, 10, b"0123456789")
    assert store.object == events[Op.MAP].object == events[Op.OPEN].object
    assert native.read_file(path)[4090:4100] == b"0123456789"


def test_without_payloads_only_the_sizes_are_kept(tmp_path):
    with Recording(tmp_path, payloads=False) as recording:
        native.replace_atomic(str(tmp_path / "a"), b"secret")
        recording.mark("text stays")
    writes = [event for event in recording.events if event.op is Op.WRITE]
    assert [(event.effect, event.payload) for event in writes] == [(6, b"")]
    assert recording.events[-1].text == "text stays"


def test_threads_are_recorded_in_one_order_and_told_apart(recording, tmp_path):
    def write(name: str) -> None:
        with native.File(str(tmp_path / name), NEW) as file:
            for i in range(200):
                file.write(b"%d" % i, i * 8)
                if not i % 20:
                    file.sync()

    threads = [threading.Thread(target=write, args=(f"f{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = recording.take()
    assert len(events) == 4 * (2 + 200 + 10)
    ends = [event.end for event in events]
    assert ends == sorted(set(ends))
    for number in {event.object for event in events}:
        of_file = [event for event in events if event.object == number]
        assert len({event.thread for event in of_file}) == 1
        offsets = [event.offset for event in of_file if event.op is Op.WRITE]
        assert offsets == [i * 8 for i in range(200)]


def test_two_recordings_at_once_are_refused_and_after_the_last_nothing_is_recorded(tmp_path):
    with Recording(tmp_path) as recording:
        with pytest.raises(LimitError):
            check(lib.oor_trace_install(0))
        native.make_dir(str(tmp_path / "inside"))
    native.make_dir(str(tmp_path / "outside"))
    assert shape(recording.events) == [(Op.MAKE_DIR, "inside", 0)]
    with pytest.raises(LimitError):
        check(lib.oor_trace_mark(b"nobody listens"))


# ---- faults -------------------------------------------------------------------------------------


class Act:
    """One call for each operation that changes something, and a look whether it happened."""

    def __init__(self, folder: Path) -> None:
        self.at = lambda name: str(folder / name)
        self.file = native.File(self.at("file"), NEW)
        self.file.write(b"old old old ", 0)
        native.File(self.at("from"), NEW).close()

    def call(self, op: Op) -> None:
        match op:
            case Op.OPEN:
                native.File(self.at("made"), NEW).close()
            case Op.WRITE:
                self.file.write(b"new new ", 0)
            case Op.SYNC:
                self.file.sync()
            case Op.TRUNCATE:
                self.file.truncate(3)
            case Op.ALLOCATE:
                check(lib.oor_io_allocate(self.file.fd, os.fsencode(self.file.path), 0, 1 << 16))
            case Op.RENAME:
                native.rename(self.at("from"), self.at("to"))
            case Op.LINK:
                native.link(self.at("from"), self.at("to"))
            case Op.UNLINK:
                native.unlink(self.at("from"))
            case Op.MAKE_DIR:
                native.make_dir(self.at("made"))
            case Op.SYNC_DIR:
                native.sync_dir(self.at("."))

    def happened(self, op: Op, recording: Recording) -> bool:
        """From the disk where it shows there, else from what was handed to the kernel."""
        there = os.path.exists
        match op:
            case Op.OPEN | Op.MAKE_DIR:
                return there(self.at("made"))
            case Op.WRITE:
                return native.read_file(self.file.path).startswith(b"new new ")
            case Op.TRUNCATE:
                return os.path.getsize(self.file.path) == 3
            case Op.RENAME:
                return there(self.at("to")) and not there(self.at("from"))
            case Op.LINK:
                return there(self.at("to"))
            case Op.UNLINK:
                return not there(self.at("from"))
            case Op.ALLOCATE:
                return os.path.getsize(self.file.path) == 1 << 16
            case _:
                return recording.take()[-1].effect == 1


@pytest.mark.parametrize("how", [How.BEFORE, How.AFTER])
@pytest.mark.parametrize("op", MUTATING, ids=lambda op: op.name)
def test_a_fault_reports_its_error_and_the_work_is_undone_or_done_as_asked(tmp_path, op, how):
    act = Act(tmp_path)
    descriptors = len(os.listdir("/proc/self/fd"))
    with Recording(tmp_path) as recording:
        recording.fail(op, errno=errno.EIO, how=how)
        with pytest.raises(StorageError) as caught:
            act.call(op)
        assert caught.value.errno == errno.EIO
        assert recording.faults_met == 1
        assert act.happened(op, recording) == (how is How.AFTER)
        event = next(e for e in recording.take() if e.op is op and e.result == -errno.EIO)
        assert bool(event.effect) == (how is How.AFTER)
        if how is How.BEFORE:
            act.call(op)  # once only: now it works
            assert act.happened(op, recording)
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("op", MUTATING, ids=lambda op: op.name)
def test_a_fault_for_ever_lasts_until_it_is_taken_away(tmp_path, op):
    act = Act(tmp_path)
    with Recording(tmp_path) as recording:
        recording.fail(op, errno=errno.ENOSPC, forever=True)
        for met in (1, 2, 3):
            with pytest.raises(DiskFullError):
                act.call(op)
            assert recording.faults_met == met
        recording.heal()
        act.call(op)
        assert act.happened(op, recording)


def test_only_operations_of_that_kind_and_path_count(recording, tmp_path):
    at = lambda name: str(tmp_path / name)
    with native.File(at("a.log"), NEW) as log, native.File(at("b.table"), NEW) as table:
        recording.fail((Op.WRITE, Op.SYNC), nth=3, path_part=".log", errno=errno.EIO)
        for _ in range(5):
            table.write(b"x", 0)
        log.read(1)
        log.write(b"1", 0)
        log.sync()
        with pytest.raises(StorageError):
            log.write(b"2", 0)
        log.write(b"3", 0)
    assert recording.faults_met == 1


def test_a_torn_write_leaves_its_first_bytes_and_reports_the_error(tmp_path):
    act = Act(tmp_path)
    with Recording(tmp_path) as recording:
        recording.fail(Op.WRITE, errno=errno.EIO, how=How.TORN, amount=3)
        with pytest.raises(StorageError):
            act.file.write(b"NEW NEW", 0)
        write = recording.take()[-1]
    assert native.read_file(act.file.path) == b"NEW old old "
    assert (write.effect, write.payload, write.result) == (3, b"NEW", -errno.EIO)


def test_short_counts_are_gone_on_with_until_all_is_done(tmp_path):
    act = Act(tmp_path)
    with Recording(tmp_path) as recording:
        recording.fail((Op.WRITE, Op.READ), how=How.PARTIAL, amount=3, forever=True)
        act.file.write(b"0123456789", 0)
        assert act.file.read(100) == b"0123456789d "
        short = recording.faults_met
        recording.heal()
    assert short == 4 + 5  # ten bytes; twelve, and once more to see the end of the file
    assert native.read_file(act.file.path) == b"0123456789d "


def test_a_write_that_takes_no_bytes_and_gives_no_reason_is_an_error(tmp_path):
    act = Act(tmp_path)
    with Recording(tmp_path) as recording:
        recording.fail(Op.WRITE, how=How.PARTIAL, amount=0)
        with pytest.raises(StorageError):
            act.file.write(b"x", 0)


RESUMED = (Op.OPEN, Op.READ, Op.WRITE, Op.SYNC, Op.TRUNCATE, Op.ALLOCATE, Op.SYNC_DIR, Op.LOCK)


@pytest.mark.parametrize("op", RESUMED, ids=lambda op: op.name)
def test_an_interrupted_call_is_made_again(tmp_path, op):
    act = Act(tmp_path)
    with Recording(tmp_path) as recording:
        recording.fail(op, errno=errno.EINTR)
        if op is Op.READ:
            assert act.file.read(3) == b"old"
        elif op is Op.LOCK:
            assert act.file.lock()
        else:
            act.call(op)
            assert act.happened(op, recording)
        assert recording.faults_met == 1


def test_an_interrupted_close_has_closed(recording, tmp_path):
    file = native.File(str(tmp_path / "a"), NEW)
    fd = file.fd
    recording.fail(Op.CLOSE, errno=errno.EINTR, how=How.AFTER)
    file.close()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_faults_that_make_no_sense_are_refused(recording):
    with pytest.raises(LimitError):
        recording.fail(Op.RENAME, how=How.PARTIAL, amount=1)
    with pytest.raises(LimitError):
        recording.fail(Op.MARK, errno=errno.EIO)
    with pytest.raises(LimitError):
        recording.fail(Op.WRITE, errno=0)
    with pytest.raises(LimitError):
        check(lib.oor_trace_fault(1, 1 << Op.WRITE, ffi.NULL, errno.EIO, 9, 0, 0))
