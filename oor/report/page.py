"""The page: one HTML file with all that it needs inside. Its own policy forbids every fetch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from oor.registry import Delivery
from oor.report.charts import charts
from oor.report.facts import Facts, Orbit

_ROWS = 20

_CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f3f5f7; color: #22303c;
       font: 15px/1.5 Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 36px 24px 60px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 2px; }
p { margin: 0 0 10px; color: #5a6975; max-width: 105ch; }
header p { margin: 6px 0 22px; }
section { background: #fff; border: 1px solid #dfe5ea; border-radius: 10px;
          padding: 20px 22px 16px; margin-top: 18px; overflow-x: auto; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr));
     gap: 12px; margin: 0; }
dl div { background: #fff; border: 1px solid #dfe5ea; border-radius: 10px; padding: 12px 16px; }
dt { color: #5a6975; font-size: 13px; }
dd { margin: 0; font-size: 22px; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; margin-top: 10px; font-size: 13.5px; }
th { text-align: left; color: #5a6975; font-weight: normal; border-bottom: 1px solid #b8c4d0; }
th, td { padding: 4px 14px 4px 0; white-space: nowrap; vertical-align: top; }
td { border-bottom: 1px solid #eef1f4; font-variant-numeric: tabular-nums; }
.n { text-align: right; }
.w { white-space: normal; overflow-wrap: anywhere; }
.bad { color: #c8442f; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""


def page(facts: Facts) -> str:
    """The page of a store. Raises OorError if matplotlib is not there. Cost: about a second."""
    drawn = charts(facts)
    moment = _utc(facts.moment)
    body = [
        f"<header><h1>{escape(facts.path)}</h1>",
        f"<p>The store as it was on {moment}. Times are UTC.</p>{_tiles(facts)}</header>",
        _section(
            "deliveries", "Deliveries over time",
            "Each file, archive member and pipe is one. What was read is stored, was there already,"
            " or is in quarantine.",
            drawn["deliveries"] + _deliveries(facts.deliveries),
        ),
        _section(
            "ages", "Age of the newest set, by object",
            "Bars count objects of an age; the line says how many are not older. Below are those"
            " that have waited longest.",
            drawn["ages"] + _stalest(facts),
        ),
        _section(
            "orbits", "Orbits by regime",
            "Apogee over perigee of each object's newest set. A circular orbit lies on the line."
            " What would lie below 80 km is drawn there.",
            drawn["orbits"],
        ),
        _section(
            "quarantine", "Quarantine",
            "What was refused, by the rule that it broke; all of it is in the quarantine file.",
            drawn["quarantine"],
        ),
        _section(
            "shapes", "Log and levels",
            "Where the bytes are: in memory, in the log, and in tables from the newest level down.",
            drawn["shapes"],
        ),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(facts.path)}</title><style>{_CSS}</style></head>\n"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _section(name: str, title: str, text: str, content: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2><p>{text}</p>{content}</section>\n'


def _tiles(facts: Facts) -> str:
    rejects = sum(facts.rules.values())
    partial = sum(not one.whole for one in facts.deliveries)
    tiles = [
        ("objects", f"{len(facts.orbits):,}"),
        ("element sets", f"{facts.sets:,}"),
        ("sources", f"{len(facts.sources):,}"),
        ("deliveries", f"{len(facts.deliveries):,}"),
        ("not whole", f"{partial:,}"),
        ("in quarantine", f"{rejects:,}"),
        ("on disk", f"{facts.disk_bytes / 2**20:,.1f} MiB"),
        ("last LSN", f"{facts.stats.last_lsn:,}"),
    ]
    inside = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles)
    return f"<dl>{inside}</dl>"


def _deliveries(deliveries: Sequence[Delivery]) -> str:
    rows = []
    for one in deliveries[: -_ROWS - 1 : -1]:
        if one.whole:
            state = "whole"
        elif one.finished is None:
            state = '<span class="bad">not finished</span>'
        else:
            state = f'<span class="bad">{escape(one.failure or "")}</span>'
        rows.append(
            f"<tr><td>{_utc(datetime.fromtimestamp(one.started, UTC))}</td>"
            f"<td>{escape(one.source or '')}</td><td class=w>{escape(one.file)}</td>"
            f"{_numbers((one.read, one.stored, one.already_there, one.quarantined))}"
            f"<td class=w>{state}</td></tr>"
        )
    head = "<th>began<th>source<th>file" + "".join(
        f"<th class=n>{name}" for name in ("read", "stored", "there", "quarantined")
    )
    return _table(f"{head}<th>state", rows)


def _stalest(facts: Facts) -> str:
    orbits: list[Orbit] = sorted(facts.orbits, key=lambda orbit: orbit.epoch_us)[:10]
    rows = [
        f"<tr><td class=n>{one.number}</td><td>{escape(one.name)}</td>"
        f"<td>{_utc(datetime.fromtimestamp(one.epoch_us / 1e6, UTC))}</td>"
        f"<td class=n>{facts.age_days(one):,.1f}</td><td>{one.regime}</td>"
        f"<td>{escape(one.source or '')}</td></tr>"
        for one in orbits
    ]
    head = "<th class=n>number<th>name<th>epoch<th class=n>age, days<th>regime<th>source"
    return _table(head, rows)


def _table(head: str, rows: Iterable[str]) -> str:
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _numbers(values: Iterable[int]) -> str:
    return "".join(f"<td class=n>{value:,}</td>" for value in values)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
