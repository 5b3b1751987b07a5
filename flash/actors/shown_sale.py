"""One unsold sale as visitors see it: how much is sold, and what. Pure.

What is sold stays sold, so items are only ever added, in any order and as often as one likes. They are complete when
there are as many as the database counts. Two things end that: another term, whose predecessor may have sold something
that the database does not have any more, and a database that counts less than before. Then all are read again.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from flash.actors.sale_items import SaleItems
from flash.domain import ItemId, Sale, SaleLook
from flash.sold_feed.messages import SoldBatch

_versions = itertools.count(1)
"""Of all sales together: what is kept of one that was made anew must not pass for the new one's."""


class ShownSale:
    """`known_at`: Trio time at which the items were last known to be complete. `version`: another one for others."""

    __slots__ = ("_heard", "_is_doubted", "counted", "items", "known_at", "loads_again_at", "sale", "token", "version")

    def __init__(self, sale: Sale, seen: SaleLook) -> None:
        self.sale = replace(sale, sold=seen.sold)
        self.token = seen.token
        self.counted = seen.sold
        self.items = SaleItems(sale.item_ids)
        self.known_at = self.loads_again_at = -math.inf
        self.version = next(_versions)
        self._is_doubted = False
        self._heard: list[ItemId] | None = None
        """What was added while a load was under way."""

    @property
    def is_complete(self) -> bool:
        return not self._is_doubted and self.items.sold >= self.counted

    def is_same(self, seen: SaleLook) -> bool:
        """Whether this is still the sale that was made under its number: a prepared one may be made anew."""
        return (self.sale.starts_at, self.sale.item_ids) == (seen.starts_at, seen.item_ids)

    def follow(self, seen: SaleLook, counted_before: int) -> None:
        """Believe a look. `counted_before`: what was counted here when the database was asked."""
        if seen.token != self.token:
            self.token = seen.token
            self._restart(seen.sold)
        elif seen.sold < counted_before:
            self._restart(seen.sold)
        else:
            self._count(seen.sold)

    def receive(self, batch: SoldBatch) -> bool:
        """Add what a leader has sold, if it is of the term that the last look saw. False: something is missing here."""
        if batch.term.token != self.token:
            return False
        self.items.add(batch.item_ids)
        self.version = next(_versions)
        self._count(min(batch.sold, self.sale.stock))
        if self._heard is not None:
            self._heard += batch.item_ids
        return self.is_complete

    def doubt(self) -> None:
        """Read all items again, whatever they seem to be."""
        self._is_doubted = True

    def begin_load(self) -> None:
        """What is added from now on is added again to what is loaded."""
        self._heard = []

    def finish_load(self, items: SaleItems) -> None:
        """`items` are at least those that were sold when the load began."""
        items.add(self._heard or ())
        self.items, self._is_doubted = items, False
        self.version = next(_versions)

    def end_load(self) -> None:
        """It is finished, or has failed."""
        self._heard = None

    def _restart(self, counted: int) -> None:
        self.counted = counted
        if counted:
            self._is_doubted = True
        else:  # the first term, as a rule
            self.items, self._is_doubted = SaleItems(self.sale.item_ids), False
            self.version = next(_versions)
        self.sale = replace(self.sale, sold=counted)

    def _count(self, sold: int) -> None:
        self.counted = max(self.counted, sold)
        if self.sale.sold != self.counted:
            self.sale = replace(self.sale, sold=self.counted)
