"""Calibration: what the machine does at the moment, with no store in between.

The probes are C (probe.c), compiled when they are first asked for; without a C compiler there are
none, and the budgets that lean on them are left out.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = ("crc32c.c", "crc32c_x86.c", "crc32c_arm.c", "core.c", "memory.c")
FILE_BYTES = 16 << 20
MEMORY_BYTES = 64 << 20
CRC_SIZES = (64, 200, 4096)

Probe = Callable[[], float]


def build(directory: str) -> ctypes.CDLL | None:
    """The compiled probes, or None if there is no compiler or no source of the engine here."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    engine = HERE.parent / "csrc"
    if compiler is None or not (engine / SOURCES[0]).exists():
        return None
    target = os.path.join(directory, "probe.so")
    sources = [str(HERE / "probe.c"), *(str(engine / name) for name in SOURCES)]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O3", "-shared", "-fPIC", f"-I{engine}"]
    subprocess.run([compiler, *flags, "-o", target, *sources, "-lpthread"], check=True)
    library = ctypes.CDLL(target, use_errno=True)
    for name in ("probe_write", "probe_read_memory", "probe_crc32c"):
        getattr(library, name).restype = ctypes.c_int64
    return library


class DeviceProbe:
    """Microseconds a durable write of `size` bytes into a file that was written once before.

    Direct: O_DIRECT|O_DSYNC, the least that a durable write can cost here. Not direct: pwrite and
    fdatasync. Raises OSError where the file system does not take it (tmpfs takes no O_DIRECT).
    """

    def __init__(self, library: ctypes.CDLL, directory: str, direct: bool, size: int) -> None:
        self._library = library
        self._size = size
        self._sync = not direct
        path = os.path.join(directory, f"probe-{direct:d}-{size}")
        with open(path, "wb") as file:
            file.write(bytes(FILE_BYTES))
            os.fsync(file.fileno())
        flags = os.O_DIRECT | os.O_DSYNC if direct else 0
        self._fd = os.open(path, os.O_WRONLY | flags)
        self._data = mmap.mmap(-1, size)
        self._data[:] = os.urandom(size)
        self._offset = ctypes.c_int64(0)

    def __call__(self, count: int) -> float:
        spent = self._library.probe_write(
            self._fd,
            ctypes.byref(ctypes.c_char.from_buffer(self._data)),
            ctypes.c_size_t(self._size),
            ctypes.byref(self._offset),
            ctypes.c_int64(FILE_BYTES),
            count,
            self._sync,
        )
        if spent < 0:
            raise OSError(ctypes.get_errno(), "the probe cannot write")
        return float(spent) / 1e3 / count


def memory_probe(library: ctypes.CDLL) -> Probe:
    """Gigabytes a second that one core reads from memory."""
    data = ctypes.create_string_buffer(os.urandom(1 << 16) * (MEMORY_BYTES >> 16), MEMORY_BYTES)
    total = ctypes.c_uint64(0)

    def run() -> float:
        spent = library.probe_read_memory(
            data, ctypes.c_size_t(MEMORY_BYTES), 1, ctypes.byref(total)
        )
        return MEMORY_BYTES / float(spent)

    return run


def crc32c_probe(library: ctypes.CDLL, size: int) -> Probe:
    """Gigabytes a second of the engine's CRC32C over records of `size` bytes in the cache."""
    data = ctypes.create_string_buffer(os.urandom(size), size)
    crc = ctypes.c_uint32(0)
    count = (4 << 20) // size

    def run() -> float:
        spent = library.probe_crc32c(data, ctypes.c_size_t(size), count, ctypes.byref(crc))
        return size * count / float(spent)

    return run
