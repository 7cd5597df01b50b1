"""The comparison of two revisions: what is slower is told, and its plants fit the sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import revisions

ROOT = Path(__file__).resolve().parent.parent


def rounds(**ratios):
    base = {"put": 1.0, "get": 2.0, "syncs, counted": 300.0}
    head = {name: value * ratios.get(name.split(",")[0], 1.0) for name, value in base.items()}
    return [{"base": base, "head": head}] * 3


def test_equal_sides_are_within_the_gate(capsys):
    assert revisions._judge(rounds()) == 0
    assert "all within" in capsys.readouterr().out


@pytest.mark.parametrize(("what", "ratio"), [("put", 2.0), ("get", 1.3), ("syncs", 1.26)])
def test_what_takes_more_than_a_quarter_longer_fails_by_name(what, ratio, capsys):
    assert revisions._judge(rounds(**{what: ratio})) == 1
    slower = [line for line in capsys.readouterr().out.splitlines() if "<-- slower" in line]
    assert len(slower) == 1 and slower[0].startswith(what)


def test_one_round_that_met_something_else_does_not_fail():
    calm, hit = rounds(), rounds(put=9.0)
    assert revisions._judge([calm[0], hit[0], calm[0]]) == 0


@pytest.mark.parametrize("plant", revisions.PLANTS)
def test_a_plant_fits_the_file_that_it_is_for(plant):
    name, before, after = revisions.PLANTS[plant]
    assert (ROOT / name).read_text().count(before) == 1 and after != before
