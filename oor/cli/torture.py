"""`oor torture`: kill -9 in a loop, with an oracle outside of what dies."""

from __future__ import annotations

import click

from oor.cli import exits
from oor.cli.output import emit, facts, json_option
from oor.demo.scratch import scratch


@click.command()
@click.option(
    "--dir", "directory", type=click.Path(exists=True, file_okay=False),
    help="Work in a folder made here, on the device that is to be tried.",
)  # fmt: skip
@click.option("--cycles", default=100, show_default=True, help="How often the writer is killed.")
@click.option("--minutes", type=float, help="Stop after this time, whatever the cycles.")
@click.option("--seed", default=1, show_default=True, help="Of the moments and operations.")
@json_option
def torture(
    directory: str | None, cycles: int, minutes: float | None, seed: int, as_json: bool
) -> int:
    """Kill a process that writes, again and again, and check that nothing acknowledged is lost."""
    from oor.torture import Torture

    with scratch(below=directory) as folder:
        seconds = None if minutes is None else 60 * minutes
        result = Torture(folder, seed).run(cycles, seconds)
    if as_json:
        emit(result.content())
    else:
        facts(
            [
                ("cycles", f"{result.cycles:,}, {result.killed_in_recovery:,} of them killed in"
                           f" recovery, {result.stopped:,} stopped and continued first"),
                ("told", f"{result.acknowledged:,} operations acknowledged"),
                ("found", f"{result.unacknowledged:,} more that nobody was told of;"
                          f" {result.pairs_checked:,} pairs compared"),
                ("lost", f"{result.lost:,}"),
                ("time", f"{result.seconds:.0f} s"),
                *((name.replace("_", " "), text) for name, text in result.machine.items()),
            ]
        )  # fmt: skip
        for detail in result.details:
            print(f"lost       {detail}")
    return exits.DAMAGE if result.lost else exits.FINE
