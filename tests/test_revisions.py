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


past = revisions.past_the_gate


def test_what_takes_longer_is_believed_when_it_does_each_time():
    calm, busy = past(rounds()), past(rounds(put=1.4))
    for series, told in (([busy, calm], False), ([busy, busy, calm], False), ([busy] * 3, True)):
        looks = iter(series)
        assert revisions.believed(lambda looks=looks: next(looks))["put"][1] is told
        assert next(looks, None) is None, "one look more, or one less"
    counted = past(rounds(syncs=2.0))
    assert revisions.believed(iter([counted]).__next__)["syncs, counted"] == (2.0, True)


def test_equal_sides_are_within_the_gate(capsys):
    assert revisions._judge(past(rounds())) == 0
    assert "all within" in capsys.readouterr().out


@pytest.mark.parametrize(("what", "ratio"), [("put", 2.0), ("get", 1.3), ("syncs", 1.06)])
def test_a_quarter_more_time_or_any_more_of_what_is_counted_fails_by_name(what, ratio, capsys):
    assert revisions._judge(past(rounds(**{what: ratio}))) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if "<-- more" in line]
    assert len(told) == 1 and told[0].startswith(what)


def test_one_round_that_met_something_else_does_not_fail():
    calm, hit = rounds(), rounds(put=9.0)
    assert revisions._judge(past([calm[0], hit[0], calm[0]])) == 0


@pytest.mark.parametrize("plant", revisions.PLANTS)
def test_a_plant_fits_the_file_that_it_is_for(plant):
    name, before, after = revisions.PLANTS[plant]
    assert (ROOT / name).read_text().count(before) == 1 and after != before


def test_the_calls_that_reach_the_disk_are_counted_the_same_each_time(tmp_path):
    first = revisions.storage_calls(str(tmp_path / "a"))
    assert first == revisions.storage_calls(str(tmp_path / "b"))
    assert first["calls of 50 durable puts, counted"] >= 50
    assert revisions.TOLD_BY["sync"] <= first.keys()


def test_every_plant_has_figures_that_must_tell_it():
    assert revisions.TOLD_BY.keys() == revisions.PLANTS.keys()


def test_a_machine_that_is_busy_in_most_rounds_does_not_fail_but_a_slower_tree_does():
    calm, busy = rounds()[0], rounds(put=1.4)[0]
    assert revisions._judge(past([busy, calm, busy])) == 0
    assert revisions._judge(past([busy, busy, busy])) == 1
