"""Wheels on CPUs that this machine does not have: user-mode emulation by QEMU.

A Python that runs emulated starts others through a script of its own, so that the children of a
test, those that it kills too, are emulated as it is.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tools.wheels.build import run
from tools.wheels.targets import WORK
from tools.wheels.trial import REQUIREMENTS, has, pytest

CRC32C = "from oor.native import ffi, lib; print(ffi.string(lib.oor_crc32c_name()).decode())"
# CPU model -> the implementation of the checksum that must be chosen there.
OLD_CPUS = {"qemu64": "portable", "Nehalem": "portable", "Westmere": "sse42"}
ARM_PYTHON = ("python3.11-minimal", "libpython3.11-stdlib")


class Missing(Exception):
    """What is needed for a trial cannot be had here; the text says what."""


def emulator(machine: str) -> str:
    """The program that runs one of `machine`; fetched where Debian's tools can fetch it."""
    name = f"qemu-{machine}-static"
    if not has(name) and shutil.which("apt-get") and os.geteuid() == 0:
        for command in (["update"], ["install", "-y", "qemu-user-static"]):
            subprocess.run(["apt-get", "-qq", *command], capture_output=True)
    if not has(name):
        raise Missing(f"{name} (Debian: qemu-user-static) is not installed")
    return name


def old_cpu(python: Path, cpu: str, tests: Path) -> str:
    """The tests on an x86-64 without the newer instructions, in the environment of `python`."""
    if platform.machine() != "x86_64":
        raise Missing("the environment of the x86-64 wheel runs on x86-64")
    emulated, environment = _python([emulator("x86_64"), "-cpu", cpu, str(python)], cpu)
    _expect(emulated, environment, cpu, OLD_CPUS[cpu])
    return f"crc32c {OLD_CPUS[cpu]}; {pytest(emulated, tests, **environment)}"


def aarch64(wheel: Path, tests: Path) -> str:
    """The tests, and a kill with recovery, on 64-bit ARM."""
    qemu = emulator("aarch64")
    root = _arm_root()
    site = WORK / "arm" / "site"
    shutil.rmtree(site, ignore_errors=True)
    run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--platform", "manylinux2014_aarch64", "--only-binary=:all:", "--python-version", "3.11",
         "--implementation", "cp", "--target", site, wheel, *REQUIREMENTS])  # fmt: skip
    command = [qemu, "-L", str(root), str(root / "usr/bin/python3.11")]
    emulated, environment = _python(command, "aarch64")
    environment["PYTHONPATH"] += os.pathsep + str(site)
    _expect(emulated, environment, "aarch64", "armv8")
    demo = run([emulated, "-m", "oor", "demo", "--rounds", "1"], cwd=WORK,
               env={**os.environ, **environment})  # fmt: skip
    killed = next(line for line in demo.splitlines() if line.startswith("sync"))
    return (
        f"crc32c armv8; {pytest(emulated, tests, **environment)}; killed and recovered:"
        f" {' '.join(killed.split())}"
    )


def _arm_root() -> Path:
    """Debian's Python for arm64 with all it needs, unpacked into a folder; nothing is installed."""
    place = WORK.parent / "arm64"
    root = place / "root"
    if (root / "usr/bin/python3.11").exists():
        return root
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Missing("Debian's apt-get and dpkg-deb, which fetch a Python for arm64")
    for folder in ("lists/partial", "cache/archives/partial", "root"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    apt = ["apt-get", "-qq", "-y", "-o", "APT::Architecture=arm64",
           "-o", "APT::Architectures=arm64", "-o", f"Dir::State::Lists={place / 'lists'}",
           "-o", f"Dir::State::status={place / 'status'}", "-o", f"Dir::Cache={place / 'cache'}",
           "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]  # fmt: skip
    for rest in (["update"], ["--download-only", "--no-install-recommends", "install",
                              *ARM_PYTHON]):  # fmt: skip
        done = subprocess.run([*apt, *rest], capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"Debian's packages for arm64: {done.stderr.strip()[-200:]}")
    for package in sorted((place / "cache/archives").glob("*.deb")):
        run(["dpkg-deb", "-x", package, root])
    return root


def _python(command: list[str], name: str) -> tuple[Path, dict[str, str]]:
    """A script that is a Python run by `command`, and the environment that makes it stay so."""
    folder = WORK / "emulated" / name
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "python"
    quoted = " ".join(f"'{part}'" for part in command)
    script.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n', encoding="ascii")
    script.chmod(0o755)
    (folder / "sitecustomize.py").write_text(
        f"import sys\n\nsys.executable = {str(script)!r}\n", encoding="ascii"
    )
    return script, {"PYTHONPATH": str(folder)}


def _expect(python: Path, environment: dict[str, str], cpu: str, wanted: str) -> None:
    """The dispatch must have found what the CPU has: falling back silently is slow, not wrong."""
    # Not in the project's folder, where the sources without their compiled half would be found.
    found = run([python, "-c", CRC32C], cwd=WORK, env={**os.environ, **environment}).split()[-1]
    if found != wanted:
        raise SystemExit(f"on {cpu} the checksum is {found}, and {wanted} was expected")
