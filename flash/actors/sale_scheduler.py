"""Makes sure that the current sale and the next one exist. PostgreSQL's clock decides which sale is open.

A sale is prepared a whole period before it opens, so opening it takes no action that could fail or come late. Two
schedulers at once do no harm: preparing a sale is idempotent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from flash.domain import SaleId

log = logging.getLogger(__name__)

SLEEP_MIN_SECONDS = 0.02
SLEEP_MAX_SECONDS = 30.0
"""The database's clock may be set at any time, so never trust its last answer for longer than this."""


class ScheduleStore(Protocol):
    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]:
        """The sales that were made, and the seconds until the next boundary."""
        ...


class SaleScheduler:
    """Prepares a sale of `size` items, `user_limit` per user, every `period_seconds`. Calls `on_new` after new ones."""

    def __init__(
        self,
        store: ScheduleStore,
        on_new: Callable[[], Awaitable[None]],
        *,
        period_seconds: int,
        size: int,
        user_limit: int,
    ) -> None:
        self._store = store
        self._on_new = on_new
        self._settings = (period_seconds, size, user_limit)

    async def run(self) -> None:
        """Run until cancelled. Raises what the store raises."""
        while True:
            made, seconds = await self._store.prepare_sales(*self._settings)
            if made:
                log.info("prepared %s", ", ".join(f"sale {sale_id}" for sale_id in made))
                await self._on_new()
            await trio.sleep(min(max(seconds, SLEEP_MIN_SECONDS), SLEEP_MAX_SECONDS))
