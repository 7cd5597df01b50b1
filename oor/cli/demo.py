"""`oor demo`: the incident on the screen, and the criteria."""

from __future__ import annotations

import functools
import random
from dataclasses import asdict
from typing import Any

import click

from oor.cli import exits
from oor.cli.criteria import show_criteria
from oor.cli.output import count, emit, json_option, milliseconds, note, table
from oor.demo.catalogue import from_files, synthetic
from oor.demo.incident import WITHOUT_LOG, Incident, Replay, Round
from oor.demo.scratch import scratch


@click.command()
@click.argument("files", nargs=-1)
@click.option(
    "--durability", "modes", type=click.Choice(["sync", "interval", "os"]), multiple=True,
    default=("interval", "sync"), show_default=True, help="May be given more than once.",
)  # fmt: skip
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    help="Kills in each mode.",
)
@click.option(
    "--seed", type=int, help="Of the moments to kill at; a new one each time unless given."
)
@click.option("--keep", is_flag=True, help="Leave the stores on disk and say where.")
@click.option(
    "--criteria", is_flag=True, help="Measure the seven criteria of a write-ahead log instead."
)
@json_option
def demo(
    files: tuple[str, ...], modes: tuple[str, ...], rounds: int, seed: int | None, keep: bool,
    criteria: bool, as_json: bool,
) -> int:  # fmt: skip
    """Kill a process by SIGKILL while it ingests, recover, and compare every acknowledged set.

    On a catalogue that it makes itself, or on FILES of element sets. Exits with 1 if a set is lost.
    """
    with scratch(keep) as directory:
        if keep:
            note(f"oor: the stores are in {directory}")
        if criteria:
            return show_criteria(directory, as_json)
        seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
        return _show_incident(directory, files, modes, rounds, seed, as_json)


# ---- the incident --------------------------------------------------------------------------------


def _show_incident(
    directory: str,
    files: tuple[str, ...],
    modes: tuple[str, ...],
    rounds: int,
    seed: int,
    as_json: bool,
) -> int:
    catalogue = from_files(files) if files else synthetic()
    if not catalogue.count:
        note("oor: there is no element set in the input")
        return exits.ERROR
    say = _silent if as_json else functools.partial(print, flush=True)
    say(f"{count(catalogue.count, 'element set')}: {catalogue.title}. Seed {seed}.")
    incidents = []
    for mode in (WITHOUT_LOG, *dict.fromkeys(modes)):
        say()
        say(f"{_TITLES[mode]}")
        incident = Incident(mode)
        replay = Replay(catalogue, directory, mode, rounds, random.Random(f"{seed}/{mode}"))
        for number in range(1, (1 if mode == WITHOUT_LOG else rounds) + 1):
            one = replay.round(number)
            incident.rounds.append(one)
            _say_round(say, one)
        incidents.append(incident)
    lost = sum(incident.lost for incident in incidents if incident.mode != WITHOUT_LOG)
    if as_json:
        emit(
            {
                "seed": seed,
                "sets": catalogue.count,
                "lost": lost,
                "incidents": [_content(one) for one in incidents],
            }
        )
    else:
        print()
        _print_table(incidents)
        print()
        print("LSNs go on above all that a dead process can have given: none is given twice.")
        print(
            "Nothing that was acknowledged is lost."
            if not lost
            else f"LOST: {count(lost, 'acknowledged set')}."
        )
    return exits.DAMAGE if lost else exits.FINE


_TITLES = {
    WITHOUT_LOG: "Without a log: a memtable alone, as in the incident.",
    "sync": "With the log, durability sync: a batch is acknowledged when it is on stable storage.",
    "interval": "With the log, durability interval: acknowledged when logged, synced every 50 ms.",
    "os": "With the log, durability os: acknowledged when logged, synced when the kernel likes.",
}


def _silent(*_: object) -> None:
    pass


def _say_round(say: Any, one: Round) -> None:
    say(
        f"  kill {one.number}    SIGKILL after {milliseconds(one.seconds)}:"
        f" {count(one.acknowledged, 'set')} acknowledged, LSN {one.acknowledged_lsn:,}"
    )
    report = one.recovery
    if report is None:
        say(f"            no file to recover from: {count(one.lost, 'set')} lost")
        return
    redo = "nothing to replay"
    if report.records:
        redo = f"{count(report.records, 'mutation')} in {count(report.frames, 'frame')} replayed"
    orphans = f", {count(len(report.orphans), 'orphan')} removed" if report.orphans else ""
    say(
        f"  recovery  LSN {report.recovered_lsn:,} (tables {report.flushed_lsn:,}); {redo},"
        f" {count(report.tail_frames, 'frame')} only in the tail{orphans}"
    )
    say(
        f"            {milliseconds(one.recovery_seconds)}:"
        f" analysis {milliseconds(report.analysis_seconds)},"
        f" redo {milliseconds(report.redo_seconds)}, undo {milliseconds(report.undo_seconds)}"
    )
    say(
        f"  check     {one.found:,} of {count(one.checked, 'acknowledged set')} byte for byte,"
        f" {one.lost:,} lost; {one.unacknowledged:,} more that nobody was told of"
    )


def _print_table(incidents: list[Incident]) -> None:
    head = ("", "kills", "acknowledged", "found", "lost", "sets/s", "recovery ms")
    rows = [
        (
            "no log" if one.mode == WITHOUT_LOG else one.mode,
            len(one.rounds), one.acknowledged, one.found, one.lost, round(one.rate),
            "-" if one.mode == WITHOUT_LOG else one.recovery_seconds * 1000,
        )
        for one in incidents
    ]  # fmt: skip
    table(head, rows)


def _content(incident: Incident) -> dict[str, Any]:
    return {
        "mode": incident.mode,
        "acknowledged": incident.acknowledged,
        "found": incident.found,
        "lost": incident.lost,
        "sets_per_second": round(incident.rate),
        "recovery_seconds": incident.recovery_seconds,
        "rounds": [asdict(one) | {"lost": one.lost} for one in incident.rounds],
    }
