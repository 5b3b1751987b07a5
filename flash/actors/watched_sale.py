"""One sale that viewers watch: what they were told of it last, kept up to date from what visitors see."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from flash.actors.sale_events import EventLog, SaleAnnounced, SaleOpened, Snapshot, State, changes, snapshot
from flash.domain import Sale, SaleId

_SALES_MAX = 20


class View(Protocol):
    """What visitors see. Everything raises `Unavailable` while that is too old."""

    @property
    def now(self) -> datetime: ...
    async def current_sale(self) -> Sale | None: ...
    async def find_sale(self, sale_id: SaleId) -> Sale | None: ...
    def unsold_sales(self) -> list[Sale]: ...
    def sold_flags(self, sale_id: SaleId) -> bytes | None:
        """None if the sale is none of the unsold ones."""

    def version(self, sale_id: SaleId) -> int:
        """Another number whenever other items of the sale are left."""


class WatchedSale:
    """`find` makes one. Its `log` has the events that lead to what was told last."""

    def __init__(self, view: View, told: Snapshot, version: int, log: EventLog) -> None:
        self.log = log
        self._view = view
        self._told = told
        self._version = version
        self._opened_until = view.now
        self._announced_until = max((sale.starts_at for sale in view.unsold_sales()), default=view.now)
        """Sales that begin later have not been told yet to have opened, or to be there."""

    @classmethod
    async def find(cls, view: View, sale_id: SaleId, log: EventLog) -> WatchedSale | None:
        """None if there is no such sale. Raises `Unavailable`."""
        version, told = view.version(sale_id), await _look(view, sale_id)
        return None if told is None else cls(view, told, version, log)

    @property
    def sale_id(self) -> SaleId:
        return self._told.sale.id

    async def refresh(self) -> bool:
        """Add to the log what has happened. False if the sale is not there any more. Raises `Unavailable`."""
        self._add_other_sales()
        version = self._view.version(self.sale_id)
        if version == self._version:
            return True
        found = await _look(self._view, self.sale_id)
        if found is None:
            return False
        events = changes(self._told, found)
        self._told, self._version = found, version
        for event in [self.state()] if events is None else events:
            self.log.append(event)
        return True

    def state(self) -> State:
        """What was told last, and the other sales as they are. Raises `Unavailable`."""
        told, sales = self._told, self._view.unsold_sales()
        for sale in sales:
            if sale.id == self.sale_id and sale.item_ids == told.sale.item_ids:
                told = snapshot(sale, told.flags)  # it may have opened
        others = [sale for sale in sales[:_SALES_MAX] if sale.id != self.sale_id]
        listed = sorted([told.sale, *others], key=lambda sale: sale.starts_at, reverse=True)
        return State(self._view.now, listed, told)

    def _add_other_sales(self) -> None:
        now = self._view.now
        for sale in reversed(self._view.unsold_sales()):
            if self._opened_until < sale.starts_at <= now:
                self.log.append(SaleOpened(sale))
            elif sale.starts_at > max(now, self._announced_until):
                self.log.append(SaleAnnounced(sale))
            self._announced_until = max(self._announced_until, sale.starts_at)
        self._opened_until = max(self._opened_until, now)


async def _look(view: View, sale_id: SaleId) -> Snapshot | None:
    sale = await view.find_sale(sale_id)
    if sale is None:
        return None
    flags = view.sold_flags(sale_id)
    if flags is None or len(flags) != sale.stock:  # it is sold out, or was a moment ago
        flags = b"\1" * sale.stock
    return snapshot(sale, flags)
