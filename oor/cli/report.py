"""`oor report`: a store on one page, for people."""

from __future__ import annotations

from datetime import datetime

import click

from oor.cli import exits
from oor.cli.opening import open_to_read
from oor.cli.output import emit, json_option, note, size, store_argument
from oor.cli.query import Time


@click.command()
@store_argument
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), required=True, help="The HTML file."
)
@click.option("--now", type=Time(), help="What ages are counted to; without it, the clock.")
@json_option
def report(db: str, output: str, now: datetime | None, as_json: bool) -> int:
    """Draw DB on one self-contained page: deliveries, ages, orbits, quarantine, log and levels.

    The page fetches nothing. It needs matplotlib: pip install 'oor[plot]'.
    """
    from oor.report import gather, page

    with open_to_read(db) as store:
        facts = gather(store, now)
    text = page(facts)
    with open(output, "w", encoding="utf-8") as file:
        written = file.write(text)
    if as_json:
        emit(
            {"path": output, "objects": len(facts.orbits), "element_sets": facts.sets,
             "deliveries": len(facts.deliveries), "rules": dict(facts.rules)}
        )  # fmt: skip
    else:
        note(f"oor: wrote {output}, {size(written)}")
    return exits.FINE
