"""What the README shows is so."""

import re
from pathlib import Path

import pytest

from oor.cli.app import COMMANDS, app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out == "b'20580' b'HST'\nb'25544' b'ISS (ZARYA)'\n"


def test_the_commands_it_names_exist_with_their_options():
    shown = re.findall(r"^oor (\w+)(.*?)(?:#.*)?$", README, re.MULTILINE)
    assert len(shown) >= 8
    for name, rest in shown:
        known = {option for p in app.get_command(None, name).params for option in p.opts}
        assert name in COMMANDS
        assert set(re.findall(r"--[\w-]+", rest)) <= known


def test_its_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md",
         *sorted((ROOT / "docs").rglob("*.md"))]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_links_to_or_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)}
    links = {link for link in links if link and not link.startswith("https://")}
    named = re.findall(r"`((?:docs|tests|bench|oor|csrc|fuzz|tools|examples)/[\w./-]+)`", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert [name for name in named if not (ROOT / name).exists()] == []
