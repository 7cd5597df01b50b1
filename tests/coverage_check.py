"""Which branches of log, recovery and manifest no test takes, against the list of those known.

    python tests/coverage_check.py [--run]      exits with 1 for a branch that is missing and not listed

--run builds the C half with gcc's counters and runs the tests of these rooms first; without it the
counts of the last run are read. tests/coverage.toml lists each branch that is not taken, by the text
of its line, with the reason. A branch is a way out of a condition; asserts have one that must never
be taken and are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

from classes import Copy

ROOT = Path(__file__).resolve().parent.parent
LISTED = ROOT / "tests" / "coverage.toml"
FIGURES = ROOT / "docs" / "figures" / "coverage.json"
BUILD = ROOT / "build" / "coverage"
C_FILES = ("io", "frame", "wal", "wal_commit", "wal_drain", "wal_open", "wal_segment", "wal_sync",
           "wal_tail", "wal_thread", "walscan")  # fmt: skip
PYTHON_FILES = ("recovery", "manifest", "commit")
TESTS = (
    "test_io_door.py", "test_log.py", "test_log_format.py", "test_recovery.py", "test_recycling.py", "test_salvage.py",
    "test_faults.py", "test_manifest.py", "test_loss_bounds.py", "test_threads.py",
    "test_aio.py", "test_errors.py", "test_allocations.py", "test_classes.py", "test_pressure.py", "test_easy_put.py",
    "test_order.py", "test_db.py", "test_file_systems.py", "test_bytes.py", "test_doctor.py",
    "test_cli.py", "test_reader.py", "test_rare_ways.py", "test_error_fields.py",
    "test_salvage.py", "test_log_bound.py", "test_packed_batches.py", "test_bulk.py", "test_publish.py",
    "test_commit.py",  # the last: it takes the interpreter's trace function for itself
)  # fmt: skip
Missing = Counter[tuple[str, str]]
"""(file, text of the line) -> branches of it that nothing took."""


def run() -> None:
    """Build with counters, run the tests."""
    copy = Copy("coverage", "-DOOR_COVERAGE=ON", "-DCMAKE_BUILD_TYPE=Debug")
    for counts in BUILD.rglob("*.gcda"):
        counts.unlink()
    environment = copy.environment() | {"COVERAGE_FILE": str(BUILD / "python")}
    command = [
        sys.executable, "-m", "coverage", "run", "--branch", "--include=oor/*", "-m",
        "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in TESTS),
    ]  # fmt: skip
    subprocess.run(command, env=environment, cwd=copy.root)


def of_c() -> tuple[Missing, int]:
    """Branches of the C files that are not taken, and how many there are."""
    missing: Missing = Counter()
    total = 0
    for name in C_FILES:
        (notes,) = BUILD.rglob(f"{name}.c.gcno")
        done = subprocess.run(
            ["gcov", "--branch-probabilities", "--json-format", "--stdout", str(notes)],
            capture_output=True, text=True, check=True, cwd=notes.parent,
        )  # fmt: skip
        source = (ROOT / "csrc" / f"{name}.c").read_text().splitlines()
        for file in json.loads(done.stdout)["files"]:
            if Path(file["file"]).name != f"{name}.c":
                continue
            for line in file["lines"]:
                text = source[line["line_number"] - 1].strip()
                if "assert(" in text:
                    continue
                branches = line["branches"]
                total += len(branches)
                untaken = sum(not branch["count"] for branch in branches)
                if untaken:
                    missing[f"csrc/{name}.c", text] += untaken
    return missing, total


def of_python() -> tuple[Missing, int]:
    """The same of the Python files."""
    missing: Missing = Counter()
    total = 0
    out = BUILD / "python.json"
    command = [sys.executable, "-m", "coverage", "json", "-q", "-o", str(out)]
    environment = os.environ | {"COVERAGE_FILE": str(BUILD / "python")}
    subprocess.run(command, env=environment, check=True, cwd=BUILD)
    for path, content in json.loads(out.read_text())["files"].items():
        name = Path(path).stem
        if Path(path).parts[:-1] != ("oor",) or name not in PYTHON_FILES:
            continue
        source = (ROOT / "oor" / f"{name}.py").read_text().splitlines()
        total += content["summary"]["num_branches"]
        for start, _ in content["missing_branches"]:
            missing[f"oor/{name}.py", source[start - 1].strip()] += 1
    return missing, total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--record", action="store_true", help=f"write {FIGURES.name}")
    parser.add_argument(
        "--list", action="store_true", help="print what is missing as the list has it"
    )
    arguments = parser.parse_args()
    if arguments.run:
        run()
    (c_missing, c_total), (py_missing, py_total) = of_c(), of_python()
    missing = c_missing + py_missing
    listed = tomllib.loads(LISTED.read_text()) if LISTED.exists() else {}
    known = {
        (file, text): reason
        for file, reasons in listed.items()
        for reason, texts in reasons.items()
        for text in texts
    }
    new = {key: count for key, count in missing.items() if key not in known}
    if arguments.list:
        for (file, text), count in sorted(missing.items()):
            print(f"{file}\t{count}\t{known.get((file, text), '?')}\t{text}")
    for (file, text), count in sorted(new.items()):
        print(f"{file}: {count} ways out of this line are not taken, and it is not listed: {text}")
    figures = {
        "c": {"branches": c_total, "not_taken": sum(c_missing.values())},
        "python": {"branches": py_total, "not_taken": sum(py_missing.values())},
    }
    print(json.dumps(figures))
    if arguments.record:
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    return int(bool(new))


if __name__ == "__main__":
    sys.exit(main())
