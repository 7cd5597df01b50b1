"""`oor lab frame`: what does a frame look like, and what does one flipped bit do?"""

from __future__ import annotations

import click

from oor.cli import exits
from oor.cli.lab import directory_option, place, show
from oor.cli.output import json_option
from oor.lab import frame as experiment


@click.command("frame")
@directory_option
@json_option
def frame(directory: str | None, as_json: bool) -> int:
    """Print two real frames field by field, flip each of their bits, and say what recovery does.

    Exits with 1 if one flipped bit went unnoticed.
    """
    with place(directory) as folder:
        found = experiment.run(folder)
    show(found, experiment.report, as_json)
    return exits.FINE if found.promised.silent + found.last.silent == 0 else exits.DAMAGE
