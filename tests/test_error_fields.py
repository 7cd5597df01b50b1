"""Each error that a user or a disk can cause, provoked, says where it was and what to do.

A row of the table: what brings the error about, its class, the fields that must be filled in, and
what the text must name.
"""

from __future__ import annotations

import errno
import os
import shutil

import pytest
from support.engine import TINY, content, files, flip, kill, read, write
from test_recovery import frames_of, without_tail

import oor
from oor import errors
from oor.manifest import _crc
from oor.trace import Op, Trace

ROOMY = TINY | {"memtable_bytes": 1 << 20}


def store(path, count=40, **options):
    """A killed store with a table, and a log whose tail is gone, as a power loss leaves it."""
    db = oor.open(path, **ROOMY | options)
    for i in range(count):
        db.put(b"%03d" % i, b"v" * 100)
    db.flush()
    for i in range(count):
        db.put(b"later%03d" % i, b"w" * 100)
    kill(db)
    without_tail(path)


def segment_of(path):
    return next(name for name in files(path, ".wal") if len(frames_of(name)) > 10)


def manifest_of(path):
    return next(name for name in files(path) if "MANIFEST" in name)


def a_frame_that_rotted(path):
    store(path)
    name = segment_of(path)
    flip(name, frames_of(name)[5][0] + 60)
    oor.open(path, **ROOMY)


def a_segment_header_that_rotted(path):
    store(path)
    name = segment_of(path)
    write(name, bytes([255]) * 4096 + read(name)[4096:])
    oor.open(path, **ROOMY)


def a_segment_that_is_missing(path):
    store(path)
    os.unlink(segment_of(path))
    oor.open(path, **ROOMY)


def a_manifest_line_that_rotted(path):
    store(path)
    flip(manifest_of(path), 30)
    oor.open(path, **ROOMY)


def a_manifest_that_is_missing(path):
    store(path)
    os.unlink(manifest_of(path))
    oor.open(path, **ROOMY)


def a_current_that_rotted(path):
    store(path)
    flip(f"{path}/CURRENT", 3)
    oor.open(path, **ROOMY)


def a_current_that_is_missing(path):
    store(path)
    os.unlink(f"{path}/CURRENT")
    oor.open(path, **ROOMY)


def a_table_that_is_missing(path):
    store(path)
    os.unlink(files(path, ".sst")[0])
    oor.open(path, **ROOMY)


def a_table_that_was_cut(path):
    store(path)
    name = files(path, ".sst")[0]
    write(name, read(name)[:-100])
    oor.open(path, **ROOMY)


def a_footer_that_rotted(path):
    store(path)
    name = files(path, ".sst")[0]
    flip(name, len(read(name)) - 20)
    oor.open(path, **ROOMY)


def a_first_block_that_rotted(path):
    store(path)
    flip(files(path, ".sst")[0], 10)
    with oor.open(path, **ROOMY) as db:
        content(db)


def a_backup_of_a_block_that_rotted(path):
    store(path)
    name = files(path, ".sst")[0]
    with oor.open(path, **ROOMY) as db:
        flip(name, 10)
        db.backup(path + ".copy")


def a_manifest_of_a_later_format(path):
    store(path)
    name = manifest_of(path)
    line = read(name).split(b"\n")[0][9:].replace(b'"format":1', b'"format":99')
    assert b"99" in line
    write(name, _crc(line).encode() + b" " + line + b"\n")
    oor.open(path, **ROOMY)


def no_store_where_one_was_to_be(path):
    oor.open(path, create=False)


def a_write_to_a_reader(path):
    oor.open(path).close()
    with oor.open(path, read_only=True) as db:
        db.put(b"a", b"1")


def a_store_that_is_open(path):
    with oor.open(path):
        oor.open(path)


def a_handle_that_was_closed(path):
    db = oor.open(path)
    db.close()
    db.put(b"a", b"1")


def a_snapshot_of_a_closed_store(path):
    db = oor.open(path)
    snapshot = db.snapshot()
    db.close()
    snapshot.get(b"a")


def faulty(path, call, op, number, part, **named):
    with Trace(payloads=False) as trace:
        db = oor.open(path, **ROOMY)
        try:
            db.put(b"before", b"1", durability="sync")
            trace.fail(op, errno=number, path_part=part, **named)
            call(db)
        finally:
            trace.heal()
            kill(db)


def a_log_without_room(path):
    faulty(path, lambda db: db.put(b"a", b"1", durability="sync"), Op.WRITE, errno.ENOSPC, ".wal")


def a_log_over_its_quota(path):
    faulty(path, lambda db: db.put(b"a", b"1", durability="sync"), Op.WRITE, errno.EDQUOT, ".wal")


def a_table_without_room(path):
    faulty(path, lambda db: db.flush(), Op.WRITE, errno.ENOSPC, ".sst")


def a_log_that_failed(path):
    faulty(path, lambda db: db.put(b"a", b"1", durability="sync"), Op.WRITE, errno.EIO, ".wal")


def a_write_after_a_failure(path):
    def twice(db):
        with pytest.raises(oor.FailedError):
            db.put(b"a", b"1", durability="sync")
        db.put(b"b", b"1", durability="os")

    faulty(path, twice, Op.WRITE, errno.EIO, ".wal")


def a_manifest_that_failed(path):
    faulty(path, lambda db: db.flush(), Op.SYNC, errno.EIO, "MANIFEST")


def a_directory_that_failed(path):
    faulty(path, lambda db: db.flush(), Op.SYNC_DIR, errno.EIO, "")


def a_read_of_a_log_that_failed(path):
    store(path)
    with Trace(payloads=False) as trace:
        trace.fail(Op.READ, errno=errno.EIO, path_part=".wal")
        oor.open(path, **ROOMY)


def a_read_of_a_table_that_failed(path):
    store(path)
    with Trace(payloads=False) as trace, oor.open(path, **ROOMY) as db:
        trace.fail(Op.READ, errno=errno.EIO, path_part=".sst")
        content(db)


def a_key_that_is_too_long(path):
    with oor.open(path) as db:
        db.put(b"k" * 70_000, b"")


def an_option_that_is_none(path):
    oor.open(path, no_such_option=1)


def a_backup_over_something(path):
    store(path)
    with oor.open(path, **ROOMY) as db:
        db.backup(path)


WHERE = ("path",)
OF_LOG = ("path", "segment", "offset", "first_lsn", "last_lsn")
SALVAGE, RESTORE = ("oor verify", 'recovery="salvage"', "backup"), ("backup",)

TABLE = [
    (a_frame_that_rotted, oor.CorruptionError, OF_LOG, SALVAGE),
    (a_segment_header_that_rotted, oor.CorruptionError, OF_LOG, SALVAGE),
    (a_segment_that_is_missing, oor.CorruptionError, OF_LOG[:-1], SALVAGE),
    (a_manifest_line_that_rotted, oor.CorruptionError, ("path", "offset"), RESTORE),
    (a_manifest_that_is_missing, oor.CorruptionError, WHERE, RESTORE),
    (a_current_that_rotted, oor.CorruptionError, ("path", "offset"), RESTORE),
    (a_current_that_is_missing, oor.CorruptionError, WHERE, RESTORE),
    (a_table_that_is_missing, oor.CorruptionError, ("path", "first_lsn", "last_lsn"), SALVAGE),
    (a_table_that_was_cut, oor.CorruptionError, WHERE, SALVAGE),
    (a_footer_that_rotted, oor.CorruptionError, ("path", "offset"), SALVAGE),
    (a_first_block_that_rotted, oor.CorruptionError, ("path", "offset"), SALVAGE),
    (a_backup_of_a_block_that_rotted, oor.CorruptionError, WHERE, SALVAGE),
    (a_manifest_of_a_later_format, oor.FormatError, WHERE, ()),
    (no_store_where_one_was_to_be, oor.StorageError, ("path", "errno"), ()),
    (a_write_to_a_reader, oor.ReadOnlyError, WHERE, ()),
    (a_store_that_is_open, oor.LockedError, WHERE, ()),
    (a_handle_that_was_closed, oor.ClosedError, WHERE, ()),
    (a_snapshot_of_a_closed_store, oor.ClosedError, WHERE, ()),
    (a_log_without_room, oor.DiskFullError, ("path", "errno"), ()),
    (a_log_over_its_quota, oor.DiskFullError, ("path", "errno"), ()),
    (a_table_without_room, oor.DiskFullError, ("path", "errno"), ()),
    (a_log_that_failed, oor.FailedError, ("path", "errno", "segment", "first_lsn", "last_lsn"), ()),
    (a_write_after_a_failure, oor.FailedError, ("path", "errno"), ()),
    (a_manifest_that_failed, oor.FailedError, ("path", "errno"), ()),
    (a_directory_that_failed, oor.StorageError, ("path", "errno"), ()),
    (a_read_of_a_log_that_failed, oor.StorageError, ("path", "errno"), ()),
    (a_read_of_a_table_that_failed, oor.StorageError, ("path", "errno"), ()),
    (a_key_that_is_too_long, oor.LimitError, (), ("65", "key")),
    (an_option_that_is_none, oor.LimitError, (), ("no_such_option", "durability")),
    (a_backup_over_something, oor.LimitError, WHERE, ()),
]


@pytest.mark.parametrize(
    ("provoke", "cls", "fields", "named"), TABLE, ids=lambda value: getattr(value, "__name__", None)
)
def test_an_error_says_where_it_was_and_what_to_do(tmp_path, provoke, cls, fields, named):
    path = str(tmp_path / "store")
    with pytest.raises(oor.OorError) as raised:
        provoke(path)
    error = raised.value
    assert type(error) is cls or (cls is oor.StorageError and isinstance(error, cls)), repr(error)
    missing = [name for name in fields if getattr(error, name) is None]
    assert not missing, f"{missing} of {error}"
    if error.path is not None:
        assert error.path.startswith(str(tmp_path))
    if error.first_lsn is not None and error.last_lsn is not None:
        assert error.first_lsn <= error.last_lsn
    for part in named:
        assert part in str(error), f"{part!r} is not in {error}"
    assert isinstance(error, OSError) == (error.errno is not None)
    shutil.rmtree(path, ignore_errors=True)


ELSEWHERE = {
    "OorError": "the root, and what no other class says",
    "CodecError": "tests/test_codec.py",
    "OutOfMemoryError": "tests/test_classes.py, where each allocation fails",
    "WouldStallError": "tests/test_pressure.py",
    "WaitTimeout": "tests/test_db.py",
    "CancelledError": "tests/test_compaction.py",
}


def test_every_class_of_error_is_provoked_here_or_where_it_says():
    own = {
        name
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, oor.OorError)
    }
    assert own == {cls.__name__ for _, cls, _, _ in TABLE} | set(ELSEWHERE)
    for name, place in ELSEWHERE.items():
        if place.startswith("tests/"):
            with open(os.path.join(os.path.dirname(__file__), "..", place.split(",")[0])) as file:
                assert name in file.read() or name == "OutOfMemoryError", f"{place}: {name}"
