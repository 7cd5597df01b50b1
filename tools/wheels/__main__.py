"""Build, judge and try the wheels; one line for each thing that was found."""

from __future__ import annotations

import argparse
import sys

from tools.wheels import build, foreign, judge, trial
from tools.wheels.targets import DIST, TARGETS, WORK


def main() -> int:
    """Everything, or with --no-trials only what needs no other Python and no emulator."""
    parser = argparse.ArgumentParser(prog="python -m tools.wheels", description=__doc__)
    parser.add_argument("--no-trials", action="store_true", help="build and judge, try nothing")
    asked = parser.parse_args()
    DIST.mkdir(exist_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    sdist = build.source_distribution()
    tell(sdist.name, [f"{sdist.stat().st_size / 1000:,.0f} kB", "made twice, equal"])
    wheels = {}
    for target in TARGETS:
        wheel = build.wheel(sdist, target)
        wheels[target.name] = wheel
        tell(wheel.name, [*judge.judge(wheel, target), "built twice, equal"])
    (archive,) = (WORK / "a" / TARGETS[0].zig).glob("*/build/*/liboor_core.a")
    tell("x86-64 dispatch", [judge.check_dispatch(archive)])
    if not asked.no_trials:
        tell("source distribution, offline", [trial.offline(sdist)])
        tests = trial.tests_alone(sdist)
        python, found = trial.fresh(wheels["manylinux x86_64"], tests)
        tell("fresh environment, x86_64", found)
        for cpu in foreign.OLD_CPUS:
            attempt(f"emulated {cpu}", lambda cpu=cpu: foreign.old_cpu(python, cpu, tests))
        arm = wheels["manylinux aarch64"]
        attempt("emulated aarch64", lambda: foreign.aarch64(arm, tests))
        tell("musllinux", ["not tried: no Python for musl can be had here; built and judged only"])
    return 0


def attempt(name: str, trial: object) -> None:
    """A trial that may lack what it needs here; then it says what."""
    try:
        tell(name, [trial()])  # type: ignore[operator]
    except foreign.Missing as error:
        tell(name, [f"skipped: {error}"])


def tell(name: str, found: list[str]) -> None:
    """One line."""
    print(f"{name}: {'; '.join(found)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
