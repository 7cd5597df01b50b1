"""Instructions of the C half's inner loops, counted by a simulator, against a baseline.

    python -m bench.kernels             prints them beside the baseline; exits with 1 past a limit
    python -m bench.kernels --record    makes them the baseline, bench/kernels.json

The loops are those of tests/c/kernels.c, the simulator is callgrind. What it counts depends on the
compiler, the C library and the instructions that the CPU has, and on nothing else: a machine where
one of them is not the baseline's is told so, and nothing is compared there. Callgrind knows no
AVX-512, so that the checksum it counts is the one of SSE4.2.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path(__file__).with_name("kernels.json")
LIMIT = 1.10
"""How many times its baseline a kernel may be."""
CPU_FLAGS = ("avx2", "bmi2", "erms", "fsrm", "sse4_2")
"""What the C library chooses its copies and comparisons by, among what callgrind knows."""

Counts = dict[str, float]


class Missing(Exception):
    """What is needed to count cannot be had here; the text says what."""


def build(source: Path = ROOT, directory: Path = ROOT / "build" / "kernels") -> Path:
    """Compile the program as a release is; returns its path. Missing without a compiler."""
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if cmake is None or not (shutil.which("cc") or os.environ.get("CC")):
        raise Missing("a C compiler and CMake")
    options = ["-DOOR_TOOLS=ON", "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_FLAGS="]
    for command in (
        ["-S", str(source), "-B", str(directory), *options],
        ["--build", str(directory), "--target", "kernels", "--parallel", "2"],
    ):
        subprocess.run([cmake, *command], check=True, stdout=subprocess.DEVNULL)
    return directory / "tests" / "c" / "kernels"


def count(program: Path, names: Sequence[str] = ()) -> Counts:
    """Instructions an operation of these kernels, or of all. Missing without valgrind."""
    if shutil.which("valgrind") is None:
        raise Missing("valgrind (Debian: valgrind)")
    if not names:
        listed = subprocess.run([program, "list"], check=True, capture_output=True, text=True)
        names = listed.stdout.split()
    return {name: _count_one(program, name) for name in names}


def _count_one(program: Path, name: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
             f"--toggle-collect=kernel_{name}", program, name, folder],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert collected is not None and int(collected[1]) > 0, done.stderr
    return round(int(collected[1]) / int(done.stdout), 1)


def fingerprint(directory: Path = ROOT / "build" / "kernels") -> dict[str, str]:
    """What the counts depend on beside the sources."""
    cache = (directory / "CMakeCache.txt").read_text(encoding="utf-8")
    compiler = re.search(r"^CMAKE_C_COMPILER:[A-Z]+=(.*)$", cache, re.MULTILINE)
    assert compiler is not None
    said = subprocess.run([compiler[1], "--version"], capture_output=True, text=True, check=True)
    return {
        "compiler": said.stdout.splitlines()[0],
        "C library": os.confstr("CS_GNU_LIBC_VERSION") or "unknown",
        "architecture": platform.machine(),
        "CPU": _cpu_flags(),
    }


def _cpu_flags() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    line = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    have = set(line[1].split()) if line else set()
    return " ".join(flag for flag in CPU_FLAGS if flag in have)


def differences(baseline: dict[str, str]) -> list[str]:
    """Why counts of here cannot be held against the baseline, a line each."""
    here = fingerprint()
    return [
        f"{name}: {here.get(name)} here, {of} of the baseline"
        for name, of in baseline.items()
        if here.get(name) != of
    ]


def excesses(found: Counts, baseline: Counts) -> list[str]:
    """What is past its limit, a line each."""
    return [
        f"{name}: {value:,} instructions where {baseline[name]:,} x {LIMIT} are allowed"
        for name, value in found.items()
        if name in baseline and value > baseline[name] * LIMIT
    ]


def main() -> int:
    """Print the table, or record it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="make this the baseline")
    asked = parser.parse_args()
    try:
        found = count(build())
    except Missing as error:
        print(f"skipped: {error} is not installed")
        return 0
    if asked.record:
        content = {"fingerprint": fingerprint(), "instructions": found}
        BASELINE.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
    baseline = json.loads(BASELINE.read_text(encoding="ascii"))
    counts = baseline["instructions"]
    for name, value in found.items():
        print(f"{name:<16} {value:12,.1f} instructions, baseline {counts.get(name, 0):12,.1f}")
    if apart := differences(baseline["fingerprint"]):
        print("not compared:", *apart, sep="\n  ")
        return 0
    too_much = excesses(found, counts)
    print("\n".join(too_much) if too_much else f"all within {LIMIT} of the baseline")
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
