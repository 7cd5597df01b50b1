"""Errors say what, where, and survive a pickle."""

from __future__ import annotations

import ast
import copy
import errno
import pickle
from pathlib import Path

import pytest
from support.engine import kill

import oor
from oor import errors, native, trace
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
    text = "what happened [path /a/b, segment 3, offset 4096, first lsn 7, last lsn 9]"
    advice = f"; {cls.advice}" if cls.advice else ""
    assert str(cls("what happened", **FIELDS)) == text + advice
    assert cls("what happened", **FIELDS).described() == text
    assert str(cls("what happened", advice="do this")) == "what happened; do this"


def test_errors_are_caught_by_the_builtin_that_they_are_a_kind_of():
    assert issubclass(oor.StorageError, OSError)
    assert issubclass(oor.DiskFullError, oor.StorageError)
    assert issubclass(oor.FailedError, oor.StorageError)
    assert issubclass(oor.LimitError, ValueError)
    assert issubclass(oor.WaitTimeout, TimeoutError)
    assert issubclass(oor.OutOfMemoryError, MemoryError)
    assert not issubclass(oor.CorruptionError, OSError)


def test_every_code_of_the_c_half_has_its_exception():
    codes = {name: getattr(lib, name) for name in dir(lib) if name.startswith("OOR_E_")}
    unmapped = set(codes.values()) - set(native._BY_CODE) - {lib.OOR_E_BROKEN}
    assert not unmapped, codes


def test_an_error_of_the_system_carries_its_errno_and_path(tmp_path):
    missing = str(tmp_path / "missing")
    with pytest.raises(oor.StorageError) as caught:
        native.File(missing, native.READ)
    assert caught.value.errno == errno.ENOENT
    assert caught.value.path == missing


def test_corruption_says_what_to_do_next():
    text = str(oor.CorruptionError("frames are gone"))
    assert "oor verify" in text and 'recovery="salvage"' in text and "backup" in text
    assert str(oor.CorruptionError("x", advice=errors.RESTORE)) == "x; restore a backup"


OF_THE_LANGUAGE = {
    "TypeError": "an argument of a wrong type, as any function raises it",
    "KeyError": "a key that is not there, as a mapping raises it",
    "AttributeError": "a name that is not there",
    "StopIteration": "the end of an iterator",
    "AssertionError": "a bug of the package",
    "ImportError": "this Python is none that the package works with",
    "SystemExit": "the end of a command",
}
NEVER_SEEN = {
    ("oor/registry/omm/model.py", "Refused"): "the scanner makes a reject of it",
    ("oor/registry/omm/csv.py", "Refused"): "the scanner makes a reject of it",
    ("oor/registry/omm/json.py", "Refused"): "the scanner makes a reject of it",
    ("oor/registry/omm/xml.py", "Refused"): "the scanner makes a reject of it",
    ("oor/registry/omm/kvn.py", "Refused"): "the scanner makes a reject of it",
    ("oor/registry/omm/json.py", "ValueError"): "json.loads is told so of NaN; a reject",
    ("oor/registry/sources.py", "OSError"): "becomes InputError with its text",
    ("oor/registry/sources.py", "EOFError"): "becomes InputError with its text",
    ("oor/registry/zstd.py", "OSError"): "becomes InputError with its text",
    ("oor/registry/zstd.py", "EOFError"): "becomes InputError with its text",
    ("oor/manifest.py", "ValueError"): "becomes CorruptionError with its text",
    ("oor/crashlab/run.py", "NeutralityError"): "the explorer makes a violation of it",
    ("oor/course/progress.py", "ValueError"): "becomes OorError with its text",
}


def raised_classes(source):
    """(line, name) of each class that is raised by a call of it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            called = node.exc.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name[:1].isupper():
                yield node.lineno, name


def test_whatever_a_user_or_a_disk_causes_derives_from_the_root():
    root = Path(errors.__file__).parent
    own = {cls.__name__ for cls in CLASSES}
    sources = {
        f"oor/{path.relative_to(root)}": path.read_text() for path in sorted(root.rglob("*.py"))
    }
    for source in sources.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and any(
                getattr(base, "id", "") in own for base in node.bases
            ):
                own.add(node.name)
    for place, source in sources.items():
        for line, name in raised_classes(source):
            known = name in own or name in OF_THE_LANGUAGE or (place, name) in NEVER_SEEN
            # The commands end with click's own errors, which its caller prints.
            known = known or (place.startswith("oor/cli/") and name in CLICK)
            assert known, f"{place}:{line} raises {name}"


CLICK = {"BadParameter", "UsageError", "ClickException", "Exit", "Abort"}


def test_the_search_sees_a_class_of_another_root():
    assert list(raised_classes("def f():\n    raise RuntimeError('x')\n")) == [(2, "RuntimeError")]


def test_a_failed_write_says_which_errno_ended_it(tmp_path):
    with trace.Trace() as recorder:
        db = oor.open(tmp_path / "s", background=False)
        db.put(b"a", b"1")
        recorder.fail(trace.MUTATING, errno=errno.EIO, forever=True)
        with pytest.raises(oor.FailedError) as first:
            db.put(b"b", b"2")
        with pytest.raises(oor.FailedError) as later:
            db.put(b"c", b"3")
        recorder.heal()
        assert first.value.errno == later.value.errno == errno.EIO
        assert first.value.path.startswith(str(tmp_path))
        kill(db)
