"""Token buckets by key: an address, or a user. Pure: the time is given.

A bucket that is full again says nothing, so it is forgotten. That bounds the table: it holds no more keys than have
used it in the time that a bucket takes to fill. Beyond `buckets_max` the fullest of some old buckets makes way for a
new one. So nobody can make the table grow, a crowd does not keep newcomers out, and whoever has emptied a bucket has it
forgotten only by bringing many that are as empty.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from operator import itemgetter
from typing import NamedTuple

_BUCKETS_MAX = 100_000
_BURST_SECONDS = 2.0
"""A bucket holds what is refilled in this time, and at least one token."""
_SWEEP_MAX = 4
"""Buckets looked at when a new key comes: more than one, or the table could not shrink."""


class Standing(NamedTuple):
    """What one key has left: `remaining` of `quota`, which would be whole again after `reset_seconds`.

    `window_seconds` is how long it takes to refill an empty one.
    """

    quota: int
    window_seconds: int
    remaining: int
    reset_seconds: int


class RateLimit:
    """Each key may make `per_second` requests, and a short burst. `refused` counts the others."""

    def __init__(self, per_second: float, *, buckets_max: int = _BUCKETS_MAX) -> None:
        self.refused = 0
        self._per_second = per_second
        self._burst = max(1.0, per_second * _BURST_SECONDS)
        self._buckets_max = buckets_max
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()
        """When each key's bucket will be full again; an earlier time than now means full."""
        self.quota = int(self._burst)
        self.window_seconds = math.ceil(self._burst / per_second)

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, now: float) -> float:
        """Take a token: 0, or the seconds until there will be one."""
        full_at = self._full_at.get(key)
        if full_at is not None:
            wait, self._full_at[key] = self._take(full_at, now)
            return wait
        self._sweep(now)
        wait, self._full_at[key] = self._take(now, now)
        return wait

    def wait(self, key: Hashable, now: float) -> float:
        """The seconds until there will be a token for the key; 0 if there is one now. It is not taken."""
        full_at = self._full_at.get(key, now)
        return self._wait(max(full_at, now) + 1 / self._per_second, now)

    def standing(self, key: Hashable, now: float) -> Standing:
        """What the key may still do."""
        seconds = max(0.0, self._full_at.get(key, now) - now)
        remaining = int(self._burst - seconds * self._per_second + 1e-6)
        return Standing(self.quota, self.window_seconds, remaining, math.ceil(seconds))

    def _take(self, full_at: float, now: float) -> tuple[float, float]:
        """The wait, and when the bucket is full afterwards. A bucket that lacks n tokens is full n ÷ rate from now."""
        after = max(full_at, now) + 1 / self._per_second
        wait = self._wait(after, now)
        if wait:
            self.refused += 1
            return wait, full_at
        return 0.0, after

    def _wait(self, after: float, now: float) -> float:
        """How long a token must be waited for, if its bucket would be full `after` it was taken."""
        wait = after - now - self._burst / self._per_second
        return wait if wait > 1e-9 else 0.0

    def _sweep(self, now: float) -> None:
        """Look at the oldest buckets: forget the full ones, or the fullest if there is no room; put the others last."""
        seen = [self._full_at.popitem(last=False) for _ in range(min(_SWEEP_MAX, len(self._full_at)))]
        kept = [bucket for bucket in seen if bucket[1] > now]
        if kept and len(self._full_at) + len(kept) >= self._buckets_max:
            kept.remove(min(kept, key=itemgetter(1)))
        self._full_at.update(kept)
