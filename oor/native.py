"""The border to the C half: the only module that imports the compiled one.

It turns negative codes into exceptions, owns the handles that C gives out, and offers the door to
the disk (csrc/io.c) to the few Python rooms that need files of their own. A call costs 50 to 100 ns
and drops the interpreter lock; a `bytes` argument adds 120 ns, so bulk work crosses once with
columns.
"""

from __future__ import annotations

import marshal
import os
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from oor import _native
from oor._native import ffi, lib
from oor.errors import (
    CancelledError,
    ClosedError,
    CodecError,
    CorruptionError,
    DiskFullError,
    FailedError,
    FormatError,
    LimitError,
    OorError,
    OutOfMemoryError,
    StorageError,
    WaitTimeout,
    WouldStallError,
)

__all__ = [
    "Batch", "Buffer", "Columns", "Ops", "check", "dumps", "ffi", "get_of", "lib", "loads",
    "owned", "pack", "puts_of", "reads_of",
]  # fmt: skip

TOMBSTONE: int = 0xFFFFFFFF
"""As a value size: this mutation deletes (OOR_TOMBSTONE)."""

_BY_CODE: dict[int, type[OorError]] = {
    lib.OOR_E_IO: StorageError,
    lib.OOR_E_FULL: DiskFullError,
    lib.OOR_E_CORRUPT: CorruptionError,
    lib.OOR_E_FORMAT: FormatError,
    lib.OOR_E_LIMIT: LimitError,
    lib.OOR_E_MEMORY: OutOfMemoryError,
    lib.OOR_E_FAILED: FailedError,
    lib.OOR_E_TIMEOUT: WaitTimeout,
    lib.OOR_E_CANCELLED: CancelledError,
    lib.OOR_E_CLOSED: ClosedError,
    lib.OOR_E_STALL: WouldStallError,
    lib.OOR_E_CODEC: CodecError,
}

loads = marshal.loads
"""Reads what csrc/marshal.h wrote; what lies behind it in the buffer does not matter.

Never given bytes that a disk or a user supplied as they stand.
"""


def dumps(items: list[Any]) -> bytes:
    """A list of bytes for csrc/marshal.h to read, which tells other items. 50 ns an item.

    What has a buffer is written as bytes. ValueError if an item cannot be marshalled at all.
    """
    return marshal.dumps(items, 2)


# The format is Python's own and not promised to anyone: a Python with another one is told.
if (
    loads(b"[\3\0\0\0s\1\0\0\0aN)\2s\1\0\0\0bs\0\0\0\0-") != [b"a", None, (b"b", b"")]
    or loads(b"{s\1\0\0\0aN0") != {b"a": None}
    or dumps([b"a", b"", b"a"]) != b"[\3\0\0\0s\1\0\0\0as\0\0\0\0s\1\0\0\0a"
):
    raise ImportError("oor does not know how this Python reads and writes marshalled objects")


def _error(code: int) -> OorError | AssertionError:
    found = lib.oor_last_error()
    what = ffi.string(found.what).decode("utf-8", "replace")
    if code == lib.OOR_E_BROKEN:
        return AssertionError(what)
    cls = _BY_CODE[code]
    errno = found.sys_errno or None
    if errno is not None:
        what = f"{what}: {os.strerror(errno)}"
    path = ffi.string(found.path).decode("utf-8", "surrogateescape")
    return cls(
        what,
        path=path or None,
        segment=found.segment or None,
        offset=found.offset if found.placed else None,
        first_lsn=found.first_lsn or None,
        last_lsn=found.last_lsn or None,
        errno=errno,
    )


def check(code: int) -> int:
    """Return `code` if it is an answer (>= 0), else raise what this thread's last error says."""
    if code < 0:
        raise _error(code)
    return code


_module: Any = _native
if lib.oor_python_install() < 0:
    raise ImportError("oor cannot add to its compiled module")


Lookup = Callable[[bytes], bytes | None]
RangeScan = Callable[[bytes | None, bytes | None, int, int, int], list[Any]]


def reads_of(version: Any) -> tuple[Lookup, RangeScan]:
    """Two functions that read a C version, which they hold.

    lookup(key) gives the value or None. scan(low, high, flags, limit, group) gives the first pairs
    with low <= key < high, as oor_version_scan does. CorruptionError, StorageError, LimitError;
    TypeError for what is not exactly bytes.
    """
    address = int(ffi.cast("uintptr_t", version))
    found: tuple[Lookup, RangeScan] = _module.reads_of(address, check)
    return found


Put: TypeAlias = Callable[[Any, Any, Any], Any]


def puts_of(
    log: Any, absent: object, waiting: dict[int, Any], memtable_bytes: int, entry_size: int
) -> tuple[Put, Put]:
    """Two functions (state, key, value) that put where nothing is out of the ordinary, see oor.put.

    They hold `log`, the C object. `absent`: what views are told that a new key held; `waiting`:
    what is logged and not shown, by token; `entry_size`: what a pair takes in a memtable besides
    key and value. Both return the LSN, or 0: take the long way. The second one waits for the
    device, and returns (answer of oor_wal_commit, token) where something is left to do; token 0:
    to look whether the memtable is full.
    """
    puts: tuple[Put, Put] = _module.puts_of(
        int(ffi.cast("uintptr_t", log)), log, absent, waiting, memtable_bytes, entry_size
    )
    return puts


pack: Callable[[dict[Any, Any]], bytes | None] = _module.pack
"""A batch as the operations of a frame, in the order of the dict, whose values None delete; None
where one of them is no bytes or over its limit, or where they are too many for one go. About 20 ns
a pair."""


def get_of(bulk: Any, single: dict[bytes, Any]) -> Callable[..., Any]:
    """`get(key, default=None)` of a dict over columns, both of which it holds: None where the key
    is deleted. TypeError for what is no bytes. About 100 ns.
    """
    get: Callable[..., Any] = _module.get_of(int(ffi.cast("uintptr_t", bulk)), bulk, single)
    return get


def owned(pointer: Any, free: Any, size: int = 0) -> Any:
    """Tie a new C object to its destructor; the collector is the backstop of an explicit close."""
    if pointer == ffi.NULL:
        failed = lib.oor_last_error().code
        raise _error(failed) if failed else OutOfMemoryError("an allocation failed")
    return ffi.gc(pointer, free, size)


def trim() -> None:
    """Give back to the system what malloc keeps of memory that was freed. A few ms, in C.

    A flush and a compaction leave holes of many MiB between what lives on.
    """
    lib.oor_memory_trim()


class Buffer:
    """Memory that C fills and Python reads; reused from call to call by one thread at a time."""

    __slots__ = ("capacity", "raw", "room")

    def __init__(self) -> None:
        self.raw = owned(lib.oor_buffer_new(), lib.oor_buffer_free)
        self.capacity = 0
        self.room: Any = None
        """All of the memory, as it was at the last `moved`."""

    def moved(self) -> None:
        """Look where the memory is now and how much: C says when it has grown."""
        self.capacity = self.raw.capacity
        self.room = ffi.buffer(self.raw.data, self.capacity)

    def view(self) -> Any:
        """The bytes as a buffer object, valid until the next call that fills this one."""
        return ffi.buffer(self.raw.data, self.raw.size)

    def bytes(self) -> bytes:
        """A copy of the bytes."""
        return bytes(self.view()) if self.raw.size else b""

    def load(self) -> Any:
        """The Python object that C wrote here."""
        return loads(self.view())


JOIN_BYTES = 1 << 20
"""About what is joined in one go: a join holds the interpreter lock, 50 to 500 us a MiB."""
SLICE_COUNT = 4096
_NULL: Any = ffi.NULL
APART_BYTES, APART_COUNT = 4096, 1024
"""Values this long, and no more of them, are not joined for the log: a pointer to each costs less
than one more copy."""


class Ops:
    """A batch as the operations of a frame, as `pack` makes them."""

    __slots__ = ("count", "ops", "payload")
    flags: int = lib.OOR_APPEND_OPS
    """Of an append to the log."""

    def __init__(self, count: int, ops: bytes) -> None:
        self.count = count
        self.ops = ops
        self.payload = len(ops) - count * lib.OOR_OP_HEADER_SIZE
        """Bytes of keys and values."""

    def arguments(self) -> tuple[Any, ...]:
        """As those of `Columns`, for an append with its flags."""
        return self.count, self.ops, len(self.ops), _NULL, _NULL, 0, _NULL


class Columns:
    """Pairs laid out for one crossing: joined keys and values, and an array of sizes for each.

    Large ones are joined in pieces, which C puts together, so that other threads get their turn.
    """

    __slots__ = (
        "count", "flags", "key_sizes", "keys", "keys_size", "value_sizes", "values", "values_size",
    )  # fmt: skip

    def __init__(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        self.count = len(keys)
        self.flags = 0
        """Of an append to the log."""
        if _is_large(keys) or _is_large(values):
            self.keys, self.keys_size, self.key_sizes = _join_in_pieces(keys)
            self.values, self.values_size, self.value_sizes = _join_in_pieces(values)
            return
        self.keys = b"".join(keys)
        self.keys_size = len(self.keys)
        self.key_sizes = sizes(keys)
        self.values, self.value_sizes = _join(values)
        self.values_size = len(self.values)

    @classmethod
    def for_log(cls, keys: Sequence[bytes], values: Sequence[bytes | None]) -> Columns:
        """Columns for an append to the log: long values stay where they are."""
        count = len(keys)
        longest = max(len(values[n] or b"") for n in (0, count // 2, count - 1))
        if longest < APART_BYTES or count > APART_COUNT or _is_large(keys):
            return cls(keys, values)
        self = cls.__new__(cls)
        self.count = count
        self.keys = b"".join(keys)
        self.keys_size = len(self.keys)
        self.key_sizes = sizes(keys)
        found = [TOMBSTONE if value is None else len(value) for value in values]
        self.value_sizes = array("I", found)
        self.values_size = sum(found) - TOMBSTONE * found.count(TOMBSTONE)
        apart = ffi.new(
            "uint8_t *[]",
            [ffi.NULL if v is None else ffi.from_buffer("uint8_t[]", v) for v in values],
        )
        # Arguments of a call outlive their Columns: what they point to lives as long as they do.
        self.values = ffi.gc(ffi.cast("uint8_t *", apart), lambda _, owners=(apart, values): None)
        self.flags = lib.OOR_APPEND_APART
        return self

    @property
    def payload(self) -> int:
        """Bytes of keys and values."""
        return self.keys_size + self.values_size

    def arguments(self) -> tuple[Any, ...]:
        """(count, keys, keys_size, key_sizes, values, values_size, value_sizes), as C takes
        them.
        """
        return (
            self.count,
            self.keys,
            self.keys_size,
            ffi.from_buffer("uint32_t[]", self.key_sizes),
            self.values,
            self.values_size,
            ffi.from_buffer("uint32_t[]", self.value_sizes),
        )


Batch: TypeAlias = Ops | Columns


def _is_large(items: Sequence[bytes | None]) -> bool:
    """Whether a join of them would take long, as far as some of them tell."""
    count = len(items)
    if count == 0:
        return False
    longest = max(len(items[n] or b"") for n in (0, count // 2, count - 1))
    return count > 4 * SLICE_COUNT or count * longest > JOIN_BYTES


def _join(items: Sequence[bytes | None]) -> tuple[bytes, array[int]]:
    try:
        return b"".join(items), sizes(items)  # type: ignore[arg-type]
    except TypeError:
        joined = b"".join([item for item in items if item is not None])
        return joined, array("I", [TOMBSTONE if item is None else len(item) for item in items])


def _join_in_pieces(items: Sequence[bytes | None]) -> tuple[Any, int, array[int]]:
    """A pointer that owns the joined items, their length together, and their sizes."""
    out = Buffer()
    found = array("I")
    longest = max(1, *(len(items[n] or b"") for n in (0, len(items) // 2, len(items) - 1)))
    step = max(1, min(SLICE_COUNT, JOIN_BYTES // longest))
    for start in range(0, len(items), step):
        piece, some = _join(items[start : start + step])
        check(lib.oor_buffer_add(out.raw, piece, len(piece)))
        found.extend(some)
    # Arguments of a call outlive their Columns: the buffer lives as long as the pointer does.
    return ffi.gc(out.raw.data, lambda _, owner=out: None), out.raw.size, found


def sizes(items: Iterable[bytes]) -> array[int]:
    """The lengths of `items` as an array of u32."""
    return array("I", list(map(len, items)))


# ---- the door to the disk ---------------------------------------------------------------------

READ: int = lib.OOR_OPEN_READ
WRITE: int = lib.OOR_OPEN_WRITE
CREATE: int = lib.OOR_OPEN_CREATE
EXCLUSIVE: int = lib.OOR_OPEN_EXCLUSIVE
TRUNCATE: int = lib.OOR_OPEN_TRUNCATE


class File:
    """One open file behind the door. Errors carry its path. Not for two threads at once."""

    __slots__ = ("_fd", "_raw_path", "path")

    def __init__(self, path: str, flags: int) -> None:
        self.path = path
        self._raw_path = os.fsencode(path)
        self._fd = check(lib.oor_io_open(self._raw_path, flags))

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fd(self) -> int:
        """The descriptor; -1 once closed."""
        return self._fd

    def size(self) -> int:
        """Length in bytes."""
        return check(lib.oor_io_size(self._fd, self._raw_path))

    def read(self, size: int, offset: int = 0) -> bytes:
        """Up to `size` bytes at `offset`; fewer only at the end of the file."""
        data = ffi.new("uint8_t[]", max(size, 1))
        got = check(lib.oor_io_read(self._fd, self._raw_path, data, size, offset))
        return bytes(ffi.buffer(data, got))

    def write(self, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`, or raise."""
        check(lib.oor_io_write(self._fd, self._raw_path, data, len(data), offset))

    def sync(self) -> None:
        """Return when what was written is on stable storage. A failure is final: never retry."""
        check(lib.oor_io_sync(self._fd, self._raw_path))

    def truncate(self, size: int) -> None:
        """Set the length."""
        check(lib.oor_io_truncate(self._fd, self._raw_path, size))

    def lock(self) -> bool:
        """Take the exclusive advisory lock; False if somebody else has it."""
        return bool(check(lib.oor_io_lock(self._fd, self._raw_path)))

    def close(self) -> None:
        """Close; an error of the close is raised, since it can be the report of a lost write."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            check(lib.oor_io_close(fd, self._raw_path))


def read_file(path: str) -> bytes:
    """The whole content of a small file (manifest, CURRENT, LOCK)."""
    with File(path, READ) as file:
        return file.read(file.size())


def rename(source: str, target: str) -> None:
    """Rename; durable only after `sync_dir` of the directory."""
    check(lib.oor_io_rename(os.fsencode(source), os.fsencode(target)))


def link(source: str, target: str) -> None:
    """Give a file a second name; durable only after `sync_dir`."""
    check(lib.oor_io_link(os.fsencode(source), os.fsencode(target)))


def unlink(path: str) -> None:
    """Remove a name; durable only after `sync_dir`."""
    check(lib.oor_io_unlink(os.fsencode(path)))


def make_dir(path: str) -> None:
    """Make a directory; its name is durable only after `sync_dir` of the parent."""
    check(lib.oor_io_make_dir(os.fsencode(path)))


def sync_dir(path: str) -> None:
    """Make the names in a directory durable."""
    check(lib.oor_io_sync_dir(os.fsencode(path)))


def exists(path: str) -> bool:
    """Whether there is something of that name."""
    return bool(check(lib.oor_io_exists(os.fsencode(path))))


_listing = threading.local()


def list_dir(path: str) -> list[str]:
    """The names in a directory, sorted."""
    buffer = getattr(_listing, "buffer", None)
    if buffer is None:
        buffer = _listing.buffer = Buffer()
    check(lib.oor_io_list(os.fsencode(path), buffer.raw))
    return sorted(os.fsdecode(name) for name in buffer.bytes().split(b"\0") if name)


def replace_atomic(path: str, data: bytes) -> None:
    """Put `data` under `path` so that a crash shows the old content or the new, whole.

    Write `path`.tmp, sync, rename, sync the directory.
    """
    temporary = path + ".tmp"
    with File(temporary, WRITE | CREATE | TRUNCATE) as file:
        file.write(data, 0)
        file.sync()
    rename(temporary, path)
    sync_dir(os.path.dirname(path))
