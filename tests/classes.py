"""The table of bug classes: which tests reveal each, and the planted bug that turned them red.

python tests/classes.py          prints class -> tests -> red proof; fails if a class has no test
                                 or names one that is not there
python tests/classes.py --red    plants each bug in a copy of the tree, runs the class's tests,
                                 and demands that one fails; keeps what it saw in FIGURES
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "classes.toml"
FIGURES = ROOT / "docs" / "figures" / "classes.json"
COUNTS = {"A": 15, "B": 10, "C": 13, "D": 10, "E": 7, "F": 10, "G": 16}
COPIED = ("oor", "csrc", "tests", "fuzz", "bench", "docs", "CMakeLists.txt", "pyproject.toml",
          "README.md", "Makefile", "LICENSE")  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """A planted bug, or a part of one: this text of this file, once there, by that."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Entry:
    """One class of bugs."""

    what: str
    tests: tuple[str, ...]
    edits: tuple[Edit, ...]
    by_design: str


def ids() -> set[str]:
    """All of them, A1 to G16."""
    return {f"{letter}{n}" for letter, count in COUNTS.items() for n in range(1, count + 1)}


def read() -> dict[str, Entry]:
    """The table as it is committed."""
    content = tomllib.loads(TABLE.read_text())
    bugs = {
        name: tuple(Edit(**edit) for edit in edits) for name, edits in content.pop("bugs").items()
    }
    return {
        name: Entry(
            entry["what"], tuple(f"tests/{test}" for test in entry["tests"]),
            bugs[entry["bug"]] if "bug" in entry else (), entry.get("by_design", ""),
        )
        for name, entry in content.items()
    }  # fmt: skip


def mark(names: list[str]) -> Any:
    """The marker that a test of these classes carries."""
    import pytest

    return pytest.mark.bug_class(*sorted(names, key=_order))


def tests_of_the_tree() -> set[str]:
    """Every test function as file::name."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(f"{path.relative_to(ROOT)}::{node.name}")
    return found


# ---- red proofs ----------------------------------------------------------------------------------


class Copy:
    """A copy of the tree below build/, built there with options of its own and imported from there.

    Bugs are planted in it, one at a time.
    """

    def __init__(self, name: str = "red", *options: str) -> None:
        self.root = ROOT / "build" / name
        self._options = options
        for name in COPIED:
            source, target = ROOT / name, self.root / name
            if source.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        shutil.copy(ROOT / "tests" / "only_this_tree.py", self.root / "sitecustomize.py")
        self.build()

    def build(self) -> None:
        """Compile what changed, beside the sources, as an import finds it."""
        binaries = Path(sys.executable).parent
        cmake = shutil.which("cmake", path=f"{binaries}:{os.environ['PATH']}")
        output = self.root / "build" / "dev"
        if not (output / "CMakeCache.txt").exists():
            command = [
                str(cmake), "-S", str(self.root), "-B", str(output), "-DCMAKE_BUILD_TYPE=Release",
                f"-DPython_EXECUTABLE={sys.executable}",
                f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={self.root / 'oor'}", *self._options,
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True)
        subprocess.run([str(cmake), "--build", str(output)], check=True, capture_output=True)

    def environment(self) -> dict[str, str]:
        """Of a process that imports this copy and no other."""
        return os.environ | {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, tests: tuple[str, ...]) -> tuple[int, str]:
        """Run tests until one fails; the exit code, and the test that failed."""
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-rf", *tests]
        environment = self.environment()
        try:
            done = subprocess.run(
                command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=240
            )
        except subprocess.TimeoutExpired:
            return 1, "a test that did not end"
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if failed:
            return 1, failed[0].split(" ")[1]
        return done.returncode, "the process" if done.returncode else ""

    def plant(self, edits: tuple[Edit, ...], back: bool = False) -> None:
        """Put the bug in, or take it out again."""
        for edit in edits:
            path = self.root / edit.file
            text = path.read_text()
            old, new = (edit.new, edit.old) if back else (edit.old, edit.new)
            assert back or text.count(old) == 1, f"{edit.file} has not one {old!r}"
            original = (ROOT / edit.file).read_text()
            path.write_text(original if back else text.replace(old, new))
        if any(edit.file.endswith((".c", ".h")) for edit in edits):
            self.build()


def prove(names: list[str], figures: Path) -> int:
    """Turn each class red; returns how many did not."""
    table = read()
    copy = Copy()
    proofs = json.loads(figures.read_text()) if figures.exists() else {}
    green = 0
    for name in names or sorted(table, key=_order):
        entry = table[name]
        if not entry.edits:
            continue
        began = time.monotonic()
        copy.plant(entry.edits)
        try:
            code, failed = copy.run(entry.tests)
        finally:
            copy.plant(entry.edits, back=True)
        took = time.monotonic() - began
        print(f"{name:4}{failed or 'NOT RED':90.90}{took:6.1f} s", flush=True)
        if code:
            proofs[name] = failed
            figures.write_text(json.dumps(proofs, indent=1, sort_keys=True) + "\n")
        else:
            green += 1
            proofs.pop(name, None)
    return green


def _order(name: str) -> tuple[str, int]:
    return name[0], int(name[1:])


def show() -> int:
    """Print the table; returns how many classes have a fault in it."""
    table, known = read(), tests_of_the_tree()
    proofs = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    faults = 0
    for name in sorted(ids(), key=_order):
        entry = table.get(name)
        if entry is None:
            print(f"{name:4}no entry")
            faults += 1
            continue
        missing = [test for test in entry.tests if test.partition("[")[0] not in known]
        red = proofs.get(name)
        faults += bool(missing) or not entry.tests or not (red or entry.by_design)
        print(f"{name:4}{entry.what}")
        for test in entry.tests:
            print(f"      {'MISSING ' if test in missing else ''}{test}")
        if entry.by_design:
            print(f"      cannot occur: {entry.by_design}")
        for edit in entry.edits:
            print(f"      bug in {edit.file}: {' '.join(edit.old.split())!r:.60}")
        print(f"      red: {red or 'not yet proven: make red'}")
    print(f"{len(table) - faults} of {len(ids())} classes have tests that were red")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--red", action="store_true", help="plant the bugs and demand failures")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="keep the proofs here")
    parser.add_argument("names", nargs="*", help="only these classes")
    arguments = parser.parse_args()
    return int(bool(prove(arguments.names, arguments.figures) if arguments.red else show()))


if __name__ == "__main__":
    sys.exit(main())
