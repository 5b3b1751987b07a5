"""When a request is sent again, and after how long: the one place with these rules.

They are plain values, so every transport follows the same ones, and a test needs neither a network nor a clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

BACKOFF_SECONDS = 0.1
BACKOFF_SECONDS_MAX = 5.0
JITTER = 0.25
"""Retry-After is never cut short, and made longer by up to this share: clients refused together return apart."""


@dataclass(frozen=True, slots=True)
class Retries:
    """At most `retries_max` repetitions of one request, and `wait_seconds_max` of waiting for all of them together."""

    retries_max: int = 6
    wait_seconds_max: float = 60.0
    random: Callable[[], float] = field(default=random.random, repr=False)


NEVER = Retries(0, 0.0)


class Patience:
    """How much of `Retries` is left for one request."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._tried = 0
        self._waited = 0.0

    def next_wait(self, retry_after_seconds: float | None) -> float | None:
        """Seconds to wait before the next attempt; None if the caller should hear that it failed.

        Without a Retry-After the waits double, each shortened at random by up to a half.
        """
        if self._tried >= self._retries.retries_max:
            return None
        if retry_after_seconds is None:
            longest = min(BACKOFF_SECONDS * 2.0**self._tried, BACKOFF_SECONDS_MAX)
            seconds = longest * (1 - self._retries.random() / 2)
        else:
            seconds = retry_after_seconds * (1 + JITTER * self._retries.random())
        if self._waited + seconds > self._retries.wait_seconds_max:
            return None
        self._tried += 1
        self._waited += seconds
        return seconds
