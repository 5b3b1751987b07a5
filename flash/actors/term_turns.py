"""Lets terms begin a few at a time, those of the newest sales first.

To begin one reads all that its sale has sold. If a thousand did so at once, none would be done in time, and the buyers
of the newest sale, who are the most, would wait for all others.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from flash.domain import SaleId


class TermTurns:
    """`async with turns.turn(sale_id)`: at most `at_once` are inside."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[tuple[int, int, trio.Event]] = []
        self._count = 0

    @asynccontextmanager
    async def turn(self, sale_id: SaleId) -> AsyncIterator[None]:
        await self._wait(sale_id)
        try:
            yield
        finally:
            self._leave()

    async def _wait(self, sale_id: SaleId) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._free:
            self._free -= 1
            return
        self._count += 1  # whoever came first, if one sale waits twice
        waiter = -sale_id, self._count, trio.Event()
        heapq.heappush(self._waiting, waiter)
        try:
            await waiter[2].wait()
        except trio.Cancelled:
            if waiter[2].is_set():  # it was our turn in the very moment in which we were cancelled
                self._leave()
            else:
                self._waiting.remove(waiter)
                heapq.heapify(self._waiting)
            raise

    def _leave(self) -> None:
        if self._waiting:
            heapq.heappop(self._waiting)[2].set()
        else:
            self._free += 1
