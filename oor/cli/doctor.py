"""`oor doctor`: what a sync costs in a directory, and what it really does there."""

from __future__ import annotations

import click

from oor.cli import exits
from oor.cli.output import emit, facts, json_option, table
from oor.doctor import Diagnosis, examine


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False), default=".")
@click.option(
    "--samples",
    type=click.IntRange(10, 100_000),
    default=300,
    show_default=True,
    help="Writes of each kind.",
)
@json_option
def doctor(directory: str, samples: int, as_json: bool) -> int:
    """Measure what a sync costs in DIRECTORY (this one unless given), with a file that goes
    again."""
    found = examine(directory, samples)
    if as_json:
        emit(found)
    else:
        _print(found)
    return exits.FINE


def _print(found: Diagnosis) -> None:
    where = found.file_system
    facts(
        [
            ("directory", found.path),
            (
                "file system",
                f"{where.kind or 'unknown'} on {where.source}, {','.join(where.options)}",
            ),
            ("the log goes by", found.sync_method),
            (
                "a sync",
                "seems to reach the device"
                if found.reaches_device
                else "DOES NOT SEEM TO REACH A DEVICE",
            ),
            ("codecs", ", ".join(f"{name}: {state}" for name, state in found.codecs.items())),
        ]
    )
    print()
    rows = [
        (cost.way, cost.error, "") if cost.error else (cost.way, cost.p50 * 1e6, cost.p99 * 1e6)
        for cost in found.costs
    ]
    table(("4 KiB by", "p50, us", "p99, us"), rows)
    for text in found.findings:
        print(f"\n{text}")
