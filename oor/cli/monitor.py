"""`oor stat`, `oor top`, `oor metrics`: a store seen from outside, whoever writes to it."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

import click

import oor
from oor import metrics as metrics_of
from oor.cli import exits
from oor.cli.opening import require_store
from oor.cli.output import count, emit, facts, json_option, size, store_argument, table
from oor.native import ffi, lib
from oor.registry import Registry
from oor.survey import Survey, survey

# ---- stat ----------------------------------------------------------------------------------------


@click.command()
@store_argument
@json_option
def stat(db: str, as_json: bool) -> int:
    """Show what DB holds: LSNs, log, memtable, tables by level, amplification, loss window.

    Nothing is locked, recovered or written: a process may be writing to DB. How its log reaches
    the device is known to that process alone (`db.stats().sync_method`); `oor doctor` tells the
    way that a store takes in a directory.
    """
    require_store(db)
    found = survey(db)
    with oor.open(db, read_only=True, recovery="salvage") as store:
        sources = list(Registry(store).sources().values())
        codecs = store.codecs()
    if as_json:
        emit(_content(found) | {"sources": sources, "codecs": codecs})
        return exits.FINE
    facts(
        [
            *picture(found),
            ("compression", _compression(found, codecs)),
            ("checksums", f"CRC32C, {ffi.string(lib.oor_crc32c_name()).decode('ascii')}"),
            ("sources", ", ".join(sources) or "none named"),
        ]
    )
    print()
    print_levels(found)
    return exits.FINE


def _compression(found: Survey, codecs: dict[str, int]) -> str:
    """What the tables are packed with, and what that is worth."""
    if not codecs:
        return "no table yet"
    tables = ", ".join(f"{name} in {count(number, 'table')}" for name, number in codecs.items())
    return (
        f"{tables}; {size(found.payload_bytes)} of keys and values in {size(found.table_bytes)},"
        f" filters and indexes included"
    )


def _content(found: Survey) -> dict[str, Any]:
    """A survey as JSON has it: its fields and what follows from them."""
    return asdict(found) | {
        "unflushed_records": found.unflushed_records,
        "at_risk_records": found.at_risk_records,
        "table_bytes": found.table_bytes,
        "space_amplification": round(found.space_amplification, 4),
        "read_amplification": found.read_amplification,
    }


def picture(found: Survey) -> list[tuple[str, str]]:
    """A survey in a dozen lines."""
    at_risk = (
        "nothing: all of it is durable"
        if not found.at_risk_records
        else f"at most {count(found.at_risk_records, 'mutation')}, as far as the files tell"
    )
    return [
        ("store", found.path),
        ("state", _state(found)),
        ("on disk", size(found.disk_bytes)),
        (
            "LSN",
            f"last {found.last_lsn:,}, durable {found.durable_lsn:,}, in tables"
            f" {found.flushed_lsn:,}",
        ),
        ("loss window", at_risk),
        (
            "memtable",
            f"{count(found.unflushed_records, 'mutation')} in the log and in no table",
        ),
        (
            "log",
            f"{count(found.log_segments, 'segment')}, {size(found.log_bytes)}"
            f" to redo, last checkpoint at LSN {found.checkpoint_lsn:,}",
        ),
        (
            "amplification",
            f"space {found.space_amplification:.2f}, a lookup asks at most"
            f" {count(found.read_amplification, 'place')}",
        ),
    ]


def _state(found: Survey) -> str:
    if found.damage is not None:
        return f"damaged: {found.damage}"
    if found.closed:
        return "closed in order"
    if found.owner is not None:
        return f"open: {found.owner}"
    return "not closed in order: the next open recovers it"


def print_levels(found: Survey) -> None:
    """The tables by level."""
    rows = [
        (str(level), each.tables, each.entries, each.tombstones, size(each.bytes))
        for level, each in enumerate(found.levels)
    ]
    table(("level", "tables", "entries", "tombstones", "size"), rows)


# ---- top -----------------------------------------------------------------------------------------

CLEAR = "\x1b[H\x1b[J"


@click.command()
@store_argument
@click.option("--every", default=1.0, show_default=True, help="Seconds between pictures.")
@click.option("--count", "times", default=0, help="End after so many pictures; 0: go on.")
@json_option
def top(db: str, every: float, times: int, as_json: bool) -> int:
    """Show DB live, from another process than the one that writes, until interrupted.

    All of it is read from the files, read-only: LSNs, levels and sizes are those of the moment;
    rates are differences between two pictures; the writer's own counters (cache hits, stalls) are
    in `oor.DB.stats` and are not shown.
    """
    require_store(db)
    if not 0.05 <= every <= 3600:
        raise click.BadParameter("between 0.05 and 3600 seconds", param_hint="--every")
    live = not as_json and sys.stdout.isatty()
    before: tuple[float, Survey] | None = None
    shown = 0
    while True:
        began, found = time.monotonic(), survey(db)
        rates = _rates(before, (began, found))
        if as_json:
            emit(_content(found) | rates)
        else:
            if live:
                print(CLEAR, end="")
            _show(found, rates)
        before = (began, found)
        shown += 1
        if shown == times:
            return exits.FINE
        if not live and not as_json:
            print()
        time.sleep(max(0.0, began + every - time.monotonic()))


def _rates(before: tuple[float, Survey] | None, now: tuple[float, Survey]) -> dict[str, float]:
    """What changed a second; nothing for the first picture."""
    if before is None or now[0] <= before[0]:
        return {}
    seconds = now[0] - before[0]
    old, new = before[1], now[1]
    return {
        "mutations_per_second": (new.last_lsn - old.last_lsn) / seconds,
        "flushed_per_second": (new.flushed_lsn - old.flushed_lsn) / seconds,
        "edits_per_second": (new.manifest_edits - old.manifest_edits) / seconds,
    }


def _show(found: Survey, rates: dict[str, float]) -> None:
    written = (
        f"{rates['mutations_per_second']:,.0f} mutations/s logged,"
        f" {rates['flushed_per_second']:,.0f}/s flushed,"
        f" {rates['edits_per_second']:,.1f} edits/s of the manifest"
        if rates
        else "from the second picture on"
    )
    facts([*picture(found), ("rates", written)])
    print()
    print_levels(found)


# ---- metrics -------------------------------------------------------------------------------------


@click.command()
@store_argument
@json_option
def metrics(db: str, as_json: bool) -> int:
    """Print what the files of DB tell as Prometheus text; docs/metrics.md lists every metric.

    Read-only, beside a writer; for the textfile collector: oor metrics DB > oor.prom
    """
    require_store(db)
    samples = list(metrics_of.of_survey(survey(db)))
    if as_json:
        for sample in samples:
            for label, value in sample.values:
                emit(
                    {"name": sample.metric.name, "unit": sample.metric.unit, "value": value}
                    | ({sample.metric.label: label} if sample.metric.label else {})
                )
    else:
        print(metrics_of.render(samples, db), end="")
    return exits.FINE
