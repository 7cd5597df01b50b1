"""Element sets to stdout or to a file, in any form."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator

import click

from oor.cli import exits
from oor.cli.output import count, note
from oor.registry import ElementSet
from oor.registry.write import FORMATS, Unwritable, written

format_option = click.option(
    "--format", "form", type=click.Choice(FORMATS), default="original", show_default=True,
    help="original: each record as it was read.",
)  # fmt: skip


def write_sets(
    sets: Iterable[ElementSet], form: str, output: str | None, *, rounded: bool = False
) -> int:
    """Write sets to a file or to stdout and name what cannot be written; returns an exit code.

    `form` "fields" is what the other commands print with --json: all fields, one object a line.
    """
    refused = 0
    pieces: Iterator[bytes]

    def tell(one: Unwritable) -> None:
        nonlocal refused
        refused += 1
        note(f"oor: not written: object {one.elset.norad_cat_id}: {one.reason}")

    if form == "fields":
        pieces = (json.dumps(elset.to_dict()).encode() + b"\n" for elset in sets)
    else:
        pieces = written(sets, form, tell, rounded=rounded)
    if output is None or output == "-":
        sys.stdout.buffer.writelines(pieces)
        sys.stdout.buffer.flush()
    else:
        with open(output, "wb") as file:
            file.writelines(pieces)
    if refused:
        note(f"oor: {count(refused, 'set')} not written: {form} cannot hold them")
    return exits.REJECTS if refused else exits.FINE
