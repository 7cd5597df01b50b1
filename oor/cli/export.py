"""`oor export`: the catalogue of a store as a file of any format."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from oor.cli import exits
from oor.cli.opening import open_to_read
from oor.cli.output import json_option, store_argument
from oor.cli.query import CatalogNumber, Time
from oor.cli.sets import write_sets
from oor.registry import ElementSet, Registry
from oor.registry.questions import Questions
from oor.registry.write import FORMATS

_TABLES = ("arrow", "parquet")


@click.command()
@store_argument
@click.option(
    "--format", "form", type=click.Choice([*FORMATS, *_TABLES]),
    default="original", show_default=True, help="original: each record as it was read.",
)  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="A file, not stdout.")
@click.option("--at", "moment", type=Time(), help="The sets that were newest then, not now.")
@click.option("--all", "everything", is_flag=True, help="Every set, not only the newest.")
@click.option("--object", "numbers", multiple=True, type=CatalogNumber(), help="Only this object.")
@click.option("--prefer", multiple=True, help="A source to take sets of if it has them; repeat.")
@click.option("--whole", is_flag=True, help="Only sets of deliveries that are whole.")
@click.option("--rounded", is_flag=True, help="Round what a TLE cannot hold exactly.")
@json_option
def export(
    db: str, form: str, output: str | None, moment: datetime | None, everything: bool,
    numbers: tuple[int, ...], prefer: tuple[str, ...], whole: bool, rounded: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Write the newest element set of every object of DB, as one catalogue of one moment.

    What the format cannot hold is named on stderr, and the exit code is 1.
    """
    if form in _TABLES and not as_json and (output is None or output == "-"):
        raise click.UsageError(f"--format {form} needs a file: --output FILE")
    with open_to_read(db) as store, Registry(store).snapshot(whole=whole) as catalogue:
        sets = _chosen(catalogue, moment, everything, numbers, prefer)
        if form in _TABLES and not as_json:
            assert output is not None
            return _table(sets, form, output)
        return write_sets(sets, "fields" if as_json else form, output, rounded=rounded)


def _chosen(
    catalogue: Questions, moment: datetime | None, everything: bool, numbers: tuple[int, ...],
    prefer: tuple[str, ...],
) -> Iterator[ElementSet]:  # fmt: skip
    if numbers:
        for number in numbers:
            if everything:
                yield from catalogue.history(number)
                continue
            if moment is None:
                found = catalogue.latest(number, prefer=prefer)
            else:
                found = catalogue.at(number, moment, prefer=prefer)
            if found is not None:
                yield found
    elif everything:
        yield from catalogue.elements()
    elif moment is not None:
        yield from catalogue.catalogue_at(moment, prefer=prefer)
    else:
        yield from catalogue.latest_all(prefer=prefer)


def _table(sets: Iterator[ElementSet], form: str, output: str) -> int:
    from oor.registry import arrow

    if form == "parquet":
        arrow.to_parquet(sets, output)
    else:
        arrow.to_file(sets, output)
    return exits.FINE
