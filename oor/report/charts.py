"""The charts of the page, as SVG that stands in HTML; by matplotlib, which is an extra.

Text stays text, so a chart can be searched and is drawn in the page's own font. Clouds of points
are one picture inside the SVG: a catalogue has tens of thousands of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from oor.errors import OorError
from oor.registry.rules import REASONS
from oor.report.facts import REGIMES, Facts

BLUE, GREY, RED, INK, RULE = "#2a6fb0", "#b8c4d0", "#c8442f", "#22303c", "#dfe5ea"
REGIME_COLOURS = dict(zip(REGIMES, (BLUE, "#2f9e77", "#d9922b", "#8a5cc2", "#7a8894"), strict=True))
_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "oor", "font.family": "sans-serif", "font.size": 10,
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#8997a3",
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.grid": True, "grid.color": RULE, "grid.linewidth": 0.8, "axes.axisbelow": True,
    "axes.titlelocation": "left", "legend.frameon": False,
}  # fmt: skip
_BINS = 60
_DAY = 86_400.0


def charts(facts: Facts) -> dict[str, str]:
    """Each chart by its name, as an <svg> element. Raises OorError if matplotlib is not there."""
    return {
        "deliveries": _svg(facts, _deliveries, (9.6, 2.9)),
        "ages": _svg(facts, _ages, (9.6, 3.4)),
        "orbits": _svg(facts, _orbits, (9.6, 6.2)),
        "quarantine": _svg(facts, _quarantine, (9.6, 0.9 + 0.34 * max(1, len(facts.rules)))),
        "shapes": _svg(facts, _shapes, (9.6, 1.5 + 0.34 * len(facts.stats.levels))),
    }


def _svg(facts: Facts, draw: Callable[[Any, Facts], None], size: tuple[float, float]) -> str:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise OorError("a report needs matplotlib: pip install 'oor[plot]'") from None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure, facts)
        out = io.StringIO()
        figure.savefig(out, format="svg", dpi=160, transparent=True, metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _deliveries(figure: Any, facts: Facts) -> None:
    """Sets by the time at which they came, what was known and what was refused on top."""
    axes = figure.subplots()
    if not facts.deliveries:
        _nothing(axes, "no deliveries")
        return
    times = [one.started for one in facts.deliveries]
    first, last = min(times), max(times)
    middle, span = (first + last) / 2, max((last - first) * 1.04, 60.0)
    start, width = middle - span / 2, span / _BINS
    parts = (("stored", BLUE), ("already_there", GREY), ("quarantined", RED))
    heights = {name: [0] * _BINS for name, _ in parts}
    for one in facts.deliveries:
        place = min(_BINS - 1, int((one.started - start) / width))
        for name, _ in parts:
            heights[name][place] += getattr(one, name)
    lefts = [_moment(start + i * width) for i in range(_BINS)]
    base = [0] * _BINS
    for name, colour in parts:
        axes.bar(
            lefts, heights[name], timedelta(seconds=width * 0.9), base, align="edge",
            color=colour, label=name.replace("_", " "),
        )  # fmt: skip
        base = [low + high for low, high in zip(base, heights[name], strict=True)]
    cut = [_moment(one.started) for one in facts.deliveries if not one.whole]
    if cut:
        axes.plot(cut, [0] * len(cut), "v", color=RED, clip_on=False, label="not whole")
    axes.grid(axis="x", visible=False)
    _dates(axes.xaxis)
    _thousands(axes.yaxis)
    axes.set_ylabel("element sets")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0)


def _ages(figure: Any, facts: Facts) -> None:
    """How old the newest set of each object is, and how many objects are younger than that."""
    axes = figure.subplots()
    ages = sorted(max(facts.age_days(orbit), 1 / 24) for orbit in facts.orbits)
    if not ages:
        _nothing(axes, "no objects")
        return
    low, high = ages[0] / 1.15, ages[-1] * 1.15
    edges = [low * (high / low) ** (i / _BINS) for i in range(_BINS + 1)]
    axes.hist(ages, edges, color=BLUE)
    axes.set_xscale("log")
    axes.set_ylabel("objects")
    axes.set_xlabel("age of the newest set, to the moment of this page")
    marks = [
        (days, text) for days, text in (
            (1 / 24, "1 hour"), (6 / 24, "6 hours"), (1, "1 day"), (3, "3 days"), (7, "1 week"),
            (30, "1 month"), (91, "3 months"), (365, "1 year"), (1096, "3 years"),
            (3652, "10 years"), (10957, "30 years"),
        ) if low <= days <= high
    ]  # fmt: skip
    if len(marks) > 1:
        axes.set_xticks([days for days, _ in marks], [text for _, text in marks])
        axes.xaxis.set_minor_locator(_no_ticks())
    axes.grid(axis="x", visible=False)
    _thousands(axes.yaxis)
    share = axes.twinx()
    share.step(ages, [100 * (i + 1) / len(ages) for i in range(len(ages))], color=INK, where="post")
    share.set_ylim(0, 103)
    share.set_ylabel("% of objects not older")
    share.grid(visible=False)


def _orbits(figure: Any, facts: Facts) -> None:
    """Apogee over perigee: circular orbits lie on the diagonal, transfer orbits far above it."""
    axes = figure.subplots()
    if not facts.orbits:
        _nothing(axes, "no objects")
        return
    for regime in REGIMES:
        some = [one for one in facts.orbits if one.regime == regime]
        if some:
            axes.scatter(
                [max(one.perigee_km, 80) for one in some], [max(one.apogee_km, 80) for one in some],
                s=5, linewidths=0, alpha=0.45, color=REGIME_COLOURS[regime], rasterized=True,
                label=f"{regime} {len(some):,}",
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    low = 80
    high = max(one.apogee_km for one in facts.orbits) * 1.2
    axes.plot([low, high], [low, high], color=INK, linewidth=0.7)
    axes.set_xlim(low, max(high, 40_000))
    axes.set_ylim(low, max(high, 40_000))
    marks = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 35_786, 100_000, 300_000]
    marks = [mark for mark in marks if mark <= max(high, 40_000)]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(marks, [f"{mark:,}" for mark in marks])
        axis.set_minor_locator(_no_ticks())
    axes.set_xlabel("perigee, km above the equator")
    axes.set_ylabel("apogee, km above the equator")
    legend = axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=5, markerscale=3, borderaxespad=0.2
    )
    for handle in legend.legend_handles:
        handle.set_alpha(1)
        handle.set_rasterized(False)


def _quarantine(figure: Any, facts: Facts) -> None:
    """Rejects by rule."""
    axes = figure.subplots()
    rules = facts.rules.most_common()[::-1]
    if not rules:
        _nothing(axes, "nothing was refused")
        return
    axes.barh([rule for rule, _ in rules], [number for _, number in rules], color=RED, height=0.6)
    most = rules[-1][1]
    for place, (rule, number) in enumerate(rules):
        axes.text(number + most * 0.012, place, f"{number:,}  {REASONS.get(rule, '')}", va="center")
    axes.set_xlim(0, most * 1.9)
    axes.grid(visible=False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _shapes(figure: Any, facts: Facts) -> None:
    """Where the bytes are, from memory down to the last level."""
    axes = figure.subplots()
    stats = facts.stats
    rows = [
        ("memtable", stats.memtable_bytes, f"{stats.memtable_entries:,} entries"),
        ("log", stats.log.live_bytes, "what redo may need"),
    ]
    for level, one in enumerate(stats.levels):
        what = f"{one.tables:,} tables, {one.entries:,} entries"
        rows.append((f"level {level}", one.bytes, what))
    rows.reverse()
    sizes = [size / 2**20 for _, size, _ in rows]
    colours = [GREY if name in ("memtable", "log") else BLUE for name, _, _ in rows]
    axes.barh([name for name, _, _ in rows], sizes, color=colours, height=0.6)
    most = max(*sizes, 0.001)
    for place, (size, row) in enumerate(zip(sizes, rows, strict=True)):
        axes.text(size + most * 0.012, place, f"{size:,.1f} MiB, {row[2]}", va="center")
    axes.set_xlim(0, most * 1.55)
    axes.grid(visible=False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _nothing(axes: Any, text: str) -> None:
    axes.set_axis_off()
    axes.text(0, 0.5, text, transform=axes.transAxes, va="center", color="#6b7a87")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _dates(axis: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=9)
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))


def _thousands(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis.set_major_locator(MaxNLocator(5, integer=True))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
