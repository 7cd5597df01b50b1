"""`oor convert`: element sets of any form into any other; no store is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

import click

from oor.cli import exits
from oor.cli.output import count, json_option, note
from oor.cli.sets import write_sets
from oor.registry import ElementSet, Rejected, parse
from oor.registry.quarantine import encode
from oor.registry.sources import InputError, inputs
from oor.registry.write import FORMATS


@click.command()
@click.argument("files", nargs=-1)
@click.option("--to", "form", type=click.Choice(FORMATS), help="What to write.")
@click.option(
    "--from", "given", type=click.Choice(["tle", "2le", "3le", "kvn", "xml", "json", "csv"]),
    help="What is read; without it the content tells.",
)  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="A file, not stdout.")
@click.option("--rejects", type=click.Path(dir_okay=False), help="A file for rejects, JSON lines.")
@click.option("--strict", is_flag=True, help="Stop at the first reject.")
@click.option("--rounded", is_flag=True, help="Round what a TLE cannot hold exactly.")
@json_option
def convert(
    files: tuple[str, ...], form: str | None, given: str | None, output: str | None,
    rejects: str | None, strict: bool, rounded: bool, as_json: bool,
) -> int:  # fmt: skip
    """Convert the element sets of FILES (without any: standard input) to one file of another form.

    Packed files, zip archives and directories are read too. What is no element set is named on
    stderr, or goes to --rejects; then, and for sets that the form cannot hold, the exit code is 1.
    """
    if as_json:
        form = "fields"
    if form is None:
        raise click.UsageError(f"--to says what to write: {', '.join(FORMATS)}")
    if rejects is None:
        return _convert(files, form, given, output, None, strict, rounded)
    with open(rejects, "wb") as file:
        return _convert(files, form, given, output, file, strict, rounded)


def _convert(
    files: tuple[str, ...], form: str, given: str | None, output: str | None,
    rejects: IO[bytes] | None, strict: bool, rounded: bool,
) -> int:  # fmt: skip
    seen = _Seen(rejects, strict)
    code = write_sets(seen.sets(files or ("-",), given), form, output, rounded=rounded)
    if seen.rejected:
        note(f"oor: {count(seen.rejected, 'reject')}")
    if seen.failed:
        return exits.ERROR
    return exits.REJECTS if seen.rejected else code


class _Seen:
    """The sets of inputs, with what is no set told apart."""

    def __init__(self, rejects: IO[bytes] | None, strict: bool) -> None:
        self._rejects = rejects
        self._strict = strict
        self.rejected = 0
        self.failed = False

    def sets(self, files: tuple[str, ...], given: str | None) -> Iterator[ElementSet]:
        for path in files:
            for one in inputs(path):
                try:
                    for found in parse(one.chunks(), given):
                        if isinstance(found, ElementSet):
                            yield found
                            continue
                        self._tell(found, one.name)
                        if self._strict:
                            return
                except InputError as error:
                    self.failed = True
                    note(f"oor: {error}")

    def _tell(self, found: Rejected, name: str) -> None:
        self.rejected += 1
        if self._rejects is not None:
            self._rejects.write(encode(found, file=name, source=None))
        else:
            text = json.dumps(found.raw[:60].decode("latin-1"))
            note(f"oor: {name}: {found.reason} [{found.rule}]: {text}")
