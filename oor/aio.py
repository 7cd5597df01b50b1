"""The asyncio face of a store: thousands of tasks share one sync, and none of them holds up the
loop.

The writes of one turn of the loop are logged together at its end, as one frame: a copy into mapped
memory. Their tasks sleep until the log's own thread has made the frame durable. That thread counts
on an eventfd which the loop watches: one wake-up for each sync, whatever number of tasks it serves,
and no other thread of Python takes part.

    async with oor.aio.open("catalog.oor") as db:
        lsn = await db.put(b"25544", b"ISS")
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import heapq
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import Any, Final, TypeVar

from oor import db as store
from oor.batch import (
    KEY_SIZE_MAX,
    VALUE_SIZE_MAX,
    BytesLike,
    Pairs,
    as_bytes,
    batch_of_lists,
    check_sizes,
    split,
)
from oor.checkpoint import Checkpoint
from oor.errors import ClosedError, FailedError, OorError, WaitTimeout, WouldStallError
from oor.options import Durability, Options, durability_of
from oor.stats import Stats

T = TypeVar("T")

INLINE_BYTES: Final = 256 << 10
"""A group up to this size is logged on the loop, in some 100 us at the most; a larger one by a
thread."""
GROUP_BYTES: Final = 4 << 20
"""A group of at least this size takes no more writes."""
SCAN_PAIRS: Final = 512
"""Pairs that a scan reads ahead in a thread."""
GET_MANY_INLINE: Final = 16
"""Keys that `get_many` looks up on the loop."""


class _Group:
    """Mutations that will be one frame, and who waits for which of them."""

    __slots__ = ("keys", "mode", "size", "values", "waiters")

    def __init__(self, mode: Durability) -> None:
        self.mode = mode
        self.keys: list[bytes] = []
        self.values: list[bytes | None] = []
        self.waiters: list[tuple[asyncio.Future[int], int]] = []
        """A future and how many mutations stand up to the last one of its own."""
        self.size = 0

    def resolve(self, last_lsn: int) -> None:
        """Tell everybody the LSN of his last mutation."""
        before = last_lsn - len(self.keys)
        for future, position in self.waiters:
            if not future.done():
                future.set_result(before + position)

    def fail(self, error: BaseException) -> None:
        """Tell everybody what went wrong, each with an exception of his own."""
        for future, _ in self.waiters:
            if not future.done():
                future.set_exception(copy.copy(error))


def open(path: str | os.PathLike[str], **options: Any) -> AsyncDB:
    """A store to be opened by `async with` or `await`, with the options and errors of `oor.open`.

    Opening recovers in a thread; the loop goes on meanwhile.

        >>> import asyncio, tempfile, oor.aio
        >>> async def main():
        ...     async with oor.aio.open(tempfile.mkdtemp() + "/catalog.oor") as db:
        ...         lsn = await db.put(b"25544", b"ISS (ZARYA)", durability="sync")
        ...         return lsn, await db.get(b"25544")
        >>> asyncio.run(main())
        (1, b'ISS (ZARYA)')
    """
    Options.of(**options)
    return AsyncDB(os.fspath(path), options)


class AsyncDB:
    """An open store for the tasks of one event loop. Modes and promises are those of `oor.DB`.

    A write is under way once its coroutine has begun to run: cancelling the task ends the waiting,
    never the write. Writes that begin in one turn of the loop are one frame, so a crash keeps all
    or none of them.

    What holds up the loop, and for how long: logging a group, 1 us a write and at most some 100 us;
    `get`, a lookup, plus one read of the device for each level if the block is not in memory;
    threads that write through `db` at the same time, at most a millisecond. All else, and a group
    that would have to wait for the log, a flush or a compaction, is done by threads; groups behind
    such a one wait for it.
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self.path = path
        self._options = options
        self._db: store.DB | None = None
        self._loop: asyncio.AbstractEventLoop
        self._mode = Durability.SYNC
        self._groups: deque[_Group] = deque()
        self._turn_asked = False
        self._logging = False
        self._idle: list[asyncio.Future[None]] = []
        self._sleepers: list[tuple[int, int, Callable[[BaseException | None], None]]] = []
        self._tickets = count()
        self._event_fd = -1
        self._log_thread: ThreadPoolExecutor
        self._threads: ThreadPoolExecutor

    # ---- opening and closing ---------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, AsyncDB]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncDB:
        return await self._open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _open(self) -> AsyncDB:
        if self._db is not None:
            return self
        self._loop = asyncio.get_running_loop()
        self._log_thread = ThreadPoolExecutor(1, "oor-aio-log")
        self._threads = ThreadPoolExecutor(4, "oor-aio")
        try:
            opened = await self._in_thread(store.open, self.path, **self._options)
        except BaseException:
            self._log_thread.shutdown(wait=False)
            self._threads.shutdown(wait=False)
            raise
        self._db = opened
        self._mode = opened.options.durability
        self._commit = opened._commit
        self._log = opened._state.log
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._log.notify(self._event_fd)
        self._loop.add_reader(self._event_fd, self._on_change)
        return self

    async def close(self) -> None:
        """Log and sync what is under way, flush, seal, let go. More than once is fine."""
        opened = self._db
        if opened is None or self._event_fd < 0:
            return
        # Those who wait are told of a failure, and close says it again if it still matters.
        with contextlib.suppress(OorError):
            await self.sync()
        fd, self._event_fd = self._event_fd, -1
        self._loop.remove_reader(fd)
        self._log.notify(-1)
        os.close(fd)
        try:
            await self._in_thread(opened.close)
        finally:
            self._fail_sleepers(ClosedError("the store is closed", path=self.path))
            self._log_thread.shutdown(wait=False)
            self._threads.shutdown(wait=False)

    @property
    def db(self) -> store.DB:
        """The store itself, for threads and for what has no coroutine here. ClosedError before it
        is open."""
        if self._db is None:
            raise ClosedError(
                "the store is not open yet: await it, or use async with", path=self.path
            )
        return self._db

    # ---- writes ----------------------------------------------------------------------------------

    async def put(self, key: BytesLike, value: BytesLike, *, durability: str | None = None) -> int:
        """Set `key` to `value` and return the LSN. As `DB.put`, but it waits without a thread."""
        if type(key) is not bytes:
            key = as_bytes(key)
        if type(value) is not bytes:
            value = as_bytes(value)
        size = len(key) + len(value)
        if size > KEY_SIZE_MAX:
            check_sizes(len(key), len(value))
        group = self._group(self._mode if durability is None else durability_of(durability))
        group.keys.append(key)
        group.values.append(value)
        group.size += size
        return await self._waiter(group)

    async def delete(self, key: BytesLike, *, durability: str | None = None) -> int:
        """Remove `key`, which need not be there, and return the LSN."""
        return await self.write([(key, None)], durability=durability)

    async def write(self, batch: Pairs, *, durability: str | None = None) -> int:
        """Commit a mapping, pairs or a WriteBatch, all or none, and return the LSN of its last
        mutation."""
        keys, values, _ = split(batch)
        if not keys:
            return self.db.write(())
        value_sizes = [len(value) for value in values if value is not None]
        key_size, value_size = max(map(len, keys)), max(value_sizes, default=0)
        if key_size > KEY_SIZE_MAX or value_size > VALUE_SIZE_MAX:
            check_sizes(key_size, value_size)
        group = self._group(self._mode if durability is None else durability_of(durability))
        group.keys += keys
        group.values += values
        group.size += sum(map(len, keys)) + sum(value_sizes)
        return await self._waiter(group)

    def _group(self, mode: Durability) -> _Group:
        """The group that takes the next write of this mode."""
        groups = self._groups
        if groups:
            last = groups[-1]
            # The first one is being logged while `_logging`.
            if (
                last.mode is mode
                and last.size < GROUP_BYTES
                and not (self._logging and len(groups) == 1)
            ):
                return last
        if self._event_fd < 0:
            raise ClosedError("the store is closed", path=self.path)
        group = _Group(mode)
        groups.append(group)
        if not self._turn_asked and not self._logging:
            self._turn_asked = True
            self._loop.call_soon(self._turn)
        return group

    def _waiter(self, group: _Group) -> asyncio.Future[int]:
        future: asyncio.Future[int] = self._loop.create_future()
        group.waiters.append((future, len(group.keys)))
        return future

    def _turn(self) -> None:
        """The end of a turn of the loop: log its groups, oldest first."""
        self._turn_asked = False
        while self._groups and not self._logging:
            group = self._groups[0]
            if group.size <= INLINE_BYTES:
                try:
                    self._logged(group, self._append(group, wait=False))
                    continue
                except WouldStallError:
                    pass
                except Exception as error:
                    self._groups.popleft()
                    group.fail(error)
                    continue
            self._logging = True
            appended = self._loop.run_in_executor(self._log_thread, self._append, group, True)
            appended.add_done_callback(functools.partial(self._appended, group))
        if not self._groups:
            idle, self._idle = self._idle, []
            for future in idle:
                if not future.done():
                    future.set_result(None)

    def _append(self, group: _Group, wait: bool) -> tuple[int, Durability]:
        keys, values = group.keys, group.values
        if not keys:
            return self._commit.last_lsn, Durability.SYNC
        return self._commit.log(*batch_of_lists(keys, values), group.mode, wait)

    def _appended(self, group: _Group, appended: asyncio.Future[tuple[int, Durability]]) -> None:
        self._logging = False
        error = appended.exception()
        if error is None:
            self._logged(group, appended.result())
        else:
            self._groups.popleft()
            group.fail(error)
        self._turn()

    def _logged(self, group: _Group, answer: tuple[int, Durability]) -> None:
        last_lsn, mode = answer
        self._groups.popleft()
        if mode is not Durability.SYNC:
            group.resolve(last_lsn)
            return
        self._sleep_until(
            last_lsn, lambda error: group.fail(error) if error else group.resolve(last_lsn)
        )
        try:
            if not self._log.ask():
                self._loop.call_soon(self._wake)
        except OorError:
            self._loop.call_soon(self._wake)

    # ---- waiting for what is durable -------------------------------------------------------------

    def _sleep_until(self, lsn: int, told: Callable[[BaseException | None], None]) -> None:
        heapq.heappush(self._sleepers, (lsn, next(self._tickets), told))

    def _on_change(self) -> None:
        try:
            os.eventfd_read(self._event_fd)
        except BlockingIOError:
            return
        self._wake()

    def _wake(self) -> None:
        """Wake all whose LSN has become durable; with the failure, if there is one, all others
        too."""
        sleepers = self._sleepers
        if not sleepers or self._event_fd < 0:
            return
        try:
            durable = self._log.durable_lsn()
            if sleepers[0][0] <= durable:
                self._commit.publish(wait=False)
        except WouldStallError:
            published = self._loop.run_in_executor(self._threads, self._commit.publish)
            published.add_done_callback(lambda _: self._wake())
            return
        while sleepers and sleepers[0][0] <= durable:
            heapq.heappop(sleepers)[2](None)
        if sleepers:
            try:
                self._log.wait(sleepers[0][0], 0)
            except WaitTimeout:
                return
            except OorError as error:
                if isinstance(error, FailedError):
                    self._commit.fail(error)
                self._fail_sleepers(error)

    def _fail_sleepers(self, error: BaseException) -> None:
        sleepers, self._sleepers = self._sleepers, []
        for _, _, told in sleepers:
            told(error)

    async def durable(self, lsn: int) -> None:
        """Return when everything up to `lsn` is durable. It waits for a sync and starts none.

        FailedError if it can no longer happen; DiskFullError if the sync found no room.
        """
        opened = self.db
        try:
            self._log.wait(lsn, 0)
            return
        except WaitTimeout:
            pass
        future: asyncio.Future[None] = self._loop.create_future()

        def told(error: BaseException | None) -> None:
            if not future.done():
                future.set_exception(copy.copy(error)) if error else future.set_result(None)

        self._sleep_until(min(lsn, opened.last_lsn), told)
        await future

    async def sync(self) -> int:
        """Make everything that was written before the call durable; returns the durable LSN."""
        await self._waiter(self._group(Durability.SYNC))
        return self.db.durable_lsn

    # ---- reads -----------------------------------------------------------------------------------

    async def get(self, key: BytesLike, default: Any = None) -> Any:
        """The value of `key`, or `default`. Runs on the loop: see the class for what that may
        cost."""
        return self.db.get(key, default)

    async def get_many(self, keys: Sequence[BytesLike]) -> list[bytes | None]:
        """The values in the order asked, None for a key that is not there. Many keys go to a
        thread."""
        if len(keys) <= GET_MANY_INLINE:
            return self.db.get_many(keys)
        return await self._in_thread(self.db.get_many, keys)

    async def scan(
        self,
        start: BytesLike | None = None,
        stop: BytesLike | None = None,
        *,
        prefix: BytesLike | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[bytes, bytes]]:
        """The pairs as `DB.scan` gives them, read by a thread some hundred at a time. One
        consistent view."""
        open_scan = functools.partial(
            self.db.scan, start, stop, prefix=prefix, reverse=reverse, limit=limit
        )
        pairs = await self._in_thread(open_scan)
        while chunk := await self._in_thread(lambda: list(islice(pairs, SCAN_PAIRS))):
            for pair in chunk:
                yield pair

    # ---- housekeeping, all in threads ------------------------------------------------------------

    async def flush(self) -> int:
        """As `DB.flush`, with what was written before the call."""
        await self._all_logged()
        return await self._in_thread(self.db.flush)

    async def checkpoint(self) -> Checkpoint:
        """As `DB.checkpoint`."""
        await self._all_logged()
        return await self._in_thread(self.db.checkpoint)

    async def compact(self) -> int:
        """As `DB.compact`."""
        await self._all_logged()
        return await self._in_thread(self.db.compact)

    def stats(self) -> Stats:
        """As `DB.stats`."""
        return self.db.stats()

    @property
    def last_lsn(self) -> int:
        """The LSN of the newest mutation that was logged."""
        return self.db.last_lsn

    @property
    def durable_lsn(self) -> int:
        """Everything up to this LSN is on stable storage."""
        return self.db.durable_lsn

    async def _all_logged(self) -> None:
        if self._groups:
            future: asyncio.Future[None] = self._loop.create_future()
            self._idle.append(future)
            await future

    async def _in_thread(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        call = functools.partial(work, *arguments, **named)
        return await self._loop.run_in_executor(self._threads, call)
