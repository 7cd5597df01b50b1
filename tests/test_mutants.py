"""The crash laboratory can fail: each planted bug is noticed, and the same run without it is clean."""

from __future__ import annotations

import functools

import pytest
from mutants import MASKED, MUTANTS, run


@functools.cache
def unmutated(workload):
    mutant = next(mutant for mutant in MUTANTS if mutant.workload == workload)
    return run(mutant, planted=False, states=400)


@pytest.mark.parametrize(
    "mutant",
    [mutant for mutant in MUTANTS if mutant.name not in MASKED],
    ids=lambda mutant: mutant.name,
)
def test_a_mutant_is_killed_by_the_invariant_that_is_there_for_it(mutant):
    verdict = run(mutant, planted=True)
    assert verdict.executed, "the mutated code did not run"
    assert verdict.killed_by in mutant.killers, f"{mutant.what}: {verdict.invariants}"
    assert not unmutated(mutant.workload).invariants, "the run is red without the mutant"
