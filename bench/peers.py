"""The last run of bench/history.jsonl as a page with a plot a group, and as the README's table.

    python -m bench.peers            writes docs/peers.md, docs/figures/peers-*.svg and .png, and
                                     the part of README.md between the marks

Nothing is measured here: `make bench-peers` measures, appends to the history, and then runs this.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import history
from bench.history import Entry
from bench.report import STORES, figure

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "peers.md"
FIGURES = ROOT / "docs" / "figures"
README = ROOT / "README.md"
BEGIN = "<!-- written by python -m bench.peers: begin -->"
END = "<!-- written by python -m bench.peers: end -->"


@dataclass(frozen=True)
class Group:
    """Workloads that belong into one plot."""

    name: str
    title: str
    workloads: tuple[str, ...]


GROUPS = (
    Group("durable", "Writes that wait for the device",
          ("fillsync", "fillsync16", "fillbatch100", "logbandwidth")),
    Group("logged", "Writes that are logged",
          ("fillseq", "fillrandom", "overwrite", "fillbatch1000", "fillcolumns")),
    Group("reads", "Reads of single keys",
          ("readrandom", "readmissing", "readhot", "multiget1000", "seekrandom")),
    Group("scans", "Scans", ("readseq", "readreverse", "readcolumns", "range100")),
    Group("mixes", "YCSB A to F", ("ycsba", "ycsbb", "ycsbc", "ycsbd", "ycsbe", "ycsbf")),
    Group("elsets", "Element sets", ("elsetingest", "latestall")),
    Group("upkeep", "Start, merge, space", ("recover", "compact", "diskbytes", "diskwhole")),
)  # fmt: skip
IN_README = (
    "fillsync", "fillbatch100", "fillrandom", "fillbatch1000", "readrandom", "readmissing",
    "readseq", "ycsba", "ycsbe", "recover", "diskbytes", "elsetingest", "latestall",
)  # fmt: skip
COLOURS = {"RocksDB": "#0072B2", "LevelDB": "#E69F00", "LMDB": "#009E73", "SQLite": "#CC79A7"}
"""Told apart by all kinds of eyes."""


# ---- words ---------------------------------------------------------------------------------------


def table(entry: Entry, names: Sequence[str]) -> list[str]:
    """Rows of Markdown: each store's figure, and the best peer's by oor's."""
    lines = [
        "| work | unit | " + " | ".join(STORES) + " | best peer, times oor |",
        "| --- | --- |" + " ---: |" * len(STORES) + " ---: |",
    ]
    for name in names:
        row = entry["workloads"].get(name)
        if row is None:
            continue
        own = " | ".join(figure(row["median"].get(store)) for store in STORES)
        best = history.best_peer(row)
        times = "" if best is None else f"{best[0]} {best[1]:.2f}"
        lines.append(f"| {row['what']} | {row['unit']} | {own} | {times} |")
    return lines


def circumstances(entry: Entry) -> str:
    """Where and how the run was made, in a sentence."""
    place = ", ".join(f"{name} {value}" for name, value in entry["machine"].items())
    return (
        f"Commit `{entry['commit']}`, {entry['date']}; {place}; {entry['records']:,} records,"
        f" {entry['rounds']} rounds; {', '.join(entry['versions'].values())}."
    )


def page(entry: Entry, runs: int) -> str:
    """The text of docs/peers.md."""
    parts = [
        "# oor beside its peers\n",
        "This page is made of the last line of `bench/history.jsonl` by `make bench-peers`, which"
        " measures,\nappends that line and draws. A bar is how many times as long as oor a store"
        " takes, the median over\ninterleaved rounds of one run: above 1 oor is ahead, below 1 the"
        " other. Single figures move with the\nmachine, these ratios much less. How each store is"
        " set is said at the top of `bench/stores.py`;\nwhat is wanted and what is missed is in"
        " [performance](performance.md).\n",
        circumstances(entry) + "\n",
    ]
    for group in GROUPS:
        if not any(name in entry["workloads"] for name in group.workloads):
            continue
        parts += [
            f"## {group.title}\n",
            f"![{group.title}: times as long as oor](figures/peers-{group.name}.svg)\n",
            "\n".join(table(entry, group.workloads)) + "\n",
        ]
    if runs > 1:
        parts += [
            "## Run by run\n",
            "The best peer's figure by oor's in each run of the history, the geometric mean of a"
            " group.\n",
            "![The best peer's figure by oor's, run by run](figures/peers-trend.svg)\n",
        ]
    return "\n".join(parts)


def readme_part(entry: Entry) -> str:
    """What stands between the marks in README.md."""
    return "\n".join(
        [
            BEGIN,
            "Medians of interleaved rounds in one run; above 1 in the last column oor is ahead of"
            " the best peer.",
            "",
            *table(entry, IN_README),
            "",
            circumstances(entry) + " Made by `make bench-peers`.",
            END,
        ]
    )


def with_part(text: str, part: str) -> str:
    """A README with the part between its marks replaced. ValueError if a mark is missing."""
    begin, end = text.index(BEGIN), text.index(END) + len(END)
    return text[:begin] + part + text[end:]


# ---- plots ---------------------------------------------------------------------------------------


def draw(entry: Entry, group: Group, folder: Path) -> None:
    """Bars of one group, as SVG and as PNG."""
    rows = {name: entry["workloads"][name] for name in group.workloads
            if name in entry["workloads"]}  # fmt: skip
    peers = [store for store in STORES if store in COLOURS
             and any(store in row["times_oor"] for row in rows.values())]  # fmt: skip
    figure_, axes = _axes(group.title, 1.1 + 1.15 * len(rows))
    width = 0.8 / max(1, len(peers))
    for number, store in enumerate(peers):
        at = [i + (number - (len(peers) - 1) / 2) * width for i in range(len(rows))]
        heights = [row["times_oor"].get(store, float("nan")) for row in rows.values()]
        bars = axes.bar(at, [h - 1 for h in heights], width, bottom=1, label=store,
                        color=COLOURS[store])  # fmt: skip
        labels = ["" if h != h else f"{h:.1f}" for h in heights]
        axes.bar_label(bars, labels, padding=1, fontsize=6)
    axes.set_xticks(range(len(rows)), list(rows), fontsize=8)
    _finish(figure_, axes, folder / f"peers-{group.name}")


def draw_trend(entries: Sequence[Entry], folder: Path) -> None:
    """The best peer by oor, a line a group, a point a run."""
    figure_, axes = _axes("Best peer, run by run", 5)
    for group in GROUPS:
        points = [_mean(entry, group) for entry in entries]
        axes.plot(range(len(entries)), points, marker="o", markersize=3, label=group.name)
    axes.set_xticks(range(len(entries)), [entry["commit"][:7] for entry in entries], fontsize=7)
    _finish(figure_, axes, folder / "peers-trend")


def _mean(entry: Entry, group: Group) -> float:
    found = [best[1] for name in group.workloads if name in entry["workloads"]
             and (best := history.best_peer(entry["workloads"][name]))]  # fmt: skip
    product = 1.0
    for value in found:
        product *= value
    return product ** (1 / len(found)) if found else float("nan")


def _axes(title: str, width: float) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    # The same run gives the same bytes: no clock and no chance in the SVG.
    matplotlib.rcParams.update({"svg.hashsalt": "oor", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure_, axes = pyplot.subplots(figsize=(max(4.0, width), 2.8))
    axes.set_title(title, fontsize=9)
    axes.set_ylabel("times as long as oor", fontsize=8)
    axes.set_yscale("log")
    return figure_, axes


def _finish(figure_: Any, axes: Any, path: Path) -> None:
    from matplotlib import pyplot, ticker

    axes.axhline(1, color="black", linewidth=1)
    axes.margins(y=0.12)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.tick_params(labelsize=7)
    axes.grid(axis="y", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=6, ncols=4, frameon=False, loc="upper center",
                bbox_to_anchor=(0.5, -0.12))  # fmt: skip
    figure_.tight_layout()
    figure_.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure_.savefig(path.with_suffix(".png"), dpi=100, metadata={"Software": None})
    pyplot.close(figure_)


def main() -> int:
    """Write page, plots and README."""
    entries = history.read()
    if not entries:
        print("bench/history.jsonl is empty: make bench-history", file=sys.stderr)
        return 1
    last = entries[-1]
    PAGE.write_text(page(last, len(entries)), encoding="utf-8")
    for group in GROUPS:
        if any(name in last["workloads"] for name in group.workloads):
            draw(last, group, FIGURES)
    if len(entries) > 1:
        draw_trend(entries[-20:], FIGURES)
    text = README.read_text(encoding="utf-8")
    README.write_text(with_part(text, readme_part(last)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
