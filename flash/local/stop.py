"""The signal that stops `flash up`, and how much time the rest of the stop may then take."""

from __future__ import annotations

import math
import signal
from collections.abc import AsyncIterator

import trio

from flash.shutdown import STORES_STOP_SECONDS

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Cancels `scope` and sets `event` at the first signal; further ones are ignored, so that none breaks the cleanup.

    `seconds` is how long everything may take from that signal on.
    """

    def __init__(self, seconds: float) -> None:
        self.scope = trio.CancelScope()
        self.event = trio.Event()
        self._seconds = seconds
        self._until = math.inf

    async def listen(self, signals: AsyncIterator[int]) -> None:
        async for _ in signals:
            self.begin()

    def begin(self) -> None:
        """Stop now, as after a signal."""
        if not self.event.is_set():
            self._until = trio.current_time() + self._seconds
            self.event.set()
            self.scope.cancel()

    def seconds_left(self) -> float:
        """How long the stores, which stop last, may take for an orderly stop. Without a signal: the whole time."""
        return max(STORES_STOP_SECONDS, min(self._seconds, self._until - trio.current_time()))
