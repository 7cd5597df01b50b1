"""Every public name says what it is, and the examples of docstrings do what they show."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import oor

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(oor.__path__, "oor.")
    if not info.name.endswith(("._native", ".__main__"))
)
EXTRAS = ("opentelemetry", "prometheus_client", "pyarrow", "sgp4", "matplotlib", "pytest")


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


def test_the_front_door_and_the_store_have_examples():
    examples = [
        test
        for name in ("oor.db", "oor.registry.keys", "oor.registry.alpha5", "oor.cli.output")
        for test in doctest.DocTestFinder().find(imported(name), name)
        if test.examples
    ]
    assert any(test.name == "oor.db.open" for test in examples)


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
