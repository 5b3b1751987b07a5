"""The arithmetic of measuring: percentiles, and a curve with few enough points. Pure.

A percentile is the nearest rank of all samples, so each one is a latency that a client really had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 1.0)


@dataclass(frozen=True, slots=True)
class Latency:
    """All samples of one sort. `distribution`: shares, and the milliseconds they did not exceed, up to (1, max)."""

    count: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    distribution: tuple[tuple[float, float], ...] = ()


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the `ordered` samples that at least `share` (0 to 1) of them do not exceed."""
    rank = math.ceil(round(share * len(ordered), 9))  # the product of 0.95 and 20 is a little more than 19
    return ordered[max(0, rank - 1)]


def summary(seconds: Sequence[float]) -> Latency:
    """The latencies of all samples."""
    if not seconds:
        return Latency()
    ordered = [1000 * sample for sample in sorted(seconds)]
    p50, p95, p99, most = (round(percentile(ordered, share), 3) for share in (0.5, 0.95, 0.99, 1))
    # a share closer to 1 than one sample would repeat the maximum
    shares = [share for share in _SHARES if share == 1 or len(ordered) * (1 - share) >= 1]
    distribution = tuple((share, round(percentile(ordered, share), 3)) for share in shares)
    return Latency(len(ordered), round(sum(ordered) / len(ordered), 3), p50, p95, p99, most, distribution)


def curve(times: Sequence[float], points_max: int = 240) -> list[tuple[float, int]]:
    """How many of the ordered `times` had come by when: from (0, 0), the last one kept, at most `points_max` + 1."""
    step = max(1, math.ceil(len(times) / points_max))
    counts = sorted({*range(step, len(times) + 1, step), len(times)} - {0})
    return [(0.0, 0), *((round(times[count - 1], 5), count) for count in counts)]
