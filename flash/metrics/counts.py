"""Counters that cost nearly nothing where they stand: plain integers, and a bucket found by bisection. Pure.

prometheus-client's own counters lock, which a request cannot afford. These are turned into its families when somebody
asks. They belong to one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

SECONDS_BOUNDS = (
    *(0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.032, 0.048, 0.064),
    *(0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper bounds of durations: half a step of a factor of two where most answers are."""
SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
"""Upper bounds of batch sizes."""


class Histogram:
    """How many values lay in each bucket, and their sum. The last bucket has no upper bound."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: Histogram) -> None:
        """Count all that `other`, which has the same bounds, has counted."""
        self.counts = [mine + more for mine, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class BatchCounts:
    """The batches that somebody has served: their sizes, how long they took, and how many failed."""

    __slots__ = ("failed", "seconds", "sizes")

    def __init__(self) -> None:
        self.sizes = Histogram(SIZE_BOUNDS)
        self.seconds = Histogram(SECONDS_BOUNDS)
        self.failed = 0

    def note(self, size: int, seconds: float) -> None:
        self.sizes.observe(size)
        self.seconds.observe(seconds)


def quantile(counts: Sequence[float], bounds: Sequence[float], share: float) -> float | None:
    """The value below which `share` of what a histogram counted lies, as if each bucket were filled evenly.

    None if it counted nothing. Beyond the last bound nothing is known, so that bound is the answer.
    """
    total = sum(counts)
    if total <= 0:
        return None
    left, low = share * total, 0.0
    for count, high in zip(counts, bounds, strict=False):
        if left <= count and count:
            return low + (high - low) * left / count
        left, low = left - count, high
    return low
