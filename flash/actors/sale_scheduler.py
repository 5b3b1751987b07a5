"""The clock: sees to it that the current sale and the next one exist. Which sale is open, PostgreSQL's clock says.

A sale is prepared a whole period before it opens, so opening one takes no action that could fail or come late. Two
clocks at once do no harm: making a sale is idempotent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from flash.domain import SaleId

log = logging.getLogger(__name__)

_SLEEP_MIN_SECONDS = 0.02
_SLEEP_MAX_SECONDS = 30.0
"""The database's clock may be set: do not sleep through what it says now."""


class SaleStore(Protocol):
    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]: ...


class SaleScheduler:
    """Prepares sales of `size` items, `user_limit` a user, one every `period_seconds`. `on_new` is told of new ones."""

    def __init__(
        self,
        store: SaleStore,
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
            await trio.sleep(min(max(seconds, _SLEEP_MIN_SECONDS), _SLEEP_MAX_SECONDS))
