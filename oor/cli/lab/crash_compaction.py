"""`oor lab crash-compaction`: old tables or new ones?"""

from __future__ import annotations

import click

from oor.cli import exits
from oor.cli.lab import directory_option, place, png_option, show
from oor.cli.output import json_option
from oor.lab import crash_compaction as experiment


@click.command("crash-compaction")
@directory_option
@png_option
@json_option
def crash_compaction(directory: str | None, png: str | None, as_json: bool) -> int:
    """Crash a real compaction behind each of its operations, and recover.

    The answer is which set of tables is in force after each crash. Exits with 1 if it was neither,
    or if a read differs.
    """
    with place(directory) as folder:
        found = experiment.run(folder)
    show(found, experiment.report, as_json, png, experiment.draw)
    return exits.FINE if found.holds else exits.DAMAGE
