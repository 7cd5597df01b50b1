"""The crash laboratory can fail: each planted bug is noticed, and the same run without it is clean."""

from __future__ import annotations

import functools
import re

import pytest
from c_mutants import C_MUTANTS, Lab
from mutants import MASKED, MUTANTS, run

from oor import _native

UNWATCHED = "what is planted here breaks the rules of order on purpose"
PLANNED = {f"M{n}" for n in range(1, 25)}


@functools.cache
def unmutated(workload, fault):
    mutant = next(m for m in MUTANTS if (m.workload, m.fault) == (workload, fault))
    return run(mutant, planted=False, states=400)


@pytest.fixture(scope="module")
def lab():
    return Lab()


def names_of(mutants):
    return [pytest.param(mutant, id=mutant.name) for mutant in mutants if mutant.name not in MASKED]


def check_killed(mutant, verdict):
    assert verdict.executed, "the mutated code did not run"
    assert verdict.killed_by in mutant.killers, f"{mutant.what}: {verdict.invariants}"


@pytest.mark.parametrize("mutant", names_of(MUTANTS))
def test_a_mutant_is_killed_by_the_invariant_that_is_there_for_it(mutant):
    check_killed(mutant, run(mutant, planted=True))
    clean = unmutated(mutant.workload, mutant.fault)
    assert not clean.invariants, "the run is red without the mutant"


@pytest.mark.parametrize("mutant", names_of(C_MUTANTS))
def test_a_mutant_of_the_c_half_is_killed_by_the_invariant_that_is_there_for_it(mutant, lab):
    check_killed(mutant, lab.run(mutant))
    assert not lab.run(mutant, planted=False).invariants, "the run is red without the mutant"


def test_half_of_a_pair_lives_alone_as_the_table_says(lab):
    half = next(mutant for mutant in C_MUTANTS if mutant.name == "M15b")
    verdict = lab.run(half)
    assert verdict.executed and not verdict.invariants


def test_each_mutant_of_the_plan_is_built_or_has_the_reason_why_it_would_live():
    built = {re.sub("[ab]$", "", mutant.name) for mutant in (*MUTANTS, *C_MUTANTS)}
    assert built | set(MASKED) >= PLANNED
    assert all(MASKED.values())


def test_what_is_released_has_no_switch_for_a_mutant(lab):
    def has_switch(module):
        with open(module, "rb") as binary:
            return b"oor_mutant" in binary.read()

    assert any(map(has_switch, (lab.copy.root / "oor").glob("_native*.so")))
    assert not has_switch(_native.__file__)
