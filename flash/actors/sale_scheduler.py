"""Makes sure that the current sale and the next one exist. PostgreSQL's clock decides which sale is open.

A sale is prepared a whole period before it opens, so opening it takes no action that could fail or come late. Every
inventory process runs one of these; the store decides which of them makes sales. It needs no Redis: `on_new` may fail.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from flash.domain import SaleId
from flash.errors import FlashError
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

SLEEP_MIN_SECONDS = 0.02
SLEEP_MAX_SECONDS = 1.0
"""The database's clock may be set at any time, and the right to make sales must be kept: ask at least this often."""
_RETRY_SECONDS = 0.2


class ScheduleStore(Protocol):
    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]:
        """The sales that were made, and the seconds after which to ask again."""
        ...


class SaleScheduler:
    """Prepares a sale of `size` items, `user_limit` per user, every `period_seconds`. Calls `on_new` after new ones.

    `sleep_max_seconds`: how long it may leave the store alone.
    """

    def __init__(
        self,
        store: ScheduleStore,
        on_new: Callable[[], Awaitable[None]],
        *,
        period_seconds: int,
        size: int,
        user_limit: int,
        sleep_max_seconds: float = SLEEP_MAX_SECONDS,
    ) -> None:
        self._store = store
        self._on_new = on_new
        self._settings = (period_seconds, size, user_limit)
        self._sleep_max_seconds = sleep_max_seconds
        self._warn = ThrottledLogger(log)

    async def run(self) -> None:
        """Run until cancelled, whether or not the store can be reached."""
        async with trio.open_nursery() as telling:
            while True:
                seconds = await self._prepare(telling)
                await trio.sleep(seconds)

    async def _prepare(self, telling: trio.Nursery) -> float:
        """Returns the seconds to sleep."""
        try:
            made, seconds = await self._store.prepare_sales(*self._settings)
        except FlashError as error:
            self._warn("cannot make sales: %s", error)
            return _RETRY_SECONDS
        if made:
            log.info("prepared %s", ", ".join(f"sale {sale_id}" for sale_id in made))
            telling.start_soon(self._tell)  # beside us: nobody must wait for a Redis that is away
        return min(max(seconds, SLEEP_MIN_SECONDS), self._sleep_max_seconds)

    async def _tell(self) -> None:
        try:
            await self._on_new()
        except FlashError as error:
            self._warn("could not tell the other processes of a new sale, they will see it: %s", error)
