"""Sends each purchase of a web process to whoever can answer it.

An open sale's leader is asked through the purchase client. A sold-out sale stays sold out and has no leader: what a
code of it bought, if anything, is read from the database.
"""

from __future__ import annotations

import logging
from typing import Protocol

import trio

from flash.domain import Code, Command, Outcome, Redemption, Refusal, Refused, SaleId
from flash.errors import FlashError
from flash.inventory import decide_sold_out

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0


class Leader(Protocol):
    """The leader of a command's sale, however it is reached."""

    async def ask(self, command: Command) -> Outcome: ...


class Redemptions(Protocol):
    """What the database knows of a code."""

    async def ask(self, code: Code) -> Redemption: ...


class UnsoldSales(Protocol):
    async def unsold_sales(self) -> tuple[SaleId, frozenset[SaleId]]:
        """The newest sale's id and all sales that still have items."""
        ...


class SoldOutCache:
    """Which sales are known to be sold out. A sale in it stays sold out for ever, but may appear in it late."""

    def __init__(self, store: UnsoldSales) -> None:
        self._store = store
        self._newest = SaleId(0)
        self._unsold: frozenset[SaleId] = frozenset()
        self._heard: set[SaleId] = set()  # from a leader, and not yet seen in the database

    def has(self, sale_id: SaleId) -> bool:
        return sale_id in self._heard or (sale_id <= self._newest and sale_id not in self._unsold)

    def add(self, sale_id: SaleId) -> None:
        """Remember what a leader has said until the database shows it too."""
        self._heard.add(sale_id)

    async def refresh(self) -> None:
        """Raises what the store raises."""
        self._newest, self._unsold = await self._store.unsold_sales()
        self._heard = {sale_id for sale_id in self._heard if sale_id > self._newest or sale_id in self._unsold}

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await trio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except FlashError as error:
                log.warning("cannot refresh the sold-out sales: %s", error)


class PurchaseRouter:
    """Asks the leader, or the database where no leader is needed."""

    def __init__(self, leader: Leader, redemptions: Redemptions, sold_out: SoldOutCache) -> None:
        self._leader = leader
        self._redemptions = redemptions
        self._sold_out = sold_out

    async def ask(self, command: Command) -> Outcome:
        """Sell what the code is for, or say why not. Raises `Overloaded`, `Unavailable` or `OutcomeUnknown`."""
        sale_id = command.code.sale_id
        if self._sold_out.has(sale_id):
            return decide_sold_out(command, await self._redemptions.ask(command.code))
        outcome = await self._leader.ask(command)
        if outcome == Refused(Refusal.SOLD_OUT):
            self._sold_out.add(sale_id)
        return outcome

    async def find(self, code: Code) -> Redemption:
        """What the database knows of `code`."""
        return await self._redemptions.ask(code)
