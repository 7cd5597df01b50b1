"""What is wanted of each workload: an absolute figure, and a distance from the best other store.

The absolute figures were set on a quiet machine of two cores whose disk takes a direct 4 KiB write
in 73 us. The distance, `ahead`, is what holds elsewhere and on a busy machine: both sides of it
come from the same rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.measure import Figures


@dataclass(frozen=True)
class Budget:
    """At the most `figure` (at the least, where more is better), `ahead` times the best peer."""

    figure: float | None = None
    ahead: float | None = None
    of: tuple[float, str] | None = None
    """The figure as so many times another column of the same rounds; "best" is a peer."""

    def wanted(self, figures: Figures) -> float | None:
        """The absolute figure, where it can be known."""
        if self.of is None:
            return self.figure
        factor, whose = self.of
        found = figures.median(best_peer(figures) or "" if whose == "best" else whose)
        return None if found is None else factor * found


PROBES = ("direct", "fdatasync", "memory")

BUDGETS = {
    "fillsync": Budget(of=(1.15, "direct"), ahead=1.5),
    "fillsync16": Budget(of=(0.5, "best"), ahead=2.0),
    "fillbatch100": Budget(1.2, ahead=1.8),
    "logbandwidth": Budget(of=(1 / 0.85, "direct")),
    "fillseq": Budget(0.7, ahead=2.5),
    "fillrandom": Budget(0.7, ahead=2.5),
    "overwrite": Budget(0.7, ahead=2.5),
    "fillbatch1000": Budget(0.3, ahead=2.0),
    "fillcolumns": Budget(ahead=4.0),
    "readrandom": Budget(0.7, ahead=1.2),
    "readmissing": Budget(0.4, ahead=2.0),
    "readhot": Budget(ahead=2.0),
    "multiget1000": Budget(0.35, ahead=2.5),
    "readseq": Budget(0.1, ahead=2.0),
    "readreverse": Budget(0.1, ahead=2.0),
    "readcolumns": Budget(ahead=10.0),
    "range100": Budget(ahead=2.0),
    "recover": Budget(20.0),
    "diskbytes": Budget(of=(1.0, "RocksDB"), ahead=1.0),
    "crc32c-64": Budget(of=(1.0, "memory")),
    "crc32c-200": Budget(of=(1.0, "memory")),
    "crc32c-4096": Budget(of=(1.0, "memory")),
}


def best_peer(figures: Figures) -> str | None:
    """The other store that comes nearest."""
    peers = [who for who in figures.rounds if who != "oor" and who not in PROBES]
    ratios = {who: figures.ratio(who) for who in peers}
    known = {who: ratio for who, ratio in ratios.items() if ratio is not None}
    return min(known, key=known.__getitem__) if known else None


@dataclass(frozen=True)
class Verdict:
    """The best peer and how far oor is ahead of it, what is wanted, and whether it is met."""

    peer: str | None
    ahead: float | None
    ahead_wanted: float | None
    wanted: float | None
    figure_met: bool | None
    ahead_met: bool | None


def judge(figures: Figures) -> Verdict:
    """Hold the figures against their budget; None where there is nothing to hold against."""
    budget = BUDGETS.get(figures.name, Budget())
    ours = figures.median("oor")
    wanted = budget.wanted(figures)
    peer = best_peer(figures)
    ahead = figures.ratio(peer) if peer else None
    figure_met = None
    if ours is not None and wanted is not None:
        figure_met = ours >= wanted if figures.higher_is_better else ours <= wanted
    ahead_met = None
    if ahead is not None and budget.ahead is not None:
        ahead_met = ahead >= budget.ahead
    return Verdict(peer, ahead, budget.ahead, wanted, figure_met, ahead_met)
