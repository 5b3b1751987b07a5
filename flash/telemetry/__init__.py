"""What a process tells of itself in its log: how a line looks, and how often one may come."""

from __future__ import annotations

import logging
import time

_THROTTLE_SECONDS = 10.0


class ThrottledLogger:
    """Lines that could come with every batch while a store is away: one in ten seconds, the rest counted."""

    def __init__(self, log: logging.Logger, level: int = logging.WARNING) -> None:
        self._log = log
        self._level = level
        self._next_at = 0.0
        self._suppressed = 0

    def __call__(self, message: str, *args: object) -> None:
        now = time.monotonic()
        if now < self._next_at:
            self._suppressed += 1
            return
        if self._suppressed:
            message += f" (and {self._suppressed} more since the last line)"
        self._log.log(self._level, message, *args)
        self._next_at, self._suppressed = now + _THROTTLE_SECONDS, 0
