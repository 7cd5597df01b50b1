"""The seven criteria of a durable pipeline, measured and told: for the demonstration and the
capstone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict

from oor.cli import exits
from oor.cli.output import emit


def show_criteria(directory: str, as_json: bool) -> int:
    """Measure each below `directory` and print it at once; returns the exit code."""
    from oor.demo.criteria import CRITERIA, measure

    failed = 0
    for letter in CRITERIA:
        began = time.perf_counter()
        outcome = measure(letter, directory)
        failed += not outcome.passed
        if as_json:
            emit({"criterion": letter} | asdict(outcome) | {"seconds": time.perf_counter() - began})
            continue
        print(f"({letter}) {'passed' if outcome.passed else 'FAILED'}  {outcome.title}")
        for line in outcome.lines():
            print(f"            {line}")
        sys.stdout.flush()
    if not as_json:
        print()
        print(f"{len(CRITERIA) - failed} of {len(CRITERIA)} criteria are met.")
    return exits.DAMAGE if failed else exits.FINE
