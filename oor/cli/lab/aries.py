"""`oor lab aries`: what do analysis, redo and undo do after a crash?"""

from __future__ import annotations

import click

from oor.cli import exits
from oor.cli.lab import directory_option, place, show
from oor.cli.output import json_option
from oor.lab import aries as experiment


@click.command("aries")
@directory_option
@click.option(
    "--point", type=click.Choice(list(experiment.POINTS)), default="flush", show_default=True,
    help="Where the process dies.",
)  # fmt: skip
@click.option(
    "--records", "count", type=click.IntRange(3100, 1_000_000), default=5000, show_default=True
)
@json_option
def aries(directory: str | None, point: str, count: int, as_json: bool) -> int:
    """Let a child process die by SIGKILL at an exact point, and recover what it left.

    Exits with 1 if a record is missing.
    """
    with place(directory) as folder:
        found = experiment.run(folder, point=point, count=count)
    show(found, experiment.report, as_json)
    return exits.FINE if found.found == found.written else exits.DAMAGE
