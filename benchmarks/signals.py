"""SIGINT, SIGTERM and SIGHUP for a process that has children to clean up: noted, never raised amid something."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

GONE_SECONDS = 3.6
"""How long after the first signal the stores may still take for an orderly stop."""


class Stopped(Exception):
    """Ctrl-C or a signal asked us to end."""


class Signals:
    """SIGINT, SIGTERM and SIGHUP as a flag and a wake-up instead of an exception, so that none breaks a cleanup."""

    def __init__(self) -> None:
        self.is_stopping = False
        self._stop_at = float("inf")
        self.wakeup, self._write_end = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(self._write_end, False)

    def __enter__(self) -> Signals:
        self._earlier = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        }
        return self

    @contextlib.contextmanager
    def waking(self) -> Iterator[None]:
        """Signals make `wakeup` readable for as long as the block lasts. Trio wants that for itself, so not always."""
        earlier = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(earlier)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        os.close(self.wakeup)
        os.close(self._write_end)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD and not self.is_stopping:
            self.is_stopping = True
            self._stop_at = time.monotonic() + GONE_SECONDS

    def check(self) -> None:
        """Raise `Stopped` if we were asked to end."""
        if self.is_stopping:
            raise Stopped

    def seconds_left(self) -> float:
        """How long the stores may take for an orderly stop."""
        return max(0.3, min(GONE_SECONDS, self._stop_at - time.monotonic()))

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wakeup, 512):
                pass
