"""What visitors see, in memory: the unsold sales and which of their items are left.

Leaders tell what they sell as they sell it. PostgreSQL is looked at twice a second and settles every doubt, so what is
shown is never a second old while it answers, whatever becomes of that feed. It serves every read
without asking the database, says how old the answer is, and asks nobody else to be right: buyers are served by the
leaders, whatever is shown here. Sales that are sold out need only their row, since everything in them is sold; rows
are kept as they are asked for.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import trio

from flash.actors.gate import Gate
from flash.actors.sale_items import SaleItems
from flash.actors.shown_sale import ShownSale
from flash.actors.sold_out_sales import SoldOutSales
from flash.domain import ItemId, Sale, SaleId, SalesLook
from flash.errors import FlashError, Unavailable
from flash.sold_feed.messages import SoldBatch
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

REFRESH_SECONDS = 0.5
DOUBT_SECONDS = 0.1
"""A doubt brings the next look forward, to so long after the last one at the earliest."""
FEED_SECONDS = 0.05
"""A commit is in the database before it is in the feed: so long the feed may take to complete what a look counted."""
ROTATION_SECONDS = 30.0
"""How often the items of one sale, in turn, are read for no reason: nothing that went wrong unnoticed stays."""
STALE_MAX_SECONDS = 5.0
"""Older answers are not given: a visitor is told 503 rather than what was true some time ago."""
_LOAD_ITEMS_PER_SECOND = 20_000
LOAD_PAUSE_MAX_SECONDS = 3.0
"""How many sold items a second may be read again, so that a very large sale is looked through less often."""
LOADS_SECONDS = 0.5
"""After so long the next look comes before any more sales are read again."""
_SOLD_OUT_MAX = 1_024
"""Rows that are kept of sales that are sold out."""
_LATER_MAX = 256
"""Ids that are looked through for the current sale: sales are numbered one by one, unless somebody wrote others."""
_READS_AT_ONCE, _READS_WAITING_MAX, _READS_WAITING_SECONDS = 4, 512, 2.0


class SaleRows(Protocol):
    """What the view asks the database."""

    async def look(self) -> SalesLook: ...
    async def find_sales(self, sale_ids: Sequence[SaleId]) -> list[Sale]: ...
    async def find_sale(self, sale_id: SaleId) -> Sale | None: ...
    async def find_sale_of(self, item_id: ItemId) -> Sale | None: ...
    async def sold_items(self, sale_id: SaleId, after: ItemId) -> list[ItemId]:
        """Those above `after`, in order: a page, which is empty behind the last one."""
        ...

    async def list_sales(self, before: SaleId | None, limit: int) -> list[Sale]: ...


class SalesView:
    """Everything raises `Unavailable` while the last look is too old, and what `rows` raises about sold-out sales."""

    def __init__(self, rows: SaleRows) -> None:
        self._rows = rows
        self._gate = Gate(_READS_AT_ONCE, _READS_WAITING_MAX, _READS_WAITING_SECONDS)
        self._shown: dict[SaleId, ShownSale] = {}
        self._firsts: list[tuple[ItemId, SaleId]] = []  # of the sales that are shown, in order of their items
        self._sold_out = SoldOutSales(_SOLD_OUT_MAX)
        self._newest_first: list[ShownSale] = []
        self._newest = SaleId(0)
        self._database_now: datetime | None = None
        self._looked_at = self._answered_at = -math.inf
        self._doubted = trio.Event()
        self._has_sales = trio.Event()
        self._turn = 0
        self._warn = ThrottledLogger(log)

    @property
    def age_seconds(self) -> float:
        """How old the sales here are at most. Raises `Unavailable` if that is too old to be shown."""
        return _bounded(self._looked_at)

    @property
    def look_age_seconds(self) -> float:
        """How long ago the last look was, whatever that means for visitors."""
        return trio.current_time() - self._looked_at

    def open_sales(self) -> list[Sale]:
        """The sales that have begun and have items left, as they were last seen."""
        if self._database_now is None:
            return []
        now = self._database_now + timedelta(seconds=trio.current_time() - self._answered_at)
        return [shown.sale for shown in self._newest_first if shown.sale.starts_at <= now and shown.sale.remaining]

    def items_age_seconds(self, sale_id: SaleId) -> float:
        """How old the sale's items are at most. Raises `Unavailable` if that is too old to be shown."""
        shown = self._shown.get(sale_id)
        return self.age_seconds if shown is None else _bounded(shown.known_at)

    @property
    def now(self) -> datetime:
        """The time by the database's clock, or a little less: no sale is called open before it is."""
        _bounded(self._looked_at)
        assert self._database_now is not None
        return self._database_now + timedelta(seconds=trio.current_time() - self._answered_at)

    # how it stays true

    def receive(self, batch: SoldBatch) -> None:
        """Show what a leader has sold. What does not fit brings the next look forward."""
        shown = self._shown.get(batch.term.sale_id)
        is_complete = batch.term.sale_id <= self._newest if shown is None else shown.receive(batch)
        if not is_complete:
            self.doubt()

    def doubt(self) -> None:
        """Something may have been missed."""
        self._doubted.set()

    async def sees_sales(self) -> bool:
        """Whether there is anything for visitors. One that has just been made is waited for until the next look."""
        if not self._has_sales.is_set():
            self.doubt()
            with trio.move_on_after(REFRESH_SECONDS):
                await self._has_sales.wait()
        return self._has_sales.is_set()

    async def run(self) -> None:
        """Refresh until cancelled."""
        rotates_at = trio.current_time() + ROTATION_SECONDS
        while True:
            await trio.sleep(DOUBT_SECONDS)
            if self._has_sales.is_set():  # else the first one is about to be made, and everybody waits for it
                with trio.move_on_after(REFRESH_SECONDS - DOUBT_SECONDS):
                    await self._doubted.wait()
            if trio.current_time() >= rotates_at:
                rotates_at = trio.current_time() + ROTATION_SECONDS
                self._doubt_next()
            try:
                await self.refresh()
            except FlashError as error:
                self._warn("cannot look up what visitors see: %s", error)

    def _doubt_next(self) -> None:
        if self._newest_first:
            self._turn = (self._turn + 1) % len(self._newest_first)
            self._newest_first[self._turn].doubt()

    async def refresh(self) -> None:
        """Look once. Raises what `rows` raises."""
        self._doubted = trio.Event()
        began_at = trio.current_time()
        counted = {sale_id: shown.counted for sale_id, shown in self._shown.items()}
        look = await self._rows.look()
        answered_at = trio.current_time()
        new = await self._find_new(look)
        self._follow(look, new, counted)
        self._database_now, self._looked_at, self._answered_at = look.now, began_at, answered_at
        self._note_complete(began_at)
        if all(shown.is_complete for shown in self._newest_first):
            return
        await trio.sleep(FEED_SECONDS)
        self._note_complete(began_at)
        # Those that waited longest come first, among equals the newest. When a host dies, all its sales may be in doubt
        # at once: the rest is left to the next look, or what is known of all would grow too old to be shown.
        for shown in sorted(self._newest_first, key=lambda one: one.known_at):
            if not shown.is_complete and trio.current_time() >= shown.loads_again_at:
                await self._load(shown)
                if trio.current_time() >= began_at + LOADS_SECONDS:
                    self.doubt()
                    break

    async def _find_new(self, look: SalesLook) -> dict[SaleId, ShownSale]:
        """The sales that are not shown yet, or were made anew with other settings, with what is sold of them."""
        unknown = [
            sale_id
            for sale_id, seen in look.sales.items()
            if (shown := self._shown.get(sale_id)) is None or not shown.is_same(seen)
        ]
        sales = await self._rows.find_sales(unknown) if unknown else []
        # one that was made anew since the look is left to the next one
        new = [one for sale in sales if (one := ShownSale(sale, look.sales[sale.id])).is_same(look.sales[sale.id])]
        for one in new:
            if not one.is_complete:
                await self._load(one)
        return {one.sale.id: one for one in new}

    def _follow(self, look: SalesLook, new: dict[SaleId, ShownSale], counted: dict[SaleId, int]) -> None:
        """Show what `look` saw. In one step, so that nobody meets half of it."""
        shown: dict[SaleId, ShownSale] = {}
        for sale_id, seen in look.sales.items():
            if sale_id in new:
                shown[sale_id] = new[sale_id]
                self._sold_out.forget(sale_id)  # a database that lacks the last sales has taken over
            elif sale_id in self._shown and self._shown[sale_id].is_same(seen):
                shown[sale_id] = self._shown[sale_id]
                shown[sale_id].follow(seen, counted.get(sale_id, 0))
        self._shown, self._newest = shown, look.newest
        if look.newest:
            self._has_sales.set()
        self._newest_first = sorted(shown.values(), key=lambda one: one.sale.starts_at, reverse=True)
        self._firsts = sorted((one.sale.first_item_id, sale_id) for sale_id, one in shown.items())

    def _note_complete(self, known_at: float) -> None:
        for shown in self._newest_first:
            if shown.is_complete:
                shown.known_at = known_at

    async def _load(self, shown: ShownSale) -> None:
        """Read what is sold of a sale, page by page. If its term ends meanwhile, the next look shows that."""
        began_at, items, after = trio.current_time(), SaleItems(shown.sale.item_ids), ItemId(0)
        shown.begin_load()
        try:
            while page := await self._rows.sold_items(shown.sale.id, after):
                items.add(page)
                after = page[-1]
                await trio.lowlevel.checkpoint()
            shown.finish_load(items)
        finally:
            shown.end_load()
        shown.known_at = began_at
        pause_seconds = min(items.sold / _LOAD_ITEMS_PER_SECOND, LOAD_PAUSE_MAX_SECONDS)
        shown.loads_again_at = trio.current_time() + pause_seconds

    # what visitors ask

    async def current_sale(self) -> Sale | None:
        """The sale that began last; None if there is none."""
        now = self.now
        newest = next((shown.sale for shown in self._newest_first if shown.sale.starts_at <= now), None)
        # a later one that has begun and is not shown is sold out
        earliest = max(0 if newest is None else newest.id, self._newest - _LATER_MAX)
        for sale_id in range(self._newest, earliest, -1):
            sale = await self.find_sale(SaleId(sale_id))
            if sale is not None and sale.starts_at <= now and (newest is None or sale.starts_at > newest.starts_at):
                return sale
        return None if newest is None else _opened(newest, now)

    async def find_sale(self, sale_id: SaleId) -> Sale | None:
        now, shown = self.now, self._shown.get(sale_id)
        if shown is not None:
            return _opened(shown.sale, now)
        if not 0 < sale_id <= self._newest:
            return None
        found = self._sold_out.find(sale_id)
        if found is None:
            async with self._gate:
                row = await self._rows.find_sale(sale_id)
            found = self._kept(row)
            if found is None and row is not None:  # the database was replaced by one that remembers less
                raise Unavailable("the sale is for sale again, and the next look will show it")
        return found

    async def find_item(self, item_id: ItemId) -> tuple[Sale, bool] | None:
        """The item's sale and whether the item is still there."""
        now = self.now
        place = bisect_right(self._firsts, (item_id, SaleId(2**63))) - 1
        if place >= 0:
            shown = self._shown[self._firsts[place][1]]
            if item_id in shown.sale.item_ids:
                return _opened(shown.sale, now), shown.items.is_available(item_id)
        if self._firsts and item_id > self._shown[self._firsts[-1][1]].sale.item_ids[-1] and self._is_newest_shown():
            return None  # beyond the last sale
        found = self._sold_out.find_by_item(item_id)
        if found is None:
            async with self._gate:
                found = self._kept(await self._rows.find_sale_of(item_id))
        return None if found is None else (found, False)

    async def list_items(
        self, sale_id: SaleId, after: ItemId, limit: int, *, only_available: bool
    ) -> list[tuple[ItemId, bool]]:
        """Item ids above `after` in order, each with whether it is still there."""
        shown = self._shown.get(sale_id)
        if shown is not None:
            return shown.items.page(after, limit, only_available=only_available)
        sale = await self.find_sale(sale_id)
        if sale is None or only_available:
            return []
        first = max(sale.first_item_id, after + 1)
        return [(ItemId(n), False) for n in range(first, min(sale.item_ids.stop, first + limit))]

    async def list_sales(self, before: SaleId | None, limit: int, *, with_sold_out: bool) -> list[Sale]:
        """Newest first, those that begin before `before` does."""
        if with_sold_out:
            async with self._gate:
                return await self._rows.list_sales(before, limit)
        limit_sale = None if before is None else await self.find_sale(before)
        sales = self.unsold_sales()
        if limit_sale is not None:
            sales = [sale for sale in sales if sale.starts_at < limit_sale.starts_at]
        return sales[:limit]

    def unsold_sales(self) -> list[Sale]:
        """Newest first."""
        now = self.now
        return [_opened(shown.sale, now) for shown in self._newest_first if shown.sale.remaining]

    def sold_flags(self, sale_id: SaleId) -> bytes | None:
        """A byte for each item of an unsold sale in order, 1 if it is sold; None if the sale is not one of these."""
        shown = self._shown.get(sale_id)
        return None if shown is None else shown.items.flags()

    def version(self, sale_id: SaleId) -> int:
        """Another number whenever other items of the sale are left; -1 once none is."""
        shown = self._shown.get(sale_id)
        return -1 if shown is None else shown.version

    def _kept(self, sale: Sale | None) -> Sale | None:
        """The row of a sold-out sale, from now on remembered. Any other is shown by a look, or not yet there."""
        if sale is None or sale.remaining:
            return None
        self._sold_out.keep(sale)
        return sale

    def _is_newest_shown(self) -> bool:
        return self._newest in self._shown


def _bounded(known_at: float) -> float:
    """The age of what was known at `known_at` (Trio time). Raises `Unavailable` if it is too old to be shown."""
    age = trio.current_time() - known_at
    if age > STALE_MAX_SECONDS:
        raise Unavailable("what visitors see could not be looked up")
    return age


def _opened(sale: Sale, now: datetime) -> Sale:
    """`sale` as it is now: it may have begun since it was looked up."""
    is_open = sale.starts_at <= now
    return sale if sale.is_open == is_open else replace(sale, is_open=is_open)
