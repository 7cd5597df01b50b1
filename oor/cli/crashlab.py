"""`oor crashlab`: every state that a crash may leave, tried."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import click

from oor import native
from oor.cli import exits
from oor.cli.output import emit, json_option, note
from oor.crashlab import figures as report
from oor.crashlab import replay
from oor.crashlab.explorer import Plan
from oor.crashlab.fleet import explore_all
from oor.crashlab.levels import QUICK, THOROUGH, Level
from oor.crashlab.profiles import PROFILES, STRICT


@click.command()
@click.argument("directory", required=False, type=click.Path(file_okay=False))
@click.option("--states", type=click.IntRange(1), help="Stop after so many distinct states.")
@click.option("--seconds", type=click.FloatRange(1), help="Stop after so much time.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--profile", default=STRICT.name, show_default=True, type=click.Choice(list(PROFILES)),
    help="The file system whose crashes are tried.",
)  # fmt: skip
@click.option(
    "--longest", type=click.IntRange(1, 6), default=2, show_default=True,
    help="Try every sequence of up to so many macro-operations.",
)  # fmt: skip
@click.option("--processes", type=click.IntRange(1, 64), help="[default: one for each processor]")
@click.option("--thorough", is_flag=True, help="Try every subset of up to 12 pending changes.")
@click.option(
    "--tears", type=click.Choice(["0", "512", "4096"]), default="0", show_default=True,
    help="What a torn write may leave: whole sectors, anything in one, anything in its block.",
)  # fmt: skip
@click.option("--violations", type=click.IntRange(1), default=20, show_default=True,
              help="Stop after so many.")  # fmt: skip
@click.option(
    "--replay", "replayed", type=click.Path(exists=True, dir_okay=False),
    help="Judge the state of a replay file again, and nothing else.",
)  # fmt: skip
@click.option(
    "--figures", "figures_path", type=click.Path(dir_okay=False), help="Add the counts to a file."
)
@json_option
def crashlab(
    directory: str | None,
    states: int | None,
    seconds: float | None,
    seed: int,
    profile: str,
    longest: int,
    processes: int | None,
    thorough: bool,
    tears: str,
    violations: int,
    replayed: str | None,
    figures_path: str | None,
    as_json: bool,
) -> int:
    """Open every state that a crash may leave of a store, and check what is there.

    Nothing on this machine's disks is touched but DIRECTORY, where a file is left for each
    violation: `oor crashlab --replay FILE` shows it again. Exits with 1 if there was one.
    """
    if replayed is not None:
        return _replay(replayed, as_json)
    plan = Plan(
        seed=seed,
        states=states,
        seconds=seconds,
        profile=PROFILES[profile],
        bounds=replace(THOROUGH if thorough else QUICK, tears=int(tears)),
        levels=tuple(Level),
        per_workload=None if states is None else max(100, states // 50),
        processes=processes or len(os.sched_getaffinity(0)),
        longest=longest,
        violations=violations,
    )
    tally, replays = explore_all(plan)
    content = report.figures(plan, tally)
    if figures_path is not None:
        _add_figures(figures_path, content)
    if as_json:
        emit(content)
    else:
        print(report.table(plan, tally))
    if directory is not None and replays and not native.exists(directory):
        native.make_dir(directory)
    for number, found in enumerate(replays if directory is not None else []):
        assert directory is not None
        path = os.path.join(directory, f"violation-{number}.json")
        replay.save(path, found)
        note(f"{found['invariant']}: {found['text']} [{found['workload']}]: {path}")
    for violation in tally.violations if directory is None else []:
        note(str(violation))
    return exits.DAMAGE if tally.violation_count else exits.FINE


def _replay(path: str, as_json: bool) -> int:
    violation = replay.replay(replay.read(path))
    if as_json:
        emit({"violation": None if violation is None else str(violation)})
    else:
        print("nothing is violated" if violation is None else str(violation))
    return exits.FINE if violation is None else exits.DAMAGE


def _add_figures(path: str, content: dict[str, object]) -> None:
    runs: list[dict[str, object]] = []
    if os.path.exists(path):
        with open(path, encoding="ascii") as file:
            runs = json.load(file)["runs"]
    with open(path, "w", encoding="ascii") as file:
        json.dump({"runs": [*runs, content | report.machine()]}, file, indent=1)
        file.write("\n")
