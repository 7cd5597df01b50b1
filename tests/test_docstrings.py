"""Every public name says what it is, what it raises and in which unit, and is in an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
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


PAGES = sorted((ROOT / "docs" / "api").glob("*.md"))
NEEDS = {"registry": ("sgp4", "numpy", "pyarrow")}
CALLED_BY_THE_ENGINE = {"described", "end", "explore_recorded", "images_of", "note", "try_state",
                        "points_of", "shuffled", "add", "wrote", "live_bytes", "read_stats",
                        "read_amplification", "bare"}  # fmt: skip
"""Shown since the reference shows whole modules; nothing that a program would call."""
TIMES = re.compile(r"timeout|interval|seconds|delay|period|\bage\b")


def referenced(pages=PAGES):
    """The names that the reference in docs/api shows."""
    text = "".join(path.read_text("utf-8") for path in pages)
    return re.findall(r"^::: (\S+)$", text, re.MULTILINE)


def reference(pages=PAGES):
    """(name, thing) of all that it shows."""
    for name in referenced(pages):
        try:
            thing = imported(name)
        except ModuleNotFoundError:
            module, _, what = name.rpartition(".")
            thing = getattr(imported(module), what)
        yield from shown(thing, name)


def examples_of(page):
    """The examples of a page, one behind the other."""
    blocks = re.findall(r"^```pycon\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_show_what_happens(page):
    for needed in NEEDS.get(page.stem, ()):
        pytest.importorskip(needed)
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    runner, out = doctest.DocTestRunner(verbose=False, optionflags=flags), []
    runner.run(examples_of(page), out=out.append)
    assert not out, "".join(out)
    assert runner.tries > 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_name_of_a_page_is_in_an_example(page):
    text = page.read_text("utf-8").partition("## Reference")[0]
    without = []
    for name, thing in reference([page]):
        word = name.rpartition(".")[2]
        own = any(test.examples for test in doctest.DocTestFinder(recurse=False).find(thing, name))
        if inspect.ismodule(thing) or own or word in CALLED_BY_THE_ENGINE:
            continue
        if not re.search(rf"\b{word}\b", text):
            without.append(name)
    assert without == []


def raised_in(function):
    """The names of the exceptions that the text of a function raises."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = getattr(what, "attr", getattr(what, "id", ""))
            if name[:1].isupper():
                yield name


def test_what_a_function_of_the_reference_raises_itself_its_docstring_says():
    silent = {
        name: sorted(missing)
        for name, thing in reference()
        if inspect.isfunction(thing)
        and (
            missing := set(raised_in(thing)) - set(re.findall(r"\w+", inspect.getdoc(thing) or ""))
        )
    }
    assert silent == {}


def test_times_of_the_reference_have_their_unit():
    without = [
        (name, parameter.name)
        for name, thing in reference()
        if inspect.isfunction(thing)
        for parameter in inspect.signature(thing).parameters.values()
        if TIMES.search(parameter.name)
        and "timedelta" not in str(parameter.annotation)
        and "second" not in (inspect.getdoc(thing) or "")
    ]
    assert without == []


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


def test_every_name_of_the_reference_has_a_docstring():
    assert [name for name, thing in reference() if not inspect.getdoc(thing)] == []


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
