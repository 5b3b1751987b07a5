"""Sends each purchase of a web process to whoever can answer it.

An open sale's leader is asked through the purchase client. A sold-out sale has no leader: what a code of it bought, if
anything, is read from the database.
"""

from __future__ import annotations

import logging
from typing import Protocol

import trio

from flash.domain import Code, Command, LegacyCode, Outcome, Redemption, Refusal, Refused, SaleId
from flash.errors import FlashError, StorageFull
from flash.inventory import decide_sold_out

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0


class Leader(Protocol):
    """The leader of a command's sale, however it is reached."""

    async def ask(self, command: Command) -> Outcome: ...


class Redemptions(Protocol):
    """What the database knows of a code."""

    async def ask(self, code: Code) -> Redemption: ...


class LegacyCodes(Protocol):
    async def find_legacy(self, legacy: LegacyCode) -> Code | None:
        """All that a code of release 0.1 left to its checkout's row, or None if there is no such checkout."""
        ...


class UnsoldSales(Protocol):
    async def unsold_sales(self) -> tuple[SaleId, frozenset[SaleId]]:
        """The newest sale's id and all sales that still have items."""
        ...


class SoldOutCache:
    """Which sales are known to be sold out. A sale may appear in it late, up to a refresh after its last item went.

    A sale that a later look at the database shows as unsold leaves it again: the database has been replaced by one that
    lacks the last sales.
    """

    def __init__(self, store: UnsoldSales) -> None:
        self._store = store
        self._newest = SaleId(0)
        self._unsold: frozenset[SaleId] = frozenset()
        self._heard: set[SaleId] = set()  # from a leader, since the last look at the database began

    def has(self, sale_id: SaleId) -> bool:
        return sale_id in self._heard or (sale_id <= self._newest and sale_id not in self._unsold)

    def add(self, sale_id: SaleId) -> None:
        """Remember what a leader has said until the next look at the database, which must show it too."""
        self._heard.add(sale_id)

    async def refresh(self) -> None:
        """Raises what the store raises."""
        heard = frozenset(self._heard)  # durable before it was said, so this look shows it or contradicts it
        self._newest, self._unsold = await self._store.unsold_sales()
        self._heard -= heard

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await trio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except FlashError as error:
                log.warning("cannot refresh the sold-out sales: %s", error)


class Disk(Protocol):
    def note_full(self, error: StorageFull) -> None: ...


class PurchaseRouter:
    """Asks the leader, or the database where no leader is needed. `disk` learns from the leader that it is full."""

    def __init__(
        self, leader: Leader, redemptions: Redemptions, legacy_codes: LegacyCodes, sold_out: SoldOutCache, disk: Disk
    ) -> None:
        self._leader = leader
        self._redemptions = redemptions
        self._legacy_codes = legacy_codes
        self._sold_out = sold_out
        self._disk = disk

    async def ask(self, command: Command) -> Outcome:
        """Sell what the code is for, or say why not. Raises `Overloaded`, `Unavailable` or `OutcomeUnknown`."""
        sale_id = command.code.sale_id
        if self._sold_out.has(sale_id):
            redemption = await self._redemptions.ask(command.code)
            if redemption.purchase is not None or redemption.is_sold_out:
                return decide_sold_out(command, redemption)
            # The database was replaced by one that lacks the last sales, and the cache has not seen it yet.
        outcome = await self._leader.ask(command)
        if isinstance(outcome, Refused):
            self._learn(sale_id, outcome.refusal)
        return outcome

    def _learn(self, sale_id: SaleId, refusal: Refusal) -> None:
        if refusal is Refusal.SOLD_OUT:
            self._sold_out.add(sale_id)
        elif refusal is Refusal.NO_ROOM:
            self._disk.note_full(StorageFull(f"the leader of sale {sale_id} found no room"))

    async def find(self, code: Code) -> Redemption:
        """What the database knows of `code`."""
        return await self._redemptions.ask(code)

    async def find_legacy(self, legacy: LegacyCode) -> Code | None:
        """What a code of release 0.1 would say if it were one of ours; None if the database does not know it."""
        return await self._legacy_codes.find_legacy(legacy)
