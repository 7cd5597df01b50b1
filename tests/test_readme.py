"""What the README shows is so."""

import re
from pathlib import Path

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
