"""The seven criteria of a write-ahead log, each as `oor demo --criteria` measures it."""

import pytest

import oor
from oor.commit import Commit
from oor.demo import criteria, victim
from oor.demo.criteria import CRITERIA, RECOVERY_LIMIT_MS, measure

UNWATCHED = "it measures time"


@pytest.fixture
def outcome_of(tmp_path):
    return lambda letter: measure(letter, str(tmp_path))


def test_criterion_a_a_thousand_puts_are_in_the_log_before_the_memtable_changes(outcome_of):
    outcome = outcome_of("a")
    assert outcome.passed, outcome.figures
    assert [value for value in outcome.figures.values()] == [1000] * 6


def test_criterion_b_five_thousand_records_survive_a_clean_close(outcome_of):
    outcome = outcome_of("b")
    assert outcome.passed, outcome.figures
    assert outcome.figures["records there, byte for byte"] == 5000


def test_criterion_c_after_a_crash_all_is_there_and_the_report_says_recovered_against_expected(
    outcome_of,
):
    outcome = outcome_of("c")
    assert outcome.passed, outcome.figures
    figures = outcome.figures
    assert 3000 <= figures["report: expected, LSN"] <= figures["report: recovered, LSN"] == 5000


def test_criterion_d_a_crash_in_mid_flush_or_mid_compaction_loses_nothing(outcome_of):
    outcome = outcome_of("d")
    assert outcome.passed, outcome.figures
    named = [value for name, value in outcome.figures.items() if "manifest names" in name]
    orphans = [value for name, value in outcome.figures.items() if "orphaned" in name]
    assert named == [0, 3, 1], "no table; the old tables; the new one"
    assert orphans == [1, 1, 3]


def test_criterion_e_flush_and_checkpoint_leave_only_lsns_above_the_flushed_one(outcome_of):
    outcome = outcome_of("e")
    assert outcome.passed, outcome.figures
    assert outcome.figures["lowest LSN left in the log"] == outcome.figures["flushed LSN"] + 1
    assert outcome.figures["bytes of log after"] < outcome.figures["bytes of log before"]


def test_criterion_f_a_hundred_thousand_records_are_recovered_within_the_limit(outcome_of):
    outcome = outcome_of("f")
    assert outcome.passed, outcome.figures
    assert outcome.figures["100,000 records replayed"] == 100_000
    assert RECOVERY_LIMIT_MS == 500


def test_criterion_g_after_many_cycles_the_manifest_names_exactly_the_live_tables(outcome_of):
    outcome = outcome_of("g")
    assert outcome.passed, outcome.figures
    assert outcome.figures["flushed LSN in the manifest"] == 6000


def test_there_are_seven_criteria():
    assert list(CRITERIA) == list("abcdefg")


# ---- the checks themselves can fail --------------------------------------------------------------


def test_criterion_a_fails_when_the_memtable_changes_before_the_log(outcome_of, monkeypatch):
    put = Commit.put

    def too_early(self, key, value, mode):
        self._state.view.active.data[key] = value
        return put(self, key, value, mode)

    monkeypatch.setattr(Commit, "put", too_early)
    assert not outcome_of("a").passed


def test_criterion_c_fails_when_a_durable_record_is_gone(outcome_of, monkeypatch):
    real = criteria.die_in_child

    def die_and_lose_one(path, point, count):
        durable = real(path, point, count)
        with oor.open(path) as db:
            db.delete(b"000000007")
        return durable

    monkeypatch.setattr(criteria, "die_in_child", die_and_lose_one)
    assert not outcome_of("c").passed


def test_the_victim_dies_before_or_after_the_edit_as_it_was_told(monkeypatch):
    calls = []
    monkeypatch.setattr(victim, "die", lambda: calls.append("dead"))
    for before, expected in ((True, ["dead"]), (False, ["edit", "dead"])):
        calls.clear()
        monkeypatch.setattr(victim.State, "install", lambda self, *_: calls.append("edit"))
        victim.die_at_install(before=before)
        victim.State.install(object(), "an edit")
        assert calls == expected
