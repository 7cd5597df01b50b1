"""A wheel is installed into an empty environment and used there: a kill, a recovery, tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.wheels.build import run, unpack
from tools.wheels.targets import WORK

TESTS = (
    "test_build.py", "test_package.py", "test_crc32c.py", "test_db.py", "test_recovery.py",
    "test_salvage.py", "test_log_format.py", "test_table_format.py",
)  # fmt: skip
"""Smoke and recovery: what is different on another CPU shows here."""
REQUIREMENTS = ("pytest>=8", "hypothesis>=6.100")
PACKAGES_MAX = 12
"""What an environment may hold with the wheel: how long an installation takes follows from that,
and the clock of a busy machine does not.
"""


def tests_alone(sdist: Path) -> Path:
    """The tests of the source distribution without the package, so that they find the wheel."""
    tree = unpack(sdist, WORK / "tests-alone")
    shutil.rmtree(tree / "oor")
    return tree


def install(wheel: Path, environment: Path) -> tuple[Path, float]:
    """Make an environment with nothing but the wheel in it and run the demonstration there.

    Returns its Python and the seconds from nothing to the demonstration's end.
    """
    shutil.rmtree(environment, ignore_errors=True)
    began = time.monotonic()
    run([sys.executable, "-m", "venv", environment])
    python = environment / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel])
    run([environment / "bin" / "oor", "demo", "--rounds", "1"], cwd=environment)
    seconds = time.monotonic() - began
    packages = run([python, "-m", "pip", "list", "--format=freeze", "--exclude", "pip",
                    "--exclude", "setuptools", "--disable-pip-version-check"]).split()  # fmt: skip
    if len(packages) > PACKAGES_MAX:
        raise SystemExit(f"the wheel brings {len(packages)} packages: {' '.join(packages)}")
    return python, seconds


def codecs(python: Path) -> str:
    """Which codecs the wheel finds by the names of their libraries; none is packed into it.

    SystemExit if it does not find one that the system's loader does.
    """
    script = (
        "import ctypes; from oor.codec import NUMBERS, missing\n"
        "def there(name):\n"
        "    try: return bool(ctypes.CDLL(name))\n"
        "    except OSError: return False\n"
        "sonames = {'zstd': 'libzstd.so.1', 'lz4': 'liblz4.so.1'}\n"
        "assert set(NUMBERS) == {'none', *sonames}\n"
        "for codec, soname in sonames.items():\n"
        "    print(codec, int(there(soname)), int(missing(codec) is None))\n"
    )
    rows = [
        line.split() for line in run([python, "-c", script], cwd=Path(python).parent).splitlines()
    ]
    for codec, there, found in rows:
        if there != found:
            raise SystemExit(f"{codec}: the loader finds its library: {there}; the wheel: {found}")
    here = [codec for codec, _, found in rows if found == "1"]
    return f"codecs by soname: {', '.join(here) or 'none on this system'}"


def fresh(wheel: Path, tests: Path) -> tuple[Path, list[str]]:
    """Install into an empty environment, run the demonstration, then the tests.

    Returns the environment's Python and what was found, in words.
    """
    python, seconds = install(wheel, WORK / "fresh")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, *REQUIREMENTS])
    closing = pytest(python, tests)
    return python, [f"install and first demo {seconds:.0f} s", codecs(python), closing]


def offline(sdist: Path) -> str:
    """Build a wheel of the source distribution with nothing but what lies in one folder."""
    store = WORK / "offline"
    shutil.rmtree(store, ignore_errors=True)
    run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "-d", store, "scikit-build-core>=1.1", "cffi>=2.1", "ninja", "cmake>=3.18"])  # fmt: skip
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-index", "--find-links", store, "-w", store / "made", sdist],
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_EXTRA_INDEX_URL": ""})  # fmt: skip
    (made,) = (store / "made").glob("oor-*.whl")
    return f"{made.name} built from the source distribution without an index"


def pytest(python: Path, tests: Path, more: tuple[str, ...] = (), **environment: str) -> str:
    """Run the tests with `python`; returns pytest's closing line."""
    names = [Path("tests") / name for name in TESTS]
    said = run([python, "-m", "pytest", "-x", "-p", "no:cacheprovider", *more, *names],
               cwd=tests, env={**os.environ, **environment})  # fmt: skip
    return said.strip().splitlines()[-1]


def has(program: str) -> bool:
    """Whether a program is there and starts."""
    path = shutil.which(program)
    if path is None:
        return False
    return subprocess.run([path, "--version"], capture_output=True).returncode == 0
