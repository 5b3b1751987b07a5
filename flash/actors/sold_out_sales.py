"""Rows of sales that are sold out, of which nothing changes any more: the last ones kept, a bounded number. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort

from flash.domain import ItemId, Sale, SaleId


class SoldOutSales:
    """At most `rows_max` rows."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._by_id: dict[SaleId, Sale] = {}
        self._firsts: list[tuple[ItemId, SaleId]] = []  # in order of their items

    def find(self, sale_id: SaleId) -> Sale | None:
        return self._by_id.get(sale_id)

    def find_by_item(self, item_id: ItemId) -> Sale | None:
        place = bisect_right(self._firsts, (item_id, SaleId(2**63))) - 1
        sale = self._by_id[self._firsts[place][1]] if place >= 0 else None
        return sale if sale is not None and item_id in sale.item_ids else None

    def keep(self, sale: Sale) -> None:
        assert not sale.remaining
        self.forget(sale.id)
        if len(self._by_id) >= self._rows_max:
            self.forget(next(iter(self._by_id)))
        self._by_id[sale.id] = sale
        insort(self._firsts, (sale.first_item_id, sale.id))

    def forget(self, sale_id: SaleId) -> None:
        sale = self._by_id.pop(sale_id, None)
        if sale is not None:
            self._firsts.remove((sale.first_item_id, sale_id))
