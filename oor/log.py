"""The write-ahead log as the engine sees it: appends, syncs, segments.

The work is in csrc/wal*.c.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from oor import names
from oor.bulk import Bulk
from oor.native import TOMBSTONE, Buffer, Columns, check, ffi, lib, owned
from oor.options import Options


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of the log.

    `last_lsn` is 0 while it is the current one; `begun`: its header is durable.
    """

    number: int
    first_lsn: int
    last_lsn: int
    size: int
    begun: bool


@dataclass(frozen=True, slots=True)
class LogState:
    """Where the log is and what it has done; bytes and microseconds."""

    next_lsn: int
    durable_lsn: int
    segment: int
    segment_offset: int
    live_bytes: int
    segment_count: int
    appended_bytes: int
    written_bytes: int
    syncs: int
    frames: int
    rotations: int
    recycled: int
    stall_us: int
    segment_us: int
    bound_stalls: int
    window_us_max: int
    window_bytes_max: int
    window_lsns_max: int
    disk_bytes: int
    disk_bytes_max: int
    failed: int
    direct: int


class Log:
    """The log of one incarnation of a store.

    Threads: the caller appends under its commit lock; `sync`, `wait` and `state` need no lock.
    A sync in flight is shared by all who wait. A call after `close` raises ClosedError.
    """

    def __init__(
        self,
        directory: str,
        *,
        database_id: bytes,
        epoch: int,
        first_segment: int,
        first_lsn: int,
        next_lsn: int,
        room: int,
        options: Options,
    ) -> None:
        raw = ffi.new("oor_wal_options *")
        ffi.memmove(raw.database_id, database_id, 16)
        raw.epoch = epoch
        raw.first_segment = first_segment
        raw.first_lsn = first_lsn
        raw.next_lsn = next_lsn
        raw.segment_size = _whole_blocks(options.segment_bytes)
        raw.tail_size = min(
            _whole_blocks(options.tail_bytes), raw.segment_size - lib.OOR_SEGMENT_HEADER_SIZE
        )
        raw.flags = (
            (0 if options.direct_io else lib.OOR_WAL_BUFFERED)
            | (lib.OOR_WAL_BLOCK_PADDING if options.wal_block_padding else 0)
            | (0 if options.log_threads else lib.OOR_WAL_ALONE)
        )
        raw.sync_interval_us = (
            0 if options.durability == "os" else round(options.sync_interval * 1e6)
        )
        raw.spare_segments = options.spare_segments
        raw.commit_delay_us = round(options.commit_delay * 1e6)
        raw.max_unsynced_bytes = options.max_unsynced_bytes
        raw.max_unsynced_records = options.max_unsynced_records
        # Without background threads nobody would free what a writer waits for.
        raw.max_bytes = options.max_log_bytes if options.background else 0
        out = ffi.new("oor_wal **")
        check(lib.oor_wal_open(os.fsencode(directory), raw, room, out))
        self.raw: Any = owned(out[0], lib.oor_wal_free)

    def copy(self, scan: SegmentScan) -> None:
        """Bring the frames of the chunk that `scan` returned last into this log, with their
        LSNs.
        """
        check(lib.oor_wal_copy(self.raw, scan.raw))

    def finish_copy(self) -> None:
        """Make what was copied durable."""
        check(lib.oor_wal_finish_copy(self.raw))

    def start(self) -> None:
        """Open for appends. What the tail held before is gone after this."""
        check(lib.oor_wal_start(self.raw))

    def append(self, columns: Columns) -> int:
        """Log the pairs as one frame; returns the LSN of the first."""
        return check(lib.oor_wal_append(self.raw, *columns.arguments(), 0, 0))

    def put(self, key: bytes, value: bytes | None) -> int:
        """Log one mutation; returns its LSN."""
        if value is None:
            return check(lib.oor_wal_put(self.raw, key, len(key), b"", TOMBSTONE, 0))
        return check(lib.oor_wal_put(self.raw, key, len(key), value, len(value), 0))

    def sync(self, lsn: int, timeout: float | None = None) -> None:
        """Return when everything up to `lsn` is durable; WaitTimeout after `timeout` seconds."""
        check(lib.oor_wal_sync(self.raw, lsn, _microseconds(timeout)))

    def wait(self, lsn: int, timeout: float | None = None) -> None:
        """As `sync`, but leave the sync to whoever makes it next."""
        check(lib.oor_wal_wait(self.raw, lsn, _microseconds(timeout)))

    def ask(self) -> bool:
        """Ask the log's own thread for a sync of all that is logged, and return at once.

        False if all of it is durable already.
        """
        return check(lib.oor_wal_ask(self.raw)) == 0

    def notify(self, eventfd: int) -> None:
        """Count changes of what is durable, and failures, on an eventfd; -1 ends that."""
        lib.oor_wal_notify(self.raw, eventfd)

    def state(self) -> LogState:
        """A consistent picture of the log."""
        state = ffi.new("oor_wal_state *")
        lib.oor_wal_read_state(self.raw, state)
        return LogState(*(getattr(state, name) for name in LogState.__dataclass_fields__))

    def next_lsn(self) -> int:
        """The LSN that the next mutation gets."""
        return self.state().next_lsn

    def position(self) -> int:
        """How long the log would be if no segment was ever freed, padding counted; bytes."""
        return int(lib.oor_wal_position(self.raw))

    def durable_lsn(self) -> int:
        """Everything up to here is on stable storage."""
        return int(lib.oor_wal_durable(self.raw))

    def segments(self) -> list[Segment]:
        """Oldest first, the current one last."""
        room = 64
        while True:
            raw = ffi.new("oor_wal_segment[]", room)
            count = check(lib.oor_wal_segments(self.raw, raw, room))
            if count <= room:
                return [
                    Segment(s.number, s.first_lsn, s.last_lsn, s.size, bool(s.begun))
                    for s in raw[0:count]
                ]
            room = 2 * count

    def first_needed_segment(self, flushed_lsn: int) -> int:
        """The number of the oldest segment that redo needs when everything up to `flushed_lsn` is
        in tables.

        That is the first one that holds a higher LSN, or the last one that recovery could start
        from.
        """
        segments = [segment for segment in self.segments() if segment.begun]
        return next((s.number for s in segments if s.last_lsn > flushed_lsn), segments[-1].number)

    def rotate(self) -> int:
        """Go on to the next segment unless the current one is empty; returns its number."""
        return check(lib.oor_wal_rotate(self.raw))

    def release(self, flushed_lsn: int) -> int:
        """Free segments that hold nothing above `flushed_lsn`; returns how many.

        REQUIRES: a durable manifest names tables that hold everything up to `flushed_lsn`.
        """
        return check(lib.oor_wal_release(self.raw, flushed_lsn))

    def seal(self) -> None:
        """Sync, and put the promise behind the last frame."""
        check(lib.oor_wal_seal(self.raw))

    def close(self) -> None:
        """Stop the log's threads and close its files; later calls raise ClosedError.

        Does not sync.
        """
        lib.oor_wal_close(self.raw)


def _whole_blocks(size: int) -> int:
    block: int = lib.OOR_BLOCK
    return -(-size // block) * block


def _microseconds(timeout: float | None) -> int:
    return -1 if timeout is None else max(0, round(timeout * 1e6))


# ---- what earlier incarnations left --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """What one segment holds; see oor_segment_info in csrc/oor.h for each field."""

    number: int
    file_size: int
    epoch: int
    first_lsn: int
    previous_segment: int
    previous_last_lsn: int
    end: int
    frames: int
    records: int
    last_lsn: int
    next_lsn: int
    promised_lsn: int
    highest_lsn: int
    later_frames: int
    later_offset: int
    tail_frames: int
    lsn_bound: int
    header: int
    ended: int
    frames_found: int
    header_in_tail: int

    @property
    def begun(self) -> bool:
        """Whether its header verifies, here or in the tail."""
        return bool(self.header == lib.OOR_HEADER_GOOD)

    @property
    def header_text(self) -> str:
        """The state of its header in a word."""
        return ("good", "blank", "of another use", "damaged", "of an unknown format")[self.header]

    @property
    def ended_text(self) -> str:
        """How its frames end, in a few words."""
        return ("end of file", "zeros", "bytes that do not verify", "seal")[self.ended]


@dataclass(frozen=True, slots=True)
class Loss:
    """What salvage could not keep: bytes of a segment, or of the table at `path`.

    The LSNs are those that are missing (0: none known); of a table those that its lost entries are
    among.
    """

    segment: int
    offset: int
    first_lsn: int
    last_lsn: int
    what: str = "bytes that do not verify"
    path: str | None = None

    def __str__(self) -> str:
        where = self.path or f"{names.segment_name(self.segment)} at offset {self.offset:,}"
        lsns = f"LSN {self.first_lsn:,} to {self.last_lsn:,}" if self.first_lsn else "no known LSN"
        return f"{where}: {self.what}: {'some of ' if self.path else ''}{lsns}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some frames of a segment, as one dict of their mutations, later ones over earlier ones."""

    pairs: dict[bytes, bytes | None]
    frames: int
    records: int
    size: int
    first_lsn: int
    last_lsn: int
    loss: Loss | None


class Tail:
    """The shared tail that an incarnation left. An absent or foreign file is an empty tail."""

    def __init__(self, directory: str, database_id: bytes, epoch: int) -> None:
        out = ffi.new("oor_tail **")
        path = os.fsencode(os.path.join(directory, names.TAIL))
        check(lib.oor_tail_read(path, database_id, epoch, out))
        self.raw = owned(out[0], lib.oor_tail_free)


def inspect_segment(
    directory: str, number: int, database_id: bytes, epoch: int, tail: Tail
) -> SegmentInfo:
    """Read one segment whole, verifying every frame. StorageError if it cannot be read."""
    info = ffi.new("oor_segment_info *")
    path = os.fsencode(os.path.join(directory, names.segment_name(number)))
    check(lib.oor_walscan_inspect(path, database_id, number, epoch, tail.raw, info))
    return _info(info)


def _info(raw: Any) -> SegmentInfo:
    return SegmentInfo(*(getattr(raw, name) for name in SegmentInfo.__dataclass_fields__))


class SegmentScan:
    """Reads the mutations of one segment above `after_lsn`, in LSN order, chunk by chunk."""

    def __init__(
        self,
        directory: str,
        number: int,
        database_id: bytes,
        epoch: int,
        tail: Tail,
        after_lsn: int,
        *,
        salvage: bool = False,
    ) -> None:
        self._read(directory, number, database_id, epoch, tail, ffi.NULL)
        self.start(after_lsn, salvage=salvage)

    @classmethod
    def inspected(
        cls, directory: str, number: int, database_id: bytes, epoch: int, tail: Tail
    ) -> tuple[SegmentInfo, SegmentScan]:
        """What `inspect_segment` says, and a scan of the same bytes, not started yet."""
        info = ffi.new("oor_segment_info *")
        scan = cls.__new__(cls)
        scan._read(directory, number, database_id, epoch, tail, info)
        return _info(info), scan

    def _read(
        self, directory: str, number: int, database_id: bytes, epoch: int, tail: Tail, info: Any
    ) -> None:
        out = ffi.new("oor_walscan **")
        path = os.fsencode(os.path.join(directory, names.segment_name(number)))
        check(lib.oor_walscan_read(path, database_id, number, epoch, tail.raw, info, out))
        self.raw = owned(out[0], lib.oor_walscan_close)
        self._tail = tail
        self._number = number
        self._buffer = Buffer()
        self._chunk = ffi.new("oor_walscan_chunk *")

    def start(self, after_lsn: int, *, salvage: bool = False) -> None:
        """Begin at the first mutation above `after_lsn`; CorruptionError without a header."""
        check(lib.oor_walscan_start(self.raw, after_lsn, salvage))

    def next(self, size: int = 1 << 20) -> Chunk | None:
        """About `size` bytes of frames, or None at the end."""
        if not check(lib.oor_walscan_next(self.raw, size, self._buffer.raw, self._chunk)):
            return None
        return self._told(self._buffer.load())

    def load(self, bulk: Bulk, size: int = 1 << 20) -> Chunk | None:
        """As `next`, with the mutations in `bulk`, to which it adds them."""
        if not check(lib.oor_walscan_load(self.raw, size, bulk.raw, self._chunk)):
            return None
        return self._told({})

    def _told(self, pairs: dict[bytes, bytes | None]) -> Chunk:
        chunk = self._chunk
        loss = None
        if chunk.lost_offset:
            loss = Loss(self._number, chunk.lost_offset, chunk.lost_first_lsn, chunk.lost_last_lsn)
        return Chunk(
            pairs, chunk.frames, chunk.records, chunk.bytes, chunk.first_lsn, chunk.last_lsn, loss
        )

    def close(self) -> None:
        """Free the memory of the scan."""
        ffi.release(self.raw)
