"""Bounds how many tasks do something at once and how many may wait for it; the rest are refused at once."""

from __future__ import annotations

from types import TracebackType

import trio

from flash.errors import Overloaded


class Gate:
    """`async with gate:` lets `inside_max` in at once; at most `waiting_max` wait, more raise `Overloaded`."""

    def __init__(self, inside_max: int, waiting_max: int) -> None:
        self._limiter = trio.CapacityLimiter(inside_max)
        self._waiting_max = waiting_max

    async def __aenter__(self) -> None:
        if self._limiter.statistics().tasks_waiting >= self._waiting_max:
            raise Overloaded("too many requests are waiting")
        await self._limiter.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limiter.release()
