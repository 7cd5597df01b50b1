"""What went through the door to the disk, as events, and faults on demand.

One recording at a time in a process. It costs a lock and a copy an operation: for tests, for the
demonstration's proofs, and for the crash explorer.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from oor.native import Buffer, check, ffi, lib


class Op(IntEnum):
    """The operations of csrc/oor.h, by number."""

    OPEN = 1
    CLOSE = 2
    READ = 3
    WRITE = 4
    SYNC = 5
    TRUNCATE = 6
    ALLOCATE = 7
    RENAME = 8
    LINK = 9
    UNLINK = 10
    MAKE_DIR = 11
    SYNC_DIR = 12
    LOCK = 13
    LIST = 14
    SIZE = 15
    MAP = 16
    STORE = 17
    EXISTS = 18
    MARK = 19
    PROMISE = 20


class How(IntEnum):
    """The kinds of fault: see oor_fault_how in csrc/oor.h."""

    BEFORE = 0
    AFTER = 1
    PARTIAL = 2
    TORN = 3
    SWALLOWED = 4
    LATE = 5
    INTERRUPTED = 6


ANY_OP = sum(1 << op for op in Op)
MUTATING = (
    Op.OPEN, Op.WRITE, Op.SYNC, Op.TRUNCATE, Op.ALLOCATE,
    Op.RENAME, Op.LINK, Op.UNLINK, Op.MAKE_DIR, Op.SYNC_DIR,
)  # fmt: skip

_EVENT = struct.Struct("<Ii4IQ7Qq")
_OPS = {int(op): op for op in Op}


@dataclass(slots=True)
class Event:
    """One operation. The fields are explained by the grammar at the top of csrc/io_trace.c."""

    op: Op
    fd: int
    flags: int
    begin: int
    end: int
    thread: int
    object: int
    offset: int
    length: int
    effect: int
    result: int
    path: str
    other: str
    payload: bytes

    @property
    def text(self) -> str:
        """What a mark says."""
        return self.payload.decode()


def parse_events(data: bytes) -> list[Event]:
    """Read a stream of events; the grammar is at the top of csrc/io_trace.c."""
    events = []
    at = 0
    while at < len(data):
        (op, fd, flags, path_size, other_size, _, payload_size, begin, end, thread, object_, offset,
         length, effect, result) = _EVENT.unpack_from(data, at)  # fmt: skip
        at += _EVENT.size
        path = os.fsdecode(data[at : at + path_size])
        at += path_size
        other = os.fsdecode(data[at : at + other_size])
        at += other_size
        payload = data[at : at + payload_size]
        at += payload_size
        events.append(
            Event(_OPS[op], fd, flags, begin, end, thread, object_, offset, length, effect, result,
                  path, other, payload)
        )  # fmt: skip
    return events


class Trace:
    """Records every operation of the door between `with` and its end; one at a time in a process.

    Files opened and maps made before the `with` are known by the kernel's name for them, and by
    nothing, respectively: a map whose stores are to be seen is made inside.
    """

    def __init__(self, *, payloads: bool = True, order: bool = False) -> None:
        """With `order` only what rules about the order of operations need is kept (csrc/oor.h)."""
        self._flags = lib.OOR_TRACE_ORDER if order else lib.OOR_TRACE_PAYLOADS if payloads else 0
        self._buffer = Buffer()
        self._events: list[Event] = []

    def __enter__(self) -> Self:
        check(lib.oor_trace_install(self._flags))
        return self

    def __exit__(self, *_: object) -> None:
        self.take()
        lib.oor_trace_remove()

    @property
    def has_payloads(self) -> bool:
        """Whether the events hold the bytes that were written."""
        return bool(self._flags == lib.OOR_TRACE_PAYLOADS)

    def mark(self, text: str) -> None:
        """Put a note between the operations."""
        check(lib.oor_trace_mark(text.encode()))

    def take(self) -> list[Event]:
        """All events up to now, from the beginning."""
        check(lib.oor_trace_take(self._buffer.raw))
        self._events += parse_events(self._buffer.bytes())
        return self._events

    @property
    def events(self) -> list[Event]:
        """The events taken so far; all of them once the `with` has ended."""
        return self._events

    def fail(
        self,
        ops: Op | Iterable[Op] = MUTATING,
        *,
        nth: int = 1,
        path_part: str = "",
        errno: int = 0,
        how: How = How.BEFORE,
        amount: int = 0,
        forever: bool = False,
    ) -> None:
        """Let the nth operation from now on, of these and with this path, meet a fault."""
        mask = 1 << ops if isinstance(ops, Op) else sum(1 << op for op in ops)
        part = os.fsencode(path_part) if path_part else ffi.NULL
        check(lib.oor_trace_fault(nth, mask, part, errno, how, amount, forever))

    def heal(self) -> None:
        """Take the fault away."""
        check(lib.oor_trace_fault(0, 0, ffi.NULL, 0, 0, 0, 0))

    @property
    def is_cut_off(self) -> bool:
        """Whether an order recording has left something out: more than 48 MiB were not taken."""
        return bool(lib.oor_trace_is_cut_off())

    @property
    def faults_met(self) -> int:
        """How many operations have met the last fault."""
        return int(lib.oor_trace_faults_met())
