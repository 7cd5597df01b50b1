"""`oor ingest`: element sets from files into a store."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import click

import oor
from oor.cli import exits
from oor.cli.opening import tell_recovery
from oor.cli.output import count, emit, json_option, note, size, store_argument
from oor.registry import TAIL_BYTES, IngestReport
from oor.registry import ingest as ingest_files


class Limit(click.ParamType):  # type: ignore[type-arg]
    """A count (`100`) or a share of what was read (`0.5%`)."""

    name = "N|N%"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, bool]:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", str(value))
        if match is None or (not match[2] and "." in match[1]):
            self.fail(
                f"{value!r} is neither a count nor a percentage, such as 100 or 0.5%", param, ctx
            )
        return float(match[1]), bool(match[2])


@click.command()
@store_argument
@click.argument("files", nargs=-1, required=True)
@click.option("--source", help="Who the sets come from; kept with each of them.")
@click.option(
    "--durability", type=click.Choice(["sync", "interval", "os"]),
    default="sync", show_default=True,
    help="When a batch is acknowledged: on stable storage, or logged.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["tle", "2le", "3le", "kvn", "xml", "json", "csv"]),
    help="What the files are; without it their content tells.",
)  # fmt: skip
@click.option("--expected", type=int, help="How many sets each file has; else it is not whole.")
@click.option("--strict", is_flag=True, help="Stop at the first reject.")
@click.option("--again", is_flag=True, help="Read files that were delivered whole before, too.")
@click.option("--max-rejected", type=Limit(), help="Exit with 1 if more than this was rejected.")
@json_option
def ingest(
    db: str, files: tuple[str, ...], source: str | None, durability: str, form: str | None,
    expected: int | None, strict: bool, again: bool, max_rejected: tuple[float, bool] | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Store the element sets of FILES in DB: TLE, 3LE, or OMM as KVN, XML, JSON and CSV.

    Files may be plain, gzip, xz, zstd or zip; a directory is all files below it; - is standard
    input. A file that was stored whole before is skipped, and one that was left in the middle is
    resumed.

    A set that is there already is not stored again; a different one of the same object and epoch is
    kept beside it. What is no element set goes to DB.quarantine.jsonl, byte for byte, with the
    reason.
    """
    with oor.open(db, durability=durability, tail_bytes=TAIL_BYTES) as store:
        tell_recovery(store)
        with _watched(store, files) as progress:
            report = ingest_files(
                store, files, source=source, format=form, progress=progress, expected=expected,
                strict=strict, again=again,
            )  # fmt: skip
        durable = store.sync()
    over = max_rejected is not None and _is_over(report, *max_rejected)
    if as_json:
        emit(_content(report, durable))
    else:
        _print(report, durable)
    for failure in report.failures:
        note(f"oor: {failure}")
    if report.failures:
        return exits.ERROR
    if over:
        note(
            f"oor: {count(report.quarantined, 'reject')} of {report.read:,}"
            " are more than --max-rejected allows"
        )
    return exits.REJECTS if over else exits.FINE


def _is_over(report: IngestReport, limit: float, share: bool) -> bool:
    return report.quarantined > (limit * report.read / 100 if share else limit)


def _content(report: IngestReport, durable: int) -> dict[str, Any]:
    content: dict[str, Any] = {
        name: getattr(report, name)
        for name in (
            "source",
            "read",
            "stored",
            "already_there",
            "quarantined",
            "last_lsn",
            "seconds",
        )
    }
    content["durable_lsn"] = durable
    content["quarantine_path"] = report.quarantine_path if report.quarantined else None
    content["rules"] = dict(report.rules)
    content["files"] = [
        {
            "path": file.path, "read": file.read, "stored": file.stored,
            "already_there": file.already_there, "quarantined": file.quarantined,
            "bytes": file.size, "failure": None if file.failure is None else str(file.failure),
        }
        for file in report.files
    ]  # fmt: skip
    return content


def _print(report: IngestReport, durable: int) -> None:
    rate = report.read / report.seconds if report.seconds else 0
    print(
        f"read {report.read:,} = stored {report.stored:,} + already there {report.already_there:,}"
        f" + quarantined {report.quarantined:,}"
    )
    print(
        f"{count(len(report.files), 'file')}, {size(report.size)} in {report.seconds:.2f} s:"
        f" {rate:,.0f} sets/s; durable up to LSN {durable:,}"
    )
    for file in report.files:
        if file.skipped:
            print(f"skipped {file.path}: delivery {file.delivery_id} has all of it")
        elif file.resumed_at is not None:
            print(f"resumed {file.path} at byte {file.resumed_at:,}")
    if report.quarantined:
        rules = ", ".join(f"{rule} {number:,}" for rule, number in report.rules.most_common())
        print(f"rejected by rule: {rules}")
        print(f"quarantine: {report.quarantine_path}")


# ---- progress ------------------------------------------------------------------------------------


def _watched(store: oor.DB, files: tuple[str, ...]) -> Any:
    """A context that gives what `ingest` calls after each batch, if somebody looks."""
    if not sys.stderr.isatty():
        import contextlib

        return contextlib.nullcontext()
    return _Bar(store, files)


class _Bar:
    """A bar by bytes where the sizes are known, and by files where inputs are packed or pipes."""

    def __init__(self, store: oor.DB, files: tuple[str, ...]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._store = store
        plain = all(os.path.isfile(file) and not file.endswith((".gz", ".xz")) for file in files)
        self._by_bytes = plain
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(
                "{task.fields[sets]} sets  {task.fields[rate]} sets/s"
                "  durable LSN {task.fields[durable]}"
            ),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        total = sum(map(os.path.getsize, files)) if plain else len(files)
        self._task = self._progress.add_task("", total=total, sets="0", rate="0", durable="0")

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, report: IngestReport) -> None:
        self._progress.update(
            self._task,
            description=os.path.basename(report.files[-1].path),
            completed=report.size if self._by_bytes else len(report.files) - 1,
            sets=f"{report.read:,}",
            rate=f"{report.read / report.seconds:,.0f}",
            durable=f"{self._store.durable_lsn:,}",
        )
