"""`oor lab checkpoints`: what does a checkpoint save, and what does it cost the writers?"""

from __future__ import annotations

import click

from oor.cli import exits
from oor.cli.lab import directory_option, place, png_option, show
from oor.cli.output import json_option
from oor.lab import checkpoints as experiment


@click.command("checkpoints")
@directory_option
@click.option("--records", type=click.IntRange(1000), default=20_000, show_default=True)
@click.option(
    "--every", type=click.IntRange(500), default=5000, show_default=True,
    help="Records from one checkpoint to the next.",
)  # fmt: skip
@png_option
@json_option
def checkpoints(
    directory: str | None, records: int, every: int, png: str | None, as_json: bool
) -> int:
    """Write the same records with and without checkpoints, and compare the log and the redo.

    The checkpoints are taken by a second thread while the writer goes on.
    """
    with place(directory) as folder:
        found = experiment.run(folder, records=records, every=every)
    show(found, experiment.report, as_json, png, experiment.draw)
    return exits.FINE
