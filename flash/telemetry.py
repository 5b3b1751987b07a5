"""Logging of one process: a line for each beginning and end of a life, nothing for each request."""

from __future__ import annotations

import logging
import sys
import time


def configure_logging(level: str) -> None:
    """Log to stderr from `level` (debug, info, warning, error) on. Time and process name come from honcho."""
    form = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=form, force=True)


_COMPLAINT_SECONDS = 10.0


class ThrottledLogger:
    """Warnings that may come with every batch while a store is away: one in ten seconds is written, others counted."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._next_at = 0.0
        self._unwritten = 0

    def __call__(self, message: str, *args: object) -> None:
        now = time.monotonic()
        if now < self._next_at:
            self._unwritten += 1
            return
        if self._unwritten:
            message += f" (and {self._unwritten} times more since the last line)"
        self._log.warning(message, *args)
        self._next_at, self._unwritten = now + _COMPLAINT_SECONDS, 0
