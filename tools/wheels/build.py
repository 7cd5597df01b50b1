"""The source distribution and, from it, the wheels; each made twice, in two folders.

Bytes that depend on the folder or on the clock would make a wheel that nobody can check, so both
makings have to agree in every byte.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tools.wheels.targets import DIST, ROOT, WORK, Target

HERE = Path(__file__).parent


def run(command: list[str | Path], **more: object) -> str:
    """Run a command and return what it printed; its whole output is shown if it fails."""
    together = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(
        [str(part) for part in command],
        **together | more,  # type: ignore[call-overload]
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    return str(done.stdout)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source_distribution() -> Path:
    """Make dist/oor-*.tar.gz, and again from its own content: equal, so nothing was left out."""
    for old in DIST.glob("oor-*"):
        old.unlink()
    first = _sdist(ROOT, DIST)
    shutil.rmtree(WORK / "again", ignore_errors=True)
    tree = unpack(first, WORK / "sdist")
    (tree / "PKG-INFO").unlink()  # the build writes it; found there, it would move in the archive
    again = _sdist(tree, WORK / "again")
    if digest(first) != digest(again):
        raise SystemExit("two source distributions differ")
    return first


def _sdist(source: Path, out: Path) -> Path:
    run([sys.executable, "-m", "build", "--sdist", "--no-isolation", "-o", out, source],
        env=clock())  # fmt: skip
    (made,) = out.glob("oor-*.tar.gz")
    return made


def clock() -> dict[str, str]:
    """The environment with a time that stands still and a compiler cache that lies in build/."""
    return {
        **os.environ,
        "SOURCE_DATE_EPOCH": "1704067200",
        "ZIG_GLOBAL_CACHE_DIR": str(ROOT / "build" / "zig-cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a source distribution into an empty folder; returns the tree."""
    shutil.rmtree(into, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    (tree,) = into.iterdir()
    return tree


def wheel(sdist: Path, target: Target) -> Path:
    """The wheel of `target` in dist/, built in two folders and equal in both."""
    made = [
        _wheel(unpack(sdist, WORK / side / target.zig), WORK / "out" / side / target.zig, target)
        for side in ("a", "somewhere-else")
    ]
    if digest(made[0]) != digest(made[1]):
        raise SystemExit(f"{target.name}: two builds differ: {made[0]} {made[1]}")
    return Path(shutil.copy(made[0], DIST))


def _wheel(source: Path, out: Path, target: Target) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    tools = _tools()
    # Under isolation pip would look for an aarch64 cffi to run on this machine.
    settings = [
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={target.machine}",
        f"-DCMAKE_AR={tools / 'zig-ar'}",
        f"-DCMAKE_RANLIB={tools / 'zig-ranlib'}",
        "-DCMAKE_MODULE_LINKER_FLAGS=-Wl,-s",
    ]
    environment = clock() | {
        "CC": str(tools / "zig-cc"),
        "OOR_ZIG_PYTHON": sys.executable,
        "OOR_ZIG_TARGET": target.zig,
        "_PYTHON_HOST_PLATFORM": f"linux-{target.machine}",
    }
    environment.pop("CFLAGS", None)
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out,
         f"-Ccmake.args={';'.join(settings)}", "-Cinstall.strip=false", source],
        env=environment)  # fmt: skip
    (plain,) = out.glob("oor-*.whl")
    # Nothing is grafted into it, so that the right name is all that it lacks.
    run([sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", target.platforms,
         plain], env=clock())  # fmt: skip
    (named,) = out.glob("oor-*.whl")
    return named


def _tools() -> Path:
    """The names under which CMake finds zig: one script with three."""
    folder = WORK / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("cc", "ar", "ranlib"):
        link = folder / f"zig-{name}"
        link.unlink(missing_ok=True)
        link.symlink_to(HERE / "zig")
    return folder
