"""Writes the metrics in the format that is asked for, from a registry of their own."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from stream.buckets import Buckets
from stream.metrics.processes import Processes, Usage
from stream.metrics.rows import rows_of
from stream.metrics.table import METRICS, STREAM, Metric
from stream.vitals import Vitals

Sample = tuple[tuple[str, ...], float | Buckets]


class ReadsProcesses(Protocol):
    """Tells what processes used."""

    def read(self, pids: Mapping[str, int]) -> dict[str, Usage]:
        """See `Processes.read`."""


class Exposition(Collector):
    """All metrics of one run.

    Args:
        vitals: What is known of it.
        clock_ns: Monotonic time.
        processes: What the stages' processes use.
    """

    def __init__(
        self,
        vitals: Vitals,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        processes: ReadsProcesses | None = None,
    ) -> None:
        self._vitals = vitals
        self._clock_ns = clock_ns
        self._processes = processes or Processes()
        self._version = _version()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics as text, and its content type.

        Args:
            accept: The scraper's `Accept`: Prometheus' own format, or OpenMetrics.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterable[Family]:
        """Return the names without samples."""
        return [_family(metric) for metric in METRICS.values()]

    def collect(self) -> Iterable[Family]:
        """Return what there is now; a metric that nothing is known of is left out."""
        pulses = self._vitals.pulses
        # The id of a process that ended may be another's by now.
        pids = {s: p.pid for s, p in pulses.items() if p.pid is not None and p.state != "ended"}
        usage = self._processes.read(pids)
        rows = rows_of(self._vitals, self._clock_ns(), usage, self._version)
        for name, metric in METRICS.items():
            if samples := rows.get(name):
                yield _filled(metric, self._vitals.stream, samples)


def _version() -> str:
    try:
        return importlib.metadata.version("maskcast")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _family(metric: Metric) -> Family:
    labels = (STREAM, *metric.labels)
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.help, labels=labels)
    if metric.kind == "gauge":
        return GaugeMetricFamily(metric.name, metric.help, labels=labels)
    return HistogramMetricFamily(metric.name, metric.help, labels=labels)


def _filled(metric: Metric, stream: str, samples: list[Sample]) -> Family:
    family = _family(metric)
    for labels, value in samples:
        if isinstance(value, Buckets):
            assert isinstance(family, HistogramMetricFamily)
            family.add_metric((stream, *labels), value.cumulative(), value.sum)
        else:
            assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
            family.add_metric((stream, *labels), value)
    return family
