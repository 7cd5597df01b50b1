"""The examples run, each in a process of its own, and print what they promise."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PROMISED = {
    "catalogue.py": ("object 5: newest", "from operator", "200 objects", "CCSDS_OMM_VERS"),
    "five_sources.py": ("2,000 objects merged in", "operator"),
}
NEEDS = {"five_sources.py": ("duckdb", "pyarrow")}


def test_every_example_is_run():
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(PROMISED)


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_an_example_runs_and_prints_what_it_promises(name):
    missing = [one for one in NEEDS.get(name, ()) if importlib.util.find_spec(one) is None]
    if missing:
        pytest.skip(f"the example needs {', '.join(missing)}")
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for words in PROMISED[name]:
        assert words in done.stdout
