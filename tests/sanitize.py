"""Builds the stress program of the C half under each sanitizer and runs it.

    python tests/sanitize.py [--seconds 20] [--suite] [--record]

--suite runs the Python tests of the C half's rooms too, with the module built under
AddressSanitizer. --record keeps what was done in docs/figures/sanitize.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from classes import Copy

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "figures" / "sanitize.json"
SANITIZERS = {"asan": "address,undefined", "tsan": "thread"}
SUITE = ("test_log.py", "test_table.py", "test_version.py", "test_scans.py", "test_threads.py",
         "test_recovery.py", "test_salvage.py", "test_compaction.py", "test_tle_scan.py")  # fmt: skip


def cmake() -> str:
    """The one of this environment, or of the system."""
    return str(shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"))


def build(name: str) -> Path:
    """The stress program under one sanitizer."""
    directory = ROOT / "build" / name
    options = [f"-DOOR_SANITIZE={SANITIZERS[name]}", "-DOOR_TOOLS=ON"]
    command = [cmake(), "-S", str(ROOT), "-B", str(directory), *options]
    subprocess.run([*command, "-DCMAKE_BUILD_TYPE=RelWithDebInfo"], check=True, capture_output=True)
    target = ["--build", str(directory), "--target", "stress"]
    subprocess.run([cmake(), *target], check=True, capture_output=True)
    return directory / "tests" / "c" / "stress"


def stress(name: str, seconds: int) -> str:
    """Run it; what it prints. CalledProcessError, with the report on stderr, for a finding."""
    program = build(name)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(program), folder, str(seconds)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        print(done.stderr[-8000:], file=sys.stderr)
        done.check_returncode()
    return done.stdout.strip()


def suite() -> int:
    """The tests of the C half with the Python module under AddressSanitizer."""
    copy = Copy("asan-suite", f"-DOOR_SANITIZE={SANITIZERS['asan']}")
    asan = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = copy.environment() | {
        "LD_PRELOAD": asan,
        "PYTHONMALLOC": "malloc",
        # The interpreter keeps what it has made until it ends.
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    tests = [f"tests/{name}" for name in SUITE]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, env=environment, cwd=copy.root).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--suite", action="store_true")
    parser.add_argument("--record", action="store_true", help=f"write {FIGURES.name}")
    arguments = parser.parse_args()
    found = {}
    for name in SANITIZERS:
        text = stress(name, arguments.seconds)
        print(f"{name}: {text}")
        counts = re.findall(r"(\d+) ([a-z ]+)", text)
        found[name] = {what.strip(): int(number) for number, what in counts}
    if arguments.record:
        FIGURES.write_text(json.dumps({"findings": 0, "stress": found}, indent=1) + "\n")
    return suite() if arguments.suite else 0


if __name__ == "__main__":
    sys.exit(main())
