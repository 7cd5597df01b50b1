"""Every public name says what it is, and the examples of docstrings do what they show."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import oor

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(oor.__path__, "oor.")
    if not info.name.endswith(("._native", ".__main__"))
)
EXTRAS = (
    "opentelemetry",
    "prometheus_client",
    "pyarrow",
    "sgp4",
    "matplotlib",
    "zstandard",
    "pytest",
)


def imported(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if error.name in EXTRAS:
            pytest.skip(f"{name} needs the extra {error.name}")
        raise


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_show_what_happens(name):
    module = imported(name)
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(verbose=False)
    for test in finder.find(module, name):
        out = []
        runner.run(test, out=out.append)
        assert not out, "".join(out)


@pytest.mark.parametrize(
    "name",
    [
        "oor.db.open",
        "oor.aio.open",
        "oor.batch.WriteBatch",
        "oor.snapshot.Snapshot",
        "oor.reader.ReadOnlyDB",
        "oor.metrics.render",
        "oor.registry.parse.parse",
        "oor.registry.ingest.ingest",
        "oor.registry.registry.Registry",
    ],
)
def test_what_a_user_meets_first_has_an_example(name):
    module, _, what = name.rpartition(".")
    thing = getattr(imported(module), what)
    assert any(test.examples for test in doctest.DocTestFinder().find(thing, name))


def referenced():
    """The names that the reference in docs/api shows."""
    text = "".join(path.read_text("utf-8") for path in sorted((ROOT / "docs" / "api").glob("*.md")))
    return re.findall(r"^::: (\S+)$", text, re.MULTILINE)


def shown(thing, name):
    """(name, thing) of what the reference shows of a name: itself and its public members."""
    yield name, thing
    for key, value in vars(thing).items() if inspect.ismodule(thing) else inspect.getmembers(thing):
        own = getattr(value, "__module__", None)
        if key.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if inspect.ismodule(thing):
            if own == thing.__name__:
                yield from shown(value, f"{name}.{key}")
        elif str(own).startswith("oor") and inspect.isfunction(value):
            yield f"{name}.{key}", value


@pytest.mark.parametrize("name", referenced())
def test_every_name_of_the_reference_has_a_docstring(name):
    try:
        thing = imported(name)
    except ModuleNotFoundError:
        module, _, what = name.rpartition(".")
        thing = getattr(imported(module), what)
    assert [key for key, value in shown(thing, name) if not inspect.getdoc(value)] == []


def test_every_public_name_has_a_docstring():
    bare = []
    for name in oor.__all__:
        thing = getattr(oor, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        members = [(name, thing)]
        if inspect.isclass(thing):
            members += [
                (f"{name}.{key}", value)
                for key, value in inspect.getmembers(thing, inspect.isfunction)
                if not key.startswith("_") and value.__module__.startswith("oor")
            ]
        bare += [key for key, value in members if not inspect.getdoc(value)]
    assert not bare
