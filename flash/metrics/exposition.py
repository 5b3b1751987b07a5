"""Values in the text that Prometheus reads, by prometheus-client: its formats and its checks, none of its counters."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from flash.metrics.families import FAMILIES, Family
from flash.metrics.values import Labels, Value, Values

OPEN, CLASSIC = "application/openmetrics-text", ""
"""The two formats, as the header `Accept` asks for them. Whatever else a client puts into it changes no page."""


def format_of(accept: str) -> str:
    """The format that the header `accept` asks for."""
    try:
        _, content_type = choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is none
        return CLASSIC
    return OPEN if content_type.startswith(OPEN) else CLASSIC


def render(values: Values, format: str = CLASSIC) -> tuple[bytes, bytes]:
    """The text and its content type."""
    encode, content_type = choose_encoder(format)
    return encode(_Collected(values)), content_type.encode()


class _Collected(Collector):
    def __init__(self, values: Values) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            samples = self._values.by_family.get(family.name)
            if samples:
                yield _metric(family, samples)


def _metric(family: Family, samples: dict[Labels, Value]) -> Metric:
    metric: CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
    match family.kind:
        case "counter":
            metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
        case "gauge":
            metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        case "histogram":
            metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in samples.items():
        if isinstance(metric, HistogramMetricFamily):
            assert isinstance(value, list)
            total, *counts = value
            metric.add_metric(labels, list(_cumulative(family, counts)), total)
        else:
            assert not isinstance(value, list)
            metric.add_metric(labels, value)
    return metric


def _cumulative(family: Family, counts: list[float]) -> Iterator[tuple[str, float]]:
    so_far = 0.0
    for bound, count in zip((*family.bounds, inf), counts, strict=True):
        so_far += count
        yield "+Inf" if bound == inf else str(float(bound)), so_far
