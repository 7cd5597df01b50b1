"""`oor backup`: a second store of all that one holds."""

from __future__ import annotations

from dataclasses import asdict

import click

import oor
from oor.cli import exits
from oor.cli.opening import require_store
from oor.cli.output import count, emit, facts, json_option, milliseconds, size, store_argument


@click.command()
@store_argument
@click.argument("target", type=click.Path())
@click.option("--unverified", is_flag=True, help="Do not read it again before it gets its name.")
@json_option
def backup(db: str, target: str, unverified: bool, as_json: bool) -> int:
    """Make TARGET, which must not be there, a second store of all that DB holds.

    Its tables are hard links to DB's; on another file system they are copied. To restore, open it,
    or back it up to where the store should be.
    """
    require_store(db)
    with oor.open(db, create=False, background=False) as store:
        done = store.backup(target, verified=not unverified)
    if as_json:
        emit(asdict(done))
        return exits.FINE
    facts(
        [
            ("backup", done.path),
            ("holds", f"everything up to LSN {done.last_lsn:,}"),
            (
                "tables",
                f"{count(done.tables, 'table')}, {count(done.entries, 'entry', 'entries')},"
                f" {size(done.bytes)}, {size(done.copied_bytes)} of it copied",
            ),
            ("verified", "every byte" if done.verified else "no"),
            ("time", milliseconds(done.seconds)),
        ]
    )
    return exits.FINE
