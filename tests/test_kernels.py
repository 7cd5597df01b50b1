"""Instructions of the C half's inner loops: as many as the baseline says, on a machine like its."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench import kernels, revisions

ROOT = Path(__file__).resolve().parent.parent
BASELINE = json.loads(kernels.BASELINE.read_text())
COUNTS = BASELINE["instructions"]


@pytest.fixture(scope="module")
def program():
    if shutil.which("valgrind") is None:
        pytest.skip("instructions are counted by valgrind, which is not installed")
    return kernels.build()


def test_an_inner_loop_takes_the_instructions_of_the_baseline(program):
    if apart := kernels.differences(BASELINE["fingerprint"]):
        pytest.skip(f"the baseline is of another machine: {'; '.join(apart)}")
    found = kernels.count(program)
    assert found.keys() == COUNTS.keys()
    assert not kernels.excesses(found, COUNTS)


def test_the_kernels_that_matter_are_counted():
    assert {"crc32c", "frame", "block_seek", "merge", "tle_scan"} <= COUNTS.keys()


@pytest.mark.parametrize("name", COUNTS)
def test_a_loop_that_grows_by_a_fifth_is_told_by_name(name):
    found = COUNTS | {name: COUNTS[name] * 1.2}
    (line,) = kernels.excesses(found, COUNTS)
    assert line.startswith(f"{name}:")
    assert not kernels.excesses(COUNTS, COUNTS)


def test_a_checksum_that_works_twice_is_told(program, tmp_path):
    tree = tmp_path / "tree"
    for name in ("csrc", "fuzz", "tests/c"):
        shutil.copytree(ROOT / name, tree / name)
    shutil.copy(ROOT / "CMakeLists.txt", tree)
    name, before, after = revisions.PLANTS["slow"]
    text = (tree / name).read_text()
    assert text.count(before) == 1
    (tree / name).write_text(text.replace(before, after))
    plain = kernels.count(program, ["crc32c"])
    planted = kernels.count(kernels.build(tree, tmp_path / "build"), ["crc32c"])
    (line,) = kernels.excesses(planted, plain)
    assert line.startswith("crc32c:")


def test_another_compiler_is_no_regression(program):
    said = BASELINE["fingerprint"] | {"compiler": "another"}
    assert any(line.startswith("compiler") for line in kernels.differences(said))
