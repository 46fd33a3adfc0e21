"""Live figures in Prometheus' formats: what there is, where each comes from, how it is written."""

from stream.metrics.exposition import Exposition
from stream.metrics.table import METRICS, Metric

__all__ = ["METRICS", "Exposition", "Metric"]
