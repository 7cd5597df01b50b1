"""Kills a writing process again and again, and checks from outside that nothing it said is lost.

A child recovers the store, compares all of it with what the parent remembers, and writes with
several threads, beside flushes, compactions, checkpoints and snapshots, until SIGKILL takes it at a
random moment, in the middle of its recovery too. What a thread does is a function of its number and
its count, so the parent knows the whole state from one acknowledgement, and the one operation that
nobody was told of must be there whole or not at all.

The page cache survives a killed process: this finds what a crash of the process loses, whatever the
mode. What a power loss takes, the crash explorer tries.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import struct
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import oor
from oor.doctor import file_system_of
from oor.errors import OorError

THREADS = 4
KEYS = 48
"""Of each thread."""
MODES = ("sync", "interval", "os")
OPTIONS: dict[str, Any] = {
    "segment_bytes": 64 << 10, "tail_bytes": 16 << 10, "memtable_bytes": 32 << 10,
    "table_bytes": 16 << 10, "level_base_bytes": 32 << 10, "l0_trigger": 2,
    "checkpoint_interval": 0.02, "sync_interval": 0.005,
}  # fmt: skip
"""Tiny, so that rotations, flushes and compactions are always under way."""

Pairs = dict[bytes, bytes | None]
_REPORT = struct.Struct("<cBIQ")
_SILENCE_MAX = 120.0


def operation(thread: int, count: int) -> tuple[Pairs, str]:
    """What `thread` does as its `count`-th operation, and in which mode; None deletes."""
    rng = random.Random(thread << 32 | count)
    size = 1 if rng.random() < 0.7 else rng.randrange(2, 9)
    pairs: Pairs = {}
    for key in rng.sample(range(KEYS), size):
        name = b"%02d.%03d" % (thread, key)
        long = rng.random() < 0.02
        value = b"%d." % count + bytes([rng.randrange(256)]) * rng.randrange(6000 if long else 300)
        pairs[name] = None if rng.random() < 0.15 else value
    return pairs, rng.choice(MODES)


def applied(state: dict[bytes, bytes], pairs: Pairs) -> dict[bytes, bytes]:
    """A new state with the operation in it."""
    changed = dict(state)
    for key, value in pairs.items():
        if value is None:
            changed.pop(key, None)
        else:
            changed[key] = value
    return changed


@dataclass(slots=True)
class Oracle:
    """What was acknowledged: of each thread how many operations, and what they add up to."""

    counts: list[int] = field(default_factory=lambda: [0] * THREADS)
    states: list[dict[bytes, bytes]] = field(default_factory=lambda: [{} for _ in range(THREADS)])
    last_lsn: int = 0

    def advance(self, thread: int, count: int) -> None:
        """Operations up to `count` are done."""
        while self.counts[thread] < count:
            pairs, _ = operation(thread, self.counts[thread])
            self.states[thread] = applied(self.states[thread], pairs)
            self.counts[thread] += 1

    def resolve(self, thread: int, found: dict[bytes, bytes]) -> int | None:
        """How many operations of the thread `found` shows; None: neither all nor one more."""
        if found == self.states[thread]:
            return self.counts[thread]
        pairs, _ = operation(thread, self.counts[thread])
        if found == applied(self.states[thread], pairs):
            return self.counts[thread] + 1
        return None


@dataclass(slots=True)
class Tortured:
    """What happened. `lost` counts threads whose acknowledged state was not found."""

    directory: str
    seed: int
    cycles: int = 0
    seconds: float = 0.0
    acknowledged: int = 0
    """Operations that the child had told of when it died, batches counted once."""
    unacknowledged: int = 0
    """Operations that were there although nobody had been told of them."""
    killed_in_recovery: int = 0
    stopped: int = 0
    """Cycles in which the child was stopped and continued before it was killed."""
    recoveries: int = 0
    """Recoveries that were compared to the end."""
    pairs_checked: int = 0
    lost: int = 0
    details: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


# ---- the child -----------------------------------------------------------------------------------


class _Child:
    """Runs in a forked process until it is killed."""

    def __init__(
        self, path: str, mode: str, oracle: Oracle, pipe: socket.socket, seed: int
    ) -> None:
        self._path = path
        self._mode = mode
        self._oracle = oracle
        self._pipe = pipe
        self._random = random.Random(seed)

    def run(self) -> NoReturn:
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self._live()
        except BaseException:
            text = traceback.format_exc().encode("utf-8", "replace")[-3000:]
            self._pipe.sendall(_REPORT.pack(b"E", 0, len(text), 0) + text)
        os._exit(1)

    def _tell(self, kind: bytes, thread: int, count: int, lsn: int = 0) -> None:
        self._pipe.sendall(_REPORT.pack(kind, thread, count, lsn))

    def _live(self) -> None:
        db = oor.open(self._path, durability=self._mode, **OPTIONS)
        self._compare(db)
        workers = [
            threading.Thread(target=self._guarded, args=(self._write, db, number))
            for number in range(THREADS)
        ]
        workers.append(threading.Thread(target=self._guarded, args=(self._keep_house, db)))
        for worker in workers:
            worker.start()
        self._tell(b"R", 0, 0)
        for worker in workers:
            worker.join()

    def _guarded(self, work: Any, *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException:
            text = traceback.format_exc().encode("utf-8", "replace")[-3000:]
            self._pipe.sendall(_REPORT.pack(b"E", 0, len(text), 0) + text)
            os._exit(1)

    def _compare(self, db: oor.DB) -> None:
        """All of the store against the oracle; says what the unacknowledged operations became."""
        found: list[dict[bytes, bytes]] = [{} for _ in range(THREADS)]
        pairs = 0
        for key, value in db.scan():
            found[int(key[:2])][key] = value
            pairs += 1
        for thread in range(THREADS):
            count = self._oracle.resolve(thread, found[thread])
            if count is None:
                self._tell(b"L", thread, self._oracle.counts[thread])
            else:
                self._oracle.advance(thread, count)
                self._tell(b"F", thread, count)
        self._tell(b"C", 0, pairs, db.last_lsn)

    def _write(self, db: oor.DB, number: int) -> None:
        count = self._oracle.counts[number]
        while True:
            pairs, mode = operation(number, count)
            ((key, value), *rest) = pairs.items()
            if rest:
                lsn = db.write(pairs, durability=mode)
            elif value is None:
                lsn = db.delete(key, durability=mode)
            else:
                lsn = db.put(key, value, durability=mode)
            count += 1
            self._tell(b"A", number, count, lsn)

    def _keep_house(self, db: oor.DB) -> None:
        while True:
            with db.snapshot() as snapshot:
                first = dict(snapshot.scan())
                self._random.choice((db.flush, db.checkpoint, db.compact, db.sync))()
                if dict(snapshot.scan(reverse=True)) != first:
                    raise OorError("a snapshot has changed", path=self._path)


# ---- the parent ----------------------------------------------------------------------------------


class Torture:
    """Cycles of one store in `directory`. The process must have no store open and no threads."""

    def __init__(self, directory: str, seed: int) -> None:
        self._path = os.path.join(directory, "tortured.oor")
        self._random = random.Random(seed)
        self._oracle = Oracle()
        self.result = Tortured(directory, seed, machine=machine(directory))

    def cycle(self) -> None:
        """One life and death of the child. Raises OorError if it ends by itself."""
        result, rng = self.result, self._random
        mode = MODES[result.cycles % len(MODES)]
        seed = rng.getrandbits(32)
        read_end, write_end = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            read_end.close()
            _Child(self._path, mode, self._oracle, write_end, seed).run()
        write_end.close()
        # A quarter of the deaths come while the child recovers, the others while it works.
        in_recovery = result.cycles > 0 and rng.random() < 0.25
        told = b""
        try:
            if in_recovery:
                time.sleep(rng.random() * 0.02)
            else:
                told = self._until_ready(read_end)
                told += _read_for(read_end, rng.random() * 0.05)
                if rng.random() < 0.1:
                    os.kill(pid, signal.SIGSTOP)
                    time.sleep(rng.random() * 0.01)
                    os.kill(pid, signal.SIGCONT)
                    told += _read_for(read_end, rng.random() * 0.01)
                    result.stopped += 1
        finally:
            os.kill(pid, signal.SIGKILL)
            told += _read_to_end(read_end)
            os.waitpid(pid, 0)
            read_end.close()
        result.cycles += 1
        self._take(told)

    def _until_ready(self, pipe: socket.socket) -> bytes:
        told = b""
        deadline = time.monotonic() + _SILENCE_MAX
        while not _is_ready(told):
            more = _read_for(pipe, 1.0, at_least=1)
            told += more
            if not more and time.monotonic() > deadline:
                raise OorError("the child does not begin to write", path=self._path)
            if b"E" in {kind for kind, *_ in _reports(told)} or (not more and _ended(pipe)):
                break
        return told

    def _take(self, told: bytes) -> None:
        """What the child said: compare reports first, then acknowledgements in their order."""
        result, oracle = self.result, self._oracle
        compared = False
        for kind, thread, count, lsn in _reports(told):
            if kind == b"E":
                raise OorError(f"the child failed: {_text(told)}", path=self._path)
            if kind == b"L":
                result.lost += 1
                result.details.append(f"cycle {result.cycles}: thread {thread} after {count}")
            elif kind == b"F":
                result.unacknowledged += count - oracle.counts[thread]
                oracle.advance(thread, count)
            elif kind == b"C":
                compared = True
                result.recoveries += 1
                result.pairs_checked += count
                if lsn < oracle.last_lsn:
                    result.lost += 1
                    result.details.append(f"cycle {result.cycles}: LSN {lsn} < {oracle.last_lsn}")
            elif kind == b"A":
                if lsn <= 0 or count != oracle.counts[thread] + 1:
                    raise OorError("acknowledgements out of order", path=self._path)
                oracle.advance(thread, count)
                oracle.last_lsn = max(oracle.last_lsn, lsn)
                result.acknowledged += 1
        result.killed_in_recovery += not compared

    def run(self, cycles: int, seconds: float | None = None) -> Tortured:
        """Cycles until so many are done, the time is over, or something is lost."""
        began = time.monotonic()
        while self.result.cycles < cycles and not self.result.lost:
            if seconds is not None and time.monotonic() - began > seconds:
                break
            self.cycle()
            self.result.seconds = time.monotonic() - began
        return self.result


def _reports(told: bytes) -> list[tuple[bytes, int, int, int]]:
    """The whole reports; the text behind an "E" ends them."""
    found = []
    for at in range(0, len(told) - _REPORT.size + 1, _REPORT.size):
        report = _REPORT.unpack_from(told, at)
        found.append(report)
        if report[0] == b"E":
            break
    return found


def _text(told: bytes) -> str:
    at = (len(_reports(told))) * _REPORT.size
    return told[at:].decode("utf-8", "replace")


def _is_ready(told: bytes) -> bool:
    return any(kind in (b"R", b"A") for kind, *_ in _reports(told))


def _read_for(pipe: socket.socket, seconds: float, at_least: int | None = None) -> bytes:
    told = b""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([pipe], [], [], left)[0]:
            break
        more = _received(pipe)
        told += more
        if not more or (at_least is not None and len(told) >= at_least):
            break
    return told


def _received(pipe: socket.socket) -> bytes:
    try:
        return pipe.recv(1 << 16)
    except ConnectionResetError:
        # Nothing that was sent is lost by it: the end of a killed process, told another way.
        return b""


def _ended(pipe: socket.socket) -> bool:
    return bool(select.select([pipe], [], [], 0)[0])


def _read_to_end(pipe: socket.socket) -> bytes:
    told = b""
    while more := _received(pipe):
        told += more
    return told


def machine(directory: str) -> dict[str, str]:
    """Kernel, file system and device under the directory: what a figure is of."""
    system = os.uname()
    where = file_system_of(directory)
    return {
        "kernel": f"{system.sysname} {system.release} {system.machine}",
        "file_system": where.kind,
        "device": where.source,
        "mount_options": ",".join(where.options),
    }
