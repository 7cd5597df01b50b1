"""The wheel of this machine by its own compiler: what .ci/run asks of each commit.

    python -m tools.wheels.native [--into ENVIRONMENT]

It needs no zig and no emulator. --into keeps the fresh environment that the wheel was tried in.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.wheels import judge, trial
from tools.wheels.build import clock, digest, run
from tools.wheels.targets import ROOT

IMPORTS = 15


def copy_of_tree(into: Path) -> Path:
    """The files that git knows or would know, elsewhere."""
    listed = run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others",
                  "--exclude-standard"])  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)
    return into


def build_in(folder: Path) -> tuple[Path, Path]:
    """A wheel made below `folder`, and the static library that went into it."""
    tree = copy_of_tree(folder / "tree")
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
         "--no-build-isolation", "--no-deps", "-w", folder / "out", tree],
        env=clock())  # fmt: skip
    (wheel,) = (folder / "out").glob("oor-*.whl")
    (archive,) = tree.glob("build/*/liboor_core.a")
    return wheel, archive


def build_twice(work: Path) -> tuple[Path, Path]:
    """The wheel and its library; SystemExit if another folder gives other bytes."""
    made = [build_in(work / name) for name in ("a", "another-folder")]
    if digest(made[0][0]) != digest(made[1][0]):
        raise SystemExit(f"two builds differ: {made[0][0]} {made[1][0]}")
    return made[0]


def import_cost(python: Path) -> str:
    """What `import oor` adds to the start of an interpreter, the least of some tries of each."""
    least = {"pass": float("inf"), "import oor": float("inf")}
    for _ in range(IMPORTS):
        for what in least:
            began = time.perf_counter()
            subprocess.run([python, "-c", what], check=True)
            least[what] = min(least[what], time.perf_counter() - began)
    bare, loaded = least.values()
    return f"import {(loaded - bare) * 1e3:.1f} ms, {loaded / bare:.2f} x a bare interpreter"


def main() -> int:
    """Build, judge, try; one line for each."""
    parser = argparse.ArgumentParser(prog="python -m tools.wheels.native", description=__doc__)
    parser.add_argument("--into", type=Path, help="where the environment is made and kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        wheel, archive = build_twice(work)
        found = judge.judge_content(wheel, work)
        print(f"{wheel.name}: built twice, equal; {'; '.join(found)}")
        if platform.machine() == "x86_64":
            try:
                print(f"dispatch: {judge.check_dispatch(archive)}")
            except FileNotFoundError as error:
                print(f"dispatch: skipped: {error}")
        environment = asked.into or work / "environment"
        python, seconds = trial.install(wheel, environment)
        print(f"fresh environment: {seconds:.0f} s from nothing to the end of the first demo")
        print(f"fresh environment: {trial.codecs(python)}; {import_cost(python)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
