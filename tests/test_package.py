"""The package as a user imports it: all names there, the engine loaded only when it is needed."""

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
