"""Errors say what, where, and survive a pickle."""

from __future__ import annotations

import copy
import errno
import pickle

import pytest

import oor
from oor import errors, native
from oor.native import lib

CLASSES = [
    cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, oor.OorError)
]
FIELDS = {"path": "/a/b", "segment": 3, "offset": 4096, "first_lsn": 7, "last_lsn": 9}


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_a_pickle_and_a_copy_with_all_its_fields(cls):
    error = cls("what happened", errno=errno.EIO, **FIELDS)
    error.note = "more"
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is cls
        assert {name: getattr(twin, name) for name in FIELDS} == FIELDS
        assert str(twin) == str(error)
        assert twin.note == "more"
        if isinstance(error, OSError):
            assert twin.errno == errno.EIO


@pytest.mark.parametrize("cls", CLASSES)
def test_the_text_says_where(cls):
    text = str(cls("what happened", **FIELDS))
    assert text == "what happened [path /a/b, segment 3, offset 4096, first lsn 7, last lsn 9]"
    assert str(cls("what happened")) == "what happened"


def test_errors_are_caught_by_the_builtin_that_they_are_a_kind_of():
    assert issubclass(oor.StorageError, OSError)
    assert issubclass(oor.DiskFullError, oor.StorageError)
    assert issubclass(oor.FailedError, oor.StorageError)
    assert issubclass(oor.LimitError, ValueError)
    assert issubclass(oor.WaitTimeout, TimeoutError)
    assert not issubclass(oor.CorruptionError, OSError)


def test_every_code_of_the_c_half_has_its_exception():
    codes = {name: getattr(lib, name) for name in dir(lib) if name.startswith("OOR_E_")}
    unmapped = set(codes.values()) - set(native._BY_CODE) - {lib.OOR_E_MEMORY, lib.OOR_E_BROKEN}
    assert not unmapped, codes


def test_an_error_of_the_system_carries_its_errno_and_path(tmp_path):
    missing = str(tmp_path / "missing")
    with pytest.raises(oor.StorageError) as caught:
        native.File(missing, native.READ)
    assert caught.value.errno == errno.ENOENT
    assert caught.value.path == missing
