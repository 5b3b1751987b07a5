"""GET /metrics of one process: its own values, with those of the processes that share its port."""

from __future__ import annotations

from collections.abc import Callable

import trio

from flash.metrics.exposition import render
from flash.metrics.shared_values import SharedValues
from flash.metrics.values import Values

_SHARE_SECONDS = 1.0


class MetricsPage:
    """`collect()` reads the values of this process. Nothing is computed unless somebody asks or shares."""

    def __init__(self, collect: Callable[[], Values], shared: SharedValues | None = None) -> None:
        self._collect = collect
        self._shared = shared
        self._limiter = trio.CapacityLimiter(1)

    async def text(self, accept: str) -> tuple[bytes, bytes]:
        """The page and its content type. A thread writes it: that takes 10 ms, which no buyer should wait."""
        values = self._collect()
        total = values if self._shared is None else self._shared.total(values)
        return await trio.to_thread.run_sync(render, total, accept, limiter=self._limiter)

    async def run(self) -> None:
        """Leave our values for the others once a second, and a last time at the end."""
        if self._shared is None:
            return
        try:
            while True:
                self._shared.write(self._collect())
                await trio.sleep(_SHARE_SECONDS)
        finally:
            self._shared.write(self._collect())
