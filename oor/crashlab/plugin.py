"""The fixture `oor_crash` for pytest: a workload of your own, crashed in every way.

    def test_my_pipeline_survives_a_crash(oor_crash):
        def workload(run):
            db = run.open()
            db.write({b"25544": b"ISS", b"count": b"1"})
            db.flush()

        def check(db):
            assert (b"25544" in db) == (b"count" in db)

        oor_crash(workload, check=check)

The workload writes through what `run.open()` returns, which behaves as an `oor.DB` and notes what
was promised. It runs on a disk in memory; each state that a crash may leave of it is opened, judged
by the invariants of the laboratory and by `check`, and the test fails with each that breaks one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import oor
    from oor.crashlab.explorer import Tally
    from oor.crashlab.run import Run

Explore = Callable[..., "Tally"]


@pytest.fixture
def oor_crash() -> Explore:
    """A function that explores a workload and fails the test on a violation.

    `oor_crash(workload, *, check=None, states=2000, seed=0, options=None)` returns what was
    counted. `check` is given each opened store and raises AssertionError for what must not be;
    `options` are those of `oor.open`. Cost: 2 to 3 ms a state. No store may be open meanwhile.
    """

    def explore(
        workload: Callable[[Run], Any],
        *,
        check: Callable[[oor.DB], object] | None = None,
        states: int = 2000,
        seed: int = 0,
        options: dict[str, Any] | None = None,
    ) -> Tally:
        from oor.crashlab.explorer import Explorer, Plan
        from oor.crashlab.memory import MemoryDisk

        with MemoryDisk() as disk:
            explorer = Explorer(disk, Plan(seed=seed, states=states), check=check)
            explorer.explore("workload", workload, options or {})
            tally = explorer.finish()
        if tally.violations:
            pytest.fail("\n".join(map(str, tally.violations)), pytrace=False)
        return tally

    return explore
