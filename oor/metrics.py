"""What a store tells a monitoring system: every metric with its unit, and the Prometheus text.

A metric comes from the files (`of_survey`: any process may ask, the writer is not disturbed), from
an open store's own counters (`of_stats`: only the process that writes knows them), or from both.
Names follow the conventions of Prometheus: base units, `_total` for counters. docs/metrics.md lists
them all; a test holds the list to this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from oor.stats import Stats
from oor.survey import Survey

Read = Callable[[Any], "float | dict[str, float]"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; a dict as its value has a sample for each label value."""

    name: str
    kind: str
    """`gauge` or `counter`; counters start at 0 with each open."""
    unit: str
    help: str
    stats: Read | None = None
    survey: Read | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of one metric now: pairs of a label's value (empty: no label) and a number."""

    metric: Metric
    values: tuple[tuple[str, float], ...]


def _levels(field: str) -> Read:
    def read(source: Stats | Survey) -> dict[str, float]:
        return {str(n): getattr(level, field) for n, level in enumerate(source.levels)}

    return read


def _field(name: str) -> Read:
    def read(source: Stats | Survey) -> float:
        return float(getattr(source, name))

    return read


TABLE: tuple[Metric, ...] = (
    Metric("oor_last_lsn", "gauge", "LSN", "Newest mutation that was logged.",
           stats=_field("last_lsn"), survey=_field("last_lsn")),
    Metric("oor_durable_lsn", "gauge", "LSN", "Newest mutation known to be on stable storage.",
           stats=_field("durable_lsn"), survey=_field("durable_lsn")),
    Metric("oor_flushed_lsn", "gauge", "LSN", "Newest mutation that is in tables.",
           stats=_field("flushed_lsn"), survey=_field("flushed_lsn")),
    Metric("oor_at_risk_records", "gauge", "mutations",
           "Mutations logged and not known to be durable: what a power loss now could take.",
           stats=lambda s: max(0, s.last_lsn - s.durable_lsn), survey=lambda s: s.at_risk_records),
    Metric("oor_memtable_bytes", "gauge", "bytes", "Keys and values of the active memtable.",
           stats=lambda s: s.memtable_bytes),
    Metric("oor_memtable_entries", "gauge", "entries", "Entries of the active memtable.",
           stats=lambda s: s.memtable_entries),
    Metric("oor_immutable_memtables", "gauge", "memtables", "Memtables that wait for their flush.",
           stats=lambda s: s.immutables),
    Metric("oor_unflushed_records", "gauge", "mutations", "Mutations in the log and in no table.",
           stats=lambda s: max(0, s.last_lsn - s.flushed_lsn),
           survey=lambda s: s.unflushed_records),
    Metric("oor_log_segments", "gauge", "segments", "Segments of the log that are still needed.",
           stats=lambda s: s.log.segment_count, survey=lambda s: s.log_segments),
    Metric("oor_log_live_bytes", "gauge", "bytes", "Log that is still needed.",
           stats=lambda s: s.log.live_bytes, survey=lambda s: s.log_bytes),
    Metric("oor_log_appended_bytes_total", "counter", "bytes", "Frames appended to the log.",
           stats=lambda s: s.log.appended_bytes),
    Metric("oor_log_written_bytes_total", "counter", "bytes",
           "Log bytes written to the device, rewritten tail blocks included.",
           stats=lambda s: s.log.written_bytes),
    Metric("oor_log_frames_total", "counter", "frames", "Frames, one a batch, that were appended.",
           stats=lambda s: s.log.frames),
    Metric("oor_log_syncs_total", "counter", "syncs", "Syncs of the log.",
           stats=lambda s: s.log.syncs),
    Metric("oor_loss_window_seconds_max", "gauge", "seconds",
           "Longest time that anything was logged and not yet durable.",
           stats=lambda s: s.loss_window.seconds),
    Metric("oor_loss_window_records_max", "gauge", "mutations",
           "Most mutations that were ever logged and not yet durable.",
           stats=lambda s: s.loss_window.records),
    Metric("oor_level_tables", "gauge", "tables", "Tables of a level.", label="level",
           stats=_levels("tables"), survey=_levels("tables")),
    Metric("oor_level_bytes", "gauge", "bytes", "Files of a level's tables.", label="level",
           stats=_levels("bytes"), survey=_levels("bytes")),
    Metric("oor_level_entries", "gauge", "entries", "Entries of a level, tombstones included.",
           label="level", stats=_levels("entries"), survey=_levels("entries")),
    Metric("oor_level_tombstones", "gauge", "tombstones", "Tombstones of a level.", label="level",
           stats=_levels("tombstones"), survey=_levels("tombstones")),
    Metric("oor_disk_bytes", "gauge", "bytes", "All files of the store.",
           survey=lambda s: s.disk_bytes),
    Metric("oor_space_amplification_ratio", "gauge", "ratio",
           "All tables by the deepest level: 1 is the least.",
           survey=lambda s: s.space_amplification),
    Metric("oor_read_amplification", "gauge", "places",
           "Places that a lookup may have to ask: memtable, level 0's tables, deeper levels.",
           survey=lambda s: s.read_amplification),
    Metric("oor_flushes_total", "counter", "flushes", "Memtables flushed in the background.",
           stats=lambda s: s.flushes),
    Metric("oor_compactions_total", "counter", "compactions", "Compactions that were installed.",
           stats=lambda s: s.compactions),
    Metric("oor_compaction_bytes_total", "counter", "bytes", "Bytes that compactions read.",
           stats=lambda s: s.amplification.compaction_bytes_read),
    Metric("oor_checkpoints_total", "counter", "checkpoints", "Checkpoints in the background.",
           stats=lambda s: s.checkpoints),
    Metric("oor_stalls_total", "counter", "stalls", "Times that a writer had to wait.",
           stats=lambda s: s.stalls),
    Metric("oor_stall_seconds_total", "counter", "seconds", "Time that writers waited.",
           stats=lambda s: s.stall_seconds),
    Metric("oor_cache_used_bytes", "gauge", "bytes", "Blocks in the block cache.",
           stats=lambda s: s.cache.used),
    Metric("oor_cache_pinned_bytes", "gauge", "bytes", "Filters and indexes of open tables.",
           stats=lambda s: s.cache.pinned),
    Metric("oor_cache_hits_total", "counter", "blocks", "Blocks that the cache had.",
           stats=lambda s: s.cache.hits),
    Metric("oor_cache_misses_total", "counter", "blocks", "Blocks that were read from a table.",
           stats=lambda s: s.cache.misses),
    Metric("oor_filter_checks_total", "counter", "lookups", "Lookups that asked a table's filter.",
           stats=lambda s: s.cache.filter_checks),
    Metric("oor_filter_skips_total", "counter", "lookups",
           "Lookups that a filter kept from a table.",
           stats=lambda s: s.cache.filter_skips),
    Metric("oor_failed", "gauge", "0 or 1", "1: the log has failed, the store is read-only.",
           stats=lambda s: s.log.failed),
    Metric("oor_damaged", "gauge", "0 or 1", "1: an open would refuse the store.",
           survey=lambda s: float(s.damage is not None)),
    Metric("oor_open", "gauge", "0 or 1", "1: a process has the store open for writing.",
           survey=lambda s: float(s.owner is not None)),
)  # fmt: skip


def of_stats(stats: Stats) -> Iterator[Sample]:
    """The samples that an open store has.

    >>> import oor, tempfile
    >>> from oor import metrics
    >>> with oor.open(tempfile.mkdtemp() + "/s.oor") as db:
    ...     lsn = db.put(b"k", b"v")
    ...     next(metrics.of_stats(db.stats())).values
    (('', 1.0),)
    """
    for metric in TABLE:
        if metric.stats is not None:
            yield Sample(metric, _values(metric.stats(stats)))


def of_survey(survey: Survey) -> Iterator[Sample]:
    """The samples that the files of a store give to anybody."""
    for metric in TABLE:
        if metric.survey is not None:
            yield Sample(metric, _values(metric.survey(survey)))


def _values(value: float | dict[str, float]) -> tuple[tuple[str, float], ...]:
    if isinstance(value, dict):
        return tuple((label, float(number)) for label, number in value.items())
    return (("", float(value)),)


def render(samples: Iterable[Sample], store: str) -> str:
    r"""The samples in the text format of Prometheus, version 0.0.4, each with the label `store`.

    >>> from oor.metrics import TABLE, Sample, render
    >>> print(render([Sample(TABLE[0], (("", 7.0),))], "a.oor"), end="")
    # HELP oor_last_lsn Newest mutation that was logged.
    # TYPE oor_last_lsn gauge
    oor_last_lsn{store="a.oor"} 7
    """
    lines = []
    for sample in samples:
        metric = sample.metric
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for label, value in sample.values:
            labels = f'store="{_escaped(store)}"'
            if metric.label:
                labels += f',{metric.label}="{_escaped(label)}"'
            lines.append(f"{metric.name}{{{labels}}} {value:.17g}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
