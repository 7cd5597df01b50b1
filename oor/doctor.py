"""What a sync costs in a directory, and what it really does there: `oor doctor DIR`.

It makes a file of its own, writes 4 KiB blocks to it in the ways that a log may take, and removes
it. Nothing that was there is touched.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from oor import native
from oor.codec import NUMBERS, missing
from oor.errors import OorError
from oor.native import check, ffi, lib

BLOCK: Final = 4096
FILE_BLOCKS: Final = 256
SAMPLES: Final = 300
SECONDS_MAX: Final = 4.0
"""A way that has been measured for so long has been measured enough."""
FAST_SYNC: Final = 15e-6
"""Seconds: no device that keeps what it was given without power is known to answer faster."""
IN_MEMORY: Final = frozenset(("tmpfs", "ramfs", "devtmpfs", "hugetlbfs"))


@dataclass(frozen=True, slots=True)
class Cost:
    """One way to make 4 KiB durable, in seconds; `error` says why it cannot be had here."""

    way: str
    p50: float = 0.0
    p99: float = 0.0
    samples: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Where a directory lives, as /proc/self/mountinfo tells it; empty where it does not."""

    kind: str = ""
    source: str = ""
    mount_point: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What `examine` found."""

    path: str
    file_system: FileSystem
    sync_method: str
    """The way the log takes here."""
    costs: tuple[Cost, ...]
    codecs: dict[str, str]
    """Codec of tables -> "here", or what it needs."""
    reaches_device: bool
    """Whether a sync seems to reach a device that keeps its bytes without power."""
    findings: tuple[str, ...]
    """What whoever puts a store here should know, in sentences."""


def examine(directory: str, samples: int = SAMPLES) -> Diagnosis:
    """Measure what a sync costs in `directory`, which must be there.

    Raises StorageError if files cannot be made there, DiskFullError if 2 MiB do not fit. Cost:
    about 3 x `samples` syncs, a few hundred milliseconds on a good device; of each kind no more
    than take SECONDS_MAX.
    """
    path = os.path.realpath(directory)
    with _file(path, 0, written=True):
        pass  # what makes any file impossible here is an error, not a cost
    costs = (
        _measured("O_DIRECT|O_DSYNC into a written file", lambda: _direct(path, samples)),
        _measured("pwrite + fdatasync into a written file", lambda: _buffered(path, samples, True)),
        _measured(
            "pwrite + fdatasync at the end of a file", lambda: _buffered(path, samples, False)
        ),
        _measured("pwrite without a sync", lambda: _buffered(path, samples, True, sync=False)),
    )
    # What the log does too: it tries a direct write first.
    method = "O_DIRECT|O_DSYNC" if costs[0].error is None else "pwrite+fdatasync"
    file_system = file_system_of(path)
    reaches = _reaches_device(file_system, costs)
    codecs = {name: missing(name) or "here" for name in NUMBERS if name != "none"}
    findings = (*_findings(file_system, costs, reaches), *_findings_of_codecs())
    return Diagnosis(path, file_system, method, costs, codecs, reaches, findings)


# ---- measuring -----------------------------------------------------------------------------------


@contextmanager
def _file(directory: str, flags: int, written: bool) -> Iterator[native.File]:
    """A file of our own for a while; `written` once with zeros, as a segment of the log is."""
    path = os.path.join(directory, f".oor-doctor-{os.getpid()}.tmp")
    try:
        with native.File(path, native.WRITE | native.CREATE | native.TRUNCATE) as file:
            if written:
                file.write(bytes(FILE_BLOCKS * BLOCK), 0)
            file.sync()
        with native.File(path, native.WRITE | flags) as file:
            yield file
    finally:
        if native.exists(path):
            native.unlink(path)


def _measured(way: str, measure: Callable[[], list[float]]) -> Cost:
    try:
        times = sorted(measure())
    except OorError as error:
        return Cost(way, error=error.message)
    return Cost(
        way, times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)], len(times)
    )


def _aligned(size: int) -> tuple[Any, Any]:
    """Memory that a direct write takes, and what keeps it alive."""
    whole = ffi.new("uint8_t[]", size + BLOCK)
    address = int(ffi.cast("uintptr_t", whole))
    return whole + (-address % BLOCK), whole


def _direct(directory: str, samples: int) -> list[float]:
    with _file(directory, lib.OOR_OPEN_DIRECT | lib.OOR_OPEN_DSYNC, written=True) as file:
        block, _keep = _aligned(BLOCK)
        path = os.fsencode(file.path)

        def write(n: int) -> None:
            check(lib.oor_io_write(file.fd, path, block, BLOCK, n % FILE_BLOCKS * BLOCK))

        return _times(write, samples)


def _buffered(directory: str, samples: int, written: bool, sync: bool = True) -> list[float]:
    block = bytes(BLOCK)
    with _file(directory, 0, written) as file:

        def write(n: int) -> None:
            file.write(block, (n % FILE_BLOCKS if written else n) * BLOCK)
            if sync:
                file.sync()

        return _times(write, samples)


def _times(work: Callable[[int], None], samples: int) -> list[float]:
    """Seconds of each; fewer than `samples` where all together would take too long."""
    times: list[float] = []
    for n in range(samples):
        began = time.perf_counter()
        work(n)
        times.append(time.perf_counter() - began)
        if sum(times) >= SECONDS_MAX:
            break
    return times


# ---- judging -------------------------------------------------------------------------------------


def file_system_of(path: str, mounts: str | None = None) -> FileSystem:
    """The file system that holds `path`; `mounts` stands in for /proc/self/mountinfo."""
    if mounts is None:
        try:
            with native.File("/proc/self/mountinfo", native.READ) as file:
                mounts = os.fsdecode(file.read(1 << 20))
        except OorError:
            return FileSystem()
    best = FileSystem()
    for line in mounts.splitlines():
        found = _parse_mount(line)
        # A later line of the same place hides the earlier ones.
        if (
            found
            and _is_below(path, found.mount_point)
            and len(found.mount_point) >= len(best.mount_point)
        ):
            best = found
    return best


def _parse_mount(line: str) -> FileSystem | None:
    before, separator, after = line.partition(" - ")
    fields, more = before.split(), after.split()
    if not separator or len(fields) < 6 or len(more) < 2:
        return None
    options = ",".join([fields[5], *more[2:3]]).split(",")
    return FileSystem(
        more[0], _unescaped(more[1]), _unescaped(fields[4]), tuple(dict.fromkeys(options))
    )


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _is_below(path: str, mount_point: str) -> bool:
    return path == mount_point or path.startswith(mount_point.rstrip("/") + "/")


def _reaches_device(file_system: FileSystem, costs: tuple[Cost, ...]) -> bool:
    if file_system.kind in IN_MEMORY or _without_barriers(file_system):
        return False
    synced = [cost.p50 for cost in costs[:3] if cost.error is None]
    return bool(synced) and min(synced) >= FAST_SYNC


def _without_barriers(file_system: FileSystem) -> bool:
    return bool({"nobarrier", "barrier=0"} & set(file_system.options))


def _findings(file_system: FileSystem, costs: tuple[Cost, ...], reaches: bool) -> Iterator[str]:
    direct, written, fresh, _ = costs
    if file_system.kind in IN_MEMORY:
        yield (
            f"{file_system.kind} is memory: nothing here survives the loss of power, "
            "whatever the mode."
        )
    elif _without_barriers(file_system):
        yield "It is mounted without barriers: a sync does not empty the cache of the device."
    elif not reaches:
        yield (
            "A sync returns faster than devices write: the device has a protected cache, or it (or "
            "the host of this machine) confirms what it has not stored. Find out which before you "
            "trust it."
        )
    if file_system.kind == "overlay":
        yield (
            "overlay passes syncs on to the file system below it, and a container's layer goes "
            "with it."
        )
    if direct.error:
        yield (
            f"Direct writes are not to be had ({direct.error}): the log writes and syncs in two "
            "calls."
        )
    if written.error is None and fresh.error is None and fresh.p50 > 1.3 * written.p50:
        yield (
            f"A file that grows costs {fresh.p50 / written.p50:.1f} x a sync into a written one: "
            "that is why the log writes its segments ahead."
        )


def _findings_of_codecs() -> Iterator[str]:
    for name in NUMBERS:
        if why := missing(name):
            yield (
                f"Tables cannot be packed with {name}, and packed ones not be read: {why}. Without "
                "it they take about twice the space."
            )
