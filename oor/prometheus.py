"""A collector for prometheus_client: `pip install 'oor[prometheus]'`.

from prometheus_client import REGISTRY, start_http_server
from oor.prometheus import Collector

REGISTRY.register(Collector(db))
start_http_server(9464)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from oor.errors import ClosedError, OorError
from oor.metrics import of_stats
from oor.stats import Stats

try:
    from prometheus_client import core
except ImportError as error:
    raise OorError(
        "prometheus_client is not installed; `pip install 'oor[prometheus]'` brings it"
    ) from error


class Source(Protocol):
    """An open store."""

    path: str

    def stats(self) -> Stats:
        """What it holds and has done."""


class Collector:
    """Gives the metrics of an open store to a registry, each with the label `store`.

    Cost: one `DB.stats` a scrape, in the thread that scrapes. A closed store gives nothing.
    """

    def __init__(self, db: Source) -> None:
        self._db = db

    def describe(self) -> list[Any]:
        """Nothing: the names are known when the store is asked, and asking it may be too early."""
        return []

    def collect(self) -> Iterator[Any]:
        """One metric family after the other."""
        try:
            stats = self._db.stats()
        except ClosedError:
            return
        for sample in of_stats(stats):
            metric = sample.metric
            counts = metric.kind == "counter"
            family = core.CounterMetricFamily if counts else core.GaugeMetricFamily
            labels = ["store", metric.label] if metric.label else ["store"]
            found = family(metric.name, metric.help, labels=labels)
            for label, value in sample.values:
                found.add_metric([self._db.path, label] if metric.label else [self._db.path], value)
            yield found
