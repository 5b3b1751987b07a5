"""The arithmetic of measuring: percentiles, the schedule of an open loop, a curve with few enough points. Pure.

Percentiles are of all samples, none sampled away: the nearest rank, so that each one is a latency that somebody had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

CURVE_POINTS_MAX = 240


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the `ordered` samples that at least `share` (0 to 1) of them do not exceed."""
    assert ordered
    assert 0 <= share <= 1
    # the product of 0.95 and 20 is a little more than 19
    rank = math.ceil(round(share * len(ordered), 9))
    return ordered[max(0, rank - 1)]


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Count and, in milliseconds, mean, p50, p95, p99 and max; only a count of 0 if there is no sample."""
    if not seconds:
        return {"count": 0}
    ordered = sorted(seconds)
    shown = {"mean": sum(ordered) / len(ordered), "max": ordered[-1]}
    shown |= {f"p{round(share * 100)}": percentile(ordered, share) for share in (0.5, 0.95, 0.99)}
    return {"count": len(ordered), **{f"{name}_ms": round(value * 1000, 3) for name, value in shown.items()}}


def curve(times: Sequence[float], points_max: int = CURVE_POINTS_MAX) -> list[tuple[float, int]]:
    """How many of the ordered `times` had come by when: from (0, 0), the last one kept, at most `points_max` + 1."""
    step = max(1, math.ceil(len(times) / points_max))
    counts = sorted({*range(step, len(times) + 1, step), len(times)} - {0})
    return [(0.0, 0), *((round(times[count - 1], 5), count) for count in counts)]


@dataclass(slots=True)
class Arrivals:
    """An open loop: visit i is meant to start `i / rate` seconds after the beginning, whatever became of the others.

    Whoever cannot be served then waits in `late`, and its latency counts from the intended start all the same: a
    generator that waits for answers would leave out just the visits that had to wait (coordinated omission).
    """

    rate: float
    count: int
    late: list[float] = field(default_factory=list)
    _next: int = 0

    def next_at(self) -> float | None:
        """When the next visit is meant to start, in seconds after the beginning; None after the last."""
        return self._next / self.rate if self._next < self.count else None

    def collect(self, elapsed: float) -> None:
        """Add the intended starts up to `elapsed` seconds after the beginning to `late`."""
        while self._next < self.count and self._next / self.rate <= elapsed:
            self.late.append(self._next / self.rate)
            self._next += 1

    @property
    def is_over(self) -> bool:
        return self._next == self.count and not self.late
