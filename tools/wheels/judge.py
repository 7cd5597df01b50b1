"""What a wheel must be: small, of the stable ABI, of old C libraries only, with one symbol, and
with no instruction that a CPU of its kind may lack unless it was asked first.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tools.wheels.targets import SIZE_MAX, WORK, Target

MODULE = "oor/_native.abi3.so"
LIBRARIES = {
    "libc.so.6", "libpthread.so.0", "libdl.so.2", "libm.so.6", "librt.so.1",
    "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so",
}  # fmt: skip
"""What every Linux of either C library has."""


def judge(wheel: Path, target: Target) -> list[str]:
    """Raise SystemExit if the wheel is not what it must be; returns what was found, in words."""
    found = judge_content(wheel, WORK / "unpacked" / target.zig)
    return [*found, _platform(wheel, target)]


def judge_content(wheel: Path, folder: Path) -> list[str]:
    """The same without the platform that its name promises; unpacks it below `folder`."""
    size = wheel.stat().st_size
    if size > SIZE_MAX:
        raise SystemExit(f"{wheel.name}: {size:,} bytes, more than {SIZE_MAX:,}")
    with zipfile.ZipFile(wheel) as archive:
        module = Path(archive.extract(MODULE, folder))
    symbols = exported(module)
    if symbols != {"PyInit__native"}:
        raise SystemExit(f"{wheel.name}: exports {sorted(symbols)}")
    foreign = needed(module) - LIBRARIES
    if foreign:
        raise SystemExit(f"{wheel.name}: needs {sorted(foreign)}")
    if any(str(place).encode() in module.read_bytes() for place in (WORK, wheel.parent.parent)):
        raise SystemExit(f"{wheel.name}: holds the path of the folder that it was built in")
    return [f"{size / 1000:,.0f} kB", "exports PyInit__native", _abi3(wheel)]


def exported(module: Path) -> set[str]:
    """Names that the module gives to the dynamic linker."""
    with module.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        return {
            symbol.name
            for symbol in table.iter_symbols()
            if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] != "STB_LOCAL"
        }


def needed(module: Path) -> set[str]:
    """Shared libraries that the module names."""
    with module.open("rb") as file:
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        assert isinstance(dynamic, DynamicSection)
        return {tag.needed for tag in dynamic.iter_tags() if tag.entry.d_tag == "DT_NEEDED"}


def _abi3(wheel: Path) -> str:
    command = [sys.executable, "-m", "abi3audit", "--strict", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{wheel.name}: {done.stdout}{done.stderr}")
    return "abi3audit --strict clean"


def _platform(wheel: Path, target: Target) -> str:
    """What auditwheel finds must be what the name promises."""
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    if target.musl:
        # On a system with glibc auditwheel takes that for the library of a musl wheel. The name is
        # right because `needed` holds the module to libc.so, of which musl has one version.
        return "auditwheel: only where musl is at home"
    found = re.search(r'platform\s+tag:\s+"(\w+)"', done.stdout)
    if done.returncode or found is None or found[1] not in target.platforms.split("."):
        raise SystemExit(f"{wheel.name}: {done.stdout}{done.stderr}")
    return f"auditwheel: {found[1]}"


def wide_functions(archive: Path) -> dict[str, int]:
    """Functions of a static library of x86-64 that touch registers wider than SSE's, with counts.

    The library is not stripped: its functions have names.
    """
    objdump = shutil.which("objdump")
    if objdump is None:
        raise FileNotFoundError("objdump (binutils) is not installed")
    text = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", str(archive)], capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    found: dict[str, int] = {}
    name = ""
    for line in text.splitlines():
        head = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        if head:
            name = head[1]
        elif re.search(r"%[yz]mm\d", line):
            found[name] = found.get(name, 0) + 1
    return found


def check_dispatch(archive: Path) -> str:
    """Wide registers only in functions whose names say so, which a probe of the CPU guards."""
    found = wide_functions(archive)
    strays = sorted(name for name in found if not name.startswith(("avx2", "avx512")))
    if strays:
        raise SystemExit(f"{archive}: wide registers outside of dispatched functions: {strays}")
    return f"wide registers only in {', '.join(sorted(found)) or 'no function'}"
