"""The door to the disk is the only one: nothing else opens, syncs, renames or unlinks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SYSTEM_CALLS = """
open openat open64 creat fopen freopen fdopen close read pread preadv write pwrite pwritev fwrite
fsync fdatasync sync syncfs sync_file_range msync rename renameat renameat2 link linkat symlink
unlink unlinkat remove rmdir mkdir mkdirat mkstemp truncate ftruncate fallocate posix_fallocate
mmap munmap mremap opendir fdopendir readdir flock lockf fcntl sendfile copy_file_range splice
"""
CALL = re.compile(r"(?<![\w.>])(" + "|".join(SYSTEM_CALLS.split()) + r")\s*\(")


def code_only(text: str) -> str:
    """C without comments and string literals."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', " ", text, flags=re.DOTALL)


def system_calls(text: str) -> set[str]:
    return set(CALL.findall(code_only(text)))


MEMORY = {"mmap", "munmap", "mremap"}


def test_only_the_door_calls_the_system_from_c():
    offenders = {
        path.name: found
        for path in sorted((ROOT / "csrc").glob("*.[ch]"))
        if path.name != "io.c"
        and (
            found := system_calls(path.read_text(encoding="ascii"))
            - (MEMORY if path.name == "memory.c" else set())
        )
    }
    assert not offenders


def test_what_maps_memory_maps_no_file():
    text = code_only((ROOT / "csrc" / "memory.c").read_text(encoding="ascii"))
    calls = re.findall(r"\bmmap\(([^;]*)\);", text)
    assert len(calls) == len(re.findall(r"\bmmap\b", text)) == 1
    assert "MAP_ANONYMOUS" in calls[0]
    assert calls[0].endswith("-1, 0")


def test_the_search_sees_a_call_and_spares_names_members_and_comments():
    assert system_calls("x = rename(a, b); fsync (fd);") == {"rename", "fsync"}
    spared = 'oor_io_rename(a); t->open(p); table.sync(f); /* open(x) */ s = "unlink(y)";'
    assert not system_calls(spared)


OF_OS = """
open fdopen fsync fdatasync sync rename renames replace unlink remove rmdir removedirs mkdir
makedirs truncate ftruncate link symlink write pwrite posix_fallocate copy_file_range sendfile
"""
OF_PATHS = """
unlink rename replace write_bytes write_text touch mkdir rmdir hardlink_to symlink_to
"""
FORBIDDEN_OS = frozenset(OF_OS.split())
FORBIDDEN_METHODS = frozenset(OF_PATHS.split())
FORBIDDEN_MODULES = {"shutil", "tempfile", "mmap", "fcntl"}
READERS = ("cli", "registry")  # read what a user gave them
WORKSHOP = "oor/demo/scratch.py"  # a folder of the demonstration's own, outside any store


def disk_uses(source: str, *, may_open: bool) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & FORBIDDEN_MODULES
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} & FORBIDDEN_MODULES
            if node.module == "os":
                found |= {f"os.{a.name}" for a in node.names if a.name in FORBIDDEN_OS}
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id="open") if not may_open:
                found.add("open")
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in FORBIDDEN_OS:
                found.add(f"os.{name}")
            case ast.Attribute(value=ast.Name(id="io"), attr="open") if not may_open:
                found.add("io.open")
            case ast.Attribute(value=value, attr=name) if name in FORBIDDEN_METHODS:
                # str.replace(old, new) and native.rename(...) are no use of a path object.
                path_like = "path" in ast.unparse(value).lower() and len(node.args) < 2
                if path_like and not ast.unparse(value).startswith("native"):
                    found.add(ast.unparse(node.func))
    return found


def test_only_the_door_touches_the_disk_from_python():
    offenders = {}
    for path in sorted((ROOT / "oor").rglob("*.py")):
        room = path.relative_to(ROOT / "oor").parts[0]
        found = disk_uses(path.read_text(encoding="utf-8"), may_open=room in READERS)
        name = str(path.relative_to(ROOT))
        if found and (name, found) != (WORKSHOP, {"tempfile"}):
            offenders[name] = found
    assert not offenders


def test_the_search_sees_each_way_round_the_door():
    uses = lambda text: disk_uses(text, may_open=False)
    assert uses("open('x')") == {"open"}
    assert uses("import os\nos.replace(a, b)\nos.fsync(f)") == {"os.replace", "os.fsync"}
    assert uses("import shutil") == {"shutil"}
    assert uses("from os import rename") == {"os.rename"}
    assert uses("from pathlib import Path\nPath(x).unlink()") == {"Path(x).unlink"}
    assert not uses("text.replace('a', 'b'); native.rename(a, b); os.path.join(a)")
    assert not disk_uses("open('x')", may_open=True)
