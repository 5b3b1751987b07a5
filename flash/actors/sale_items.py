"""Which items of one sale are sold, in memory, for whoever looks. Pure: nothing is decided by it.

One byte for each item, 1 once it is sold, because looking for the next free one is then a search for a byte.
"""

from __future__ import annotations

from collections.abc import Iterable

from flash.domain import ItemId


class SaleItems:
    """The items `item_ids`, none of them sold at first. Nothing is allocated before the first is."""

    def __init__(self, item_ids: range) -> None:
        self._item_ids = item_ids
        self._sold = bytearray()
        self.sold = 0

    def is_available(self, item_id: ItemId) -> bool:
        return not self._sold or not self._sold[item_id - self._item_ids.start]

    def flags(self) -> bytes:
        """A byte for each item in order: 1 if it is sold."""
        return bytes(self._sold or len(self._item_ids))

    def add(self, sold: Iterable[ItemId]) -> None:
        """These are sold too. Items of other sales do not count."""
        self._sold = self._sold or bytearray(len(self._item_ids))
        first, places = self._item_ids.start, len(self._sold)
        for item_id in sold:
            place = item_id - first
            if 0 <= place < places and not self._sold[place]:
                self._sold[place] = 1
                self.sold += 1

    def page(self, after: ItemId, limit: int, *, only_available: bool) -> list[tuple[ItemId, bool]]:
        """Ids above `after` in order, at most `limit`, each with whether it is still there."""
        first, last = max(self._item_ids.start, after + 1), self._item_ids.stop
        if not only_available or not self._sold:
            return [(ItemId(n), self.is_available(ItemId(n))) for n in range(first, min(last, first + limit))]
        page: list[tuple[ItemId, bool]] = []
        place = first - self._item_ids.start
        while len(page) < limit and (place := self._sold.find(0, place)) >= 0:
            page.append((ItemId(self._item_ids.start + place), True))
            place += 1
        return page
