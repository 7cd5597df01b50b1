"""`oor lab replay-time`: how long can a replay take?"""

from __future__ import annotations

import click

from oor.cli import exits
from oor.cli.lab import directory_option, place, png_option, show
from oor.cli.output import json_option
from oor.lab import replay_time as experiment


@click.command("replay-time")
@directory_option
@click.option(
    "--rate", type=click.FloatRange(1, 1e6), default=3000.0, show_default=True,
    help="Writes a second.",
)  # fmt: skip
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=60.0, show_default=True,
    help="Seconds from one checkpoint to the next.",
)  # fmt: skip
@png_option
@json_option
def replay_time(
    directory: str | None, rate: float, interval: float, png: str | None, as_json: bool
) -> int:
    """Write logs of growing length, up to a whole interval at this rate, and replay each.

    The answer is the longest replay, and the bound for other rates and intervals.
    """
    with place(directory) as folder:
        found = experiment.run(folder, rate=rate, interval=interval)
    show(found, experiment.report, as_json, png, experiment.draw)
    return exits.FINE
