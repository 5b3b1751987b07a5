"""The values of one process's metrics, and what those of several add up to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from flash.metrics.counts import Histogram
from flash.metrics.families import BY_NAME, Family

Value = float | list[float]
"""A number; for a histogram its sum and the counts of its buckets."""
Labels = tuple[str, ...]


class Values:
    """By family and label values. What is said twice is merged."""

    def __init__(self) -> None:
        self.by_family: dict[str, dict[Labels, Value]] = {}

    def put(self, family: Family, value: float, *labels: str) -> None:
        self._merge(family, labels, value)

    def observe(self, family: Family, histogram: Histogram, *labels: str) -> None:
        self._merge(family, labels, [histogram.sum, *histogram.counts])

    def add(self, other: Values, *, counts_only: bool = False) -> None:
        """Add what another process says, or only what it has counted if it is no more."""
        for name, samples in other.by_family.items():
            family = BY_NAME[name]
            if family.kind != "gauge" or not counts_only:
                for labels, value in samples.items():
                    self._merge(family, labels, value)

    def _merge(self, family: Family, labels: Labels, value: Value) -> None:
        samples = self.by_family.setdefault(family.name, {})
        known = samples.get(labels)
        samples[labels] = value if known is None else _merged(family, known, value)

    def encode(self) -> bytes:
        """For a process of the same release."""
        return orjson.dumps({name: list(samples.items()) for name, samples in self.by_family.items()})


def decode(text: bytes) -> Values:
    """What `encode` has made."""
    values = Values()
    read: Mapping[str, Sequence[tuple[Any, Value]]] = orjson.loads(text)
    values.by_family = {name: {tuple(labels): value for labels, value in samples} for name, samples in read.items()}
    return values


def _merged(family: Family, one: Value, other: Value) -> Value:
    if isinstance(one, list) and isinstance(other, list):
        return [mine + more for mine, more in zip(one, other, strict=True)]
    assert not isinstance(one, list)
    assert not isinstance(other, list)
    match family.merge:
        case "sum":
            return one + other
        case "max":
            return max(one, other)
        case "min":
            return min(one, other)
