"""The package as a user imports it: all names there, the engine loaded only when it is needed.

What an import costs is counted in modules, which are the same on every machine. In time it is
what `make wheel` prints.
"""

import json
import subprocess
import sys

import pytest

import oor


def test_every_public_name_is_there_and_listed():
    for name in oor.__all__:
        assert getattr(oor, name) is not None
    assert set(oor.__all__) <= set(dir(oor))


def test_a_name_that_is_none_is_refused_as_anywhere():
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        _ = oor.opne


def test_importing_the_package_does_not_load_the_engine_and_opening_does(tmp_path):
    script = (
        "import sys, oor\n"
        "assert 'oor.native' not in sys.modules\n"
        f"oor.open({str(tmp_path / 's.oor')!r}).close()\n"
        "assert 'oor.native' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def loaded_by(statement):
    """The modules that a statement brings into an interpreter that has just started."""
    script = (
        "import sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "found = set(sys.modules) - before; import json; print(json.dumps(sorted(found)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_nothing_but_itself_and_the_names_of_types():
    assert loaded_by("import oor") <= {
        "oor",
        *loaded_by("import typing, importlib.util, importlib.machinery"),
    }


def test_the_first_open_loads_the_engine_and_few_modules_of_others():
    found = loaded_by("import oor; oor.open")
    others = {name for name in found if name.split(".")[0] not in ("oor", "sortedcontainers")}
    assert len(others) <= 80, sorted(others)
    heavy = {"argparse", "asyncio", "click", "ctypes", "hashlib", "rich", "socket", "subprocess"}
    assert not heavy & found
    assert not {"oor.cli", "oor.registry", "oor.crashlab", "oor.demo", "oor.aio"} & found
