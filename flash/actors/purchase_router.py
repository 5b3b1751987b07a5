"""The purchase desk of a web process: sends a command to whoever can answer it.

An open sale is asked through the purchase_client. A sold-out sale stays sold out and has no leader: what a code of it
bought, if anything, is read from the database.
"""

from __future__ import annotations

import logging
from typing import Protocol

import trio

from flash.domain import Code, Command, Outcome, Redemption, Refusal, Refused, SaleId
from flash.errors import FlashError
from flash.inventory import decide_sold_out

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 1.0


class PurchaseClient(Protocol):
    async def ask(self, command: Command) -> Outcome: ...


class Redemptions(Protocol):
    async def ask(self, code: Code) -> Redemption: ...


class SaleStore(Protocol):
    async def unsold_sales(self) -> tuple[SaleId, frozenset[SaleId]]: ...


class SoldOutCache:
    """Which sales are known to be sold out. What it says is true for ever; what it does not say may be late."""

    def __init__(self, store: SaleStore) -> None:
        self._store = store
        self._newest = SaleId(0)
        self._unsold: frozenset[SaleId] = frozenset()
        self._heard: set[SaleId] = set()  # from a leader, and not yet seen in the database

    def has(self, sale_id: SaleId) -> bool:
        return sale_id in self._heard or (sale_id <= self._newest and sale_id not in self._unsold)

    def add(self, sale_id: SaleId) -> None:
        self._heard.add(sale_id)

    async def refresh(self) -> None:
        """Raises what the store raises."""
        self._newest, self._unsold = await self._store.unsold_sales()
        self._heard &= self._unsold

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await trio.sleep(_REFRESH_SECONDS)
            try:
                await self.refresh()
            except FlashError as error:
                log.warning("cannot refresh the sold-out sales: %s", error)


class PurchaseRouter:
    def __init__(self, purchase_client: PurchaseClient, redemptions: Redemptions, board: SoldOutCache) -> None:
        self._courier = purchase_client
        self._redemptions = redemptions
        self._board = board

    async def ask(self, command: Command) -> Outcome:
        """Sell what the code is for, or say why not. Raises `Overloaded`, `Unavailable` or `OutcomeUnknown`."""
        sale_id = command.code.sale_id
        if self._board.has(sale_id):
            return decide_sold_out(command, await self._redemptions.ask(command.code))
        outcome = await self._courier.ask(command)
        if outcome == Refused(Refusal.SOLD_OUT):
            self._board.add(sale_id)
        return outcome

    async def find(self, code: Code) -> Redemption:
        """What the database knows of `code`."""
        return await self._redemptions.ask(code)
