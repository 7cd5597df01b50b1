"""`oor latest`, `oor at`, `oor history`: element sets as they were read, or in any form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from oor.cli import exits
from oor.cli.opening import open_to_read
from oor.cli.output import json_option, note, store_argument
from oor.cli.sets import format_option, write_sets
from oor.registry import Registry, alpha5


class CatalogNumber(click.ParamType):  # type: ignore[type-arg]
    """Digits, or Alpha-5 as TLEs write numbers from 100,000 on (T0288)."""

    name = "catnr"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if str(value).isascii() and str(value).isdigit() and int(value) < 2**32:
            return int(value)
        try:
            return alpha5.decode(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Time(click.ParamType):  # type: ignore[type-arg]
    """ISO 8601; UTC where no zone is given."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(
                f"{value!r} is no ISO 8601 time, such as 2024-08-08T12:00:00Z or 2024-08-08",
                param,
                ctx,
            )
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@click.command()
@store_argument
@click.argument("catnr", nargs=-1, required=True, type=CatalogNumber())
@format_option
@json_option
def latest(db: str, catnr: tuple[int, ...], form: str, as_json: bool) -> int:
    """Print the newest element set of each object CATNR, its lines as they were read."""
    with open_to_read(db) as store:
        registry = Registry(store)
        found = [(number, registry.latest(number)) for number in catnr]
    sets = [elset for _, elset in found if elset is not None]
    code = write_sets(sets, "fields" if as_json else form, None)
    missing = [str(number) for number, elset in found if elset is None]
    return _missing(f"no element set of {', '.join(missing)}") if missing else code


@click.command()
@store_argument
@click.argument("catnr", type=CatalogNumber())
@click.argument("time", type=Time())
@format_option
@json_option
def at(db: str, catnr: int, time: datetime, form: str, as_json: bool) -> int:
    """Print the element set of CATNR with the newest epoch at or before TIME (ISO 8601, UTC)."""
    with open_to_read(db) as store:
        elset = Registry(store).at(catnr, time)
    if elset is None:
        return _missing(f"no element set of {catnr} at or before {time.isoformat()}")
    return write_sets([elset], "fields" if as_json else form, None)


@click.command()
@store_argument
@click.argument("catnr", type=CatalogNumber())
@click.option("--from", "start", type=Time(), help="The first epoch (ISO 8601, UTC).")
@click.option("--to", "stop", type=Time(), help="The epoch before which to stop.")
@format_option
@json_option
def history(
    db: str, catnr: int, start: datetime | None, stop: datetime | None, form: str, as_json: bool
) -> int:
    """Print all element sets of CATNR by epoch, oldest first, revisions in order of arrival."""
    with open_to_read(db) as store:
        found = Registry(store).history(catnr, start, stop)
    if not found:
        return _missing(
            f"no element set of {catnr} in that time"
            if start or stop
            else f"no element set of {catnr}"
        )
    return write_sets(found, "fields" if as_json else form, None)


def _missing(text: str) -> int:
    note(f"oor: {text}")
    return exits.ERROR
