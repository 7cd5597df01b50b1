"""`oor lab fsync-cost`: what does it cost to make a write durable, and who pays?"""

from __future__ import annotations

import click

from oor.cli import exits
from oor.cli.lab import directory_option, place, png_option, show
from oor.cli.output import json_option
from oor.lab import fsync_cost as experiment


@click.command("fsync-cost")
@directory_option
@click.option(
    "--samples", type=click.IntRange(10, 10_000), default=200, show_default=True,
    help="Writes of each kind.",
)  # fmt: skip
@png_option
@json_option
def fsync_cost(directory: str | None, samples: int, png: str | None, as_json: bool) -> int:
    """Measure 4 KiB writes with and without a sync, then durable commits of 1 to 1,000 records.

    The sync costs the same whatever it carries; what shrinks is each record's share.
    """
    with place(directory) as folder:
        found = experiment.run(folder, samples=samples)
    show(found, experiment.report, as_json, png, experiment.draw, rows=2)
    return exits.FINE
