"""The shape of the code: imports go down only, files and functions stay small, lines stay short."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LAYERS = """
errors options names telemetry | native | bulk codec batch memtable log table version trace |
pins manifest iterator short_scans | columns | reads | snapshot manners | state | pressure | publish | commit put flush compaction checkpoint analysis salvage
recovery lock | survey | compactor | background stats verify doctor handle | reader backup | db | metrics |
prometheus | aio registry | demo report torture | crashlab lab course | cli
"""
ORDER = {name: place for place, layer in enumerate(LAYERS.split("|")) for name in layer.split()}
COLUMNS = 100


def rooms():
    """(module, room, path) of every file of the package but its front door."""
    for path in sorted((ROOT / "oor").rglob("*.py")):
        parts = path.relative_to(ROOT / "oor").with_suffix("").parts
        if parts[0] not in ("__init__", "__main__"):
            yield ".".join(parts), parts[0], path


def imports(tree):
    """Names of oor's own modules that a file imports, wherever in it, but not for types alone."""
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (
                a.name.removeprefix("oor.") for a in node.names if a.name.startswith("oor.")
            )
        elif isinstance(node, ast.ImportFrom) and node.module == "oor":
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("oor."):
            yield node.module.removeprefix("oor.")
        assert not (isinstance(node, ast.ImportFrom) and node.level), "relative import"


def wrong_arrows(room, imported, order=ORDER):
    """Imports of `room` that do not go down, or along its own layer."""
    return [
        other
        for other in (name.split(".")[0] for name in imported)
        if other in order and other != room and order[other] > order[room]
    ]


def test_every_import_goes_down():
    arrows = {}
    for module, room, path in rooms():
        assert room in ORDER, f"{module} has no place in the layers"
        found = wrong_arrows(room, imports(ast.parse(path.read_text(encoding="ascii"))))
        if found:
            arrows[module] = found
    assert not arrows


def test_no_two_modules_of_a_layer_import_each_other_in_a_circle():
    graph = {}
    for _, room, path in rooms():
        graph.setdefault(room, set()).update(
            name.split(".")[0] for name in imports(ast.parse(path.read_text(encoding="ascii")))
        )
    done = set()

    def visit(room, trail):
        assert room not in trail, " -> ".join([*trail, room])
        if room not in done:
            for other in sorted(graph.get(room, set()) - {room}):
                visit(other, [*trail, room])
            done.add(room)

    for room in sorted(graph):
        visit(room, [])


def test_the_search_sees_an_arrow_that_goes_up():
    assert wrong_arrows("memtable", ["db", "native", "options"]) == ["db"]
    found = imports(
        ast.parse("def f():\n    from oor.db import DB\nimport oor.cli.main\nfrom oor import names")
    )
    assert sorted(found) == ["cli.main", "db", "names"]


def test_only_native_imports_the_compiled_module():
    importers = [
        module
        for module, _, path in rooms()
        if "_native" in path.read_text(encoding="ascii")
        and "_native" in set(imports(ast.parse(path.read_text())))
    ]
    assert importers == ["native"]


ROOMS_OF_PYTHON = ("oor", "tests", "bench", "fuzz", "tools", "examples")
ROOMS_OF_C = ("csrc", "tests/c", "fuzz", "bench")


def sources():
    """Every source of the tree, tests and tools with it."""
    for room in ROOMS_OF_PYTHON:
        yield from sorted((ROOT / room).rglob("*.py"))
    for room in ROOMS_OF_C:
        yield from sorted((ROOT / room).glob("*.[ch]"))


def test_files_are_ascii_with_short_lines_and_not_too_many_of_them():
    wrong = []
    for path in sources():
        lines = path.read_bytes().decode("ascii").splitlines()
        # A table of a test may have a case a line.
        tabled = path.is_relative_to(ROOT / "tests")
        wide = [n for n, line in enumerate(lines, 1) if len(line) > COLUMNS and not tabled]
        # The C API is one header, so that the cdef is cut from one place.
        if wide or (len(lines) >= 500 and path.name != "oor.h"):
            wrong.append((path.name, len(lines), wide))
    assert not wrong


def test_functions_are_short():
    long = []
    for path in (path for path in sources() if path.suffix == ".py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="ascii"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                size = node.end_lineno - node.lineno + 1
                if size >= 70:
                    long.append((path.name, node.name, size))
    for path in (path for path in sources() if path.suffix == ".c"):
        start = None
        lines = path.read_text(encoding="ascii").splitlines()
        for number, line in enumerate(lines):
            if re.match(r"[A-Za-z_].*\)\s*\{$|[A-Za-z_].*\{$", line) and not line.startswith(
                ("enum", "struct", "typedef")
            ):
                start = number
            elif line == "}" and start is not None:
                if number - start + 1 >= 70:
                    long.append((path.name, lines[start], number - start + 1))
                start = None
    assert not long
