"""The SQL of what a visitor may read: sales, and which of their items are left. Nothing here writes."""

from __future__ import annotations

from flash.domain import ItemId, Sale, SaleId
from flash.stores.postgres import Postgres, Row

SALE_COLUMNS = "id, starts_at, first_item_id, stock, user_limit, sold, starts_at <= now() AS is_open"
"""What `sale_of` makes a `Sale` of."""

# Two look-ups in one snapshot: neither reads the sales of the past, however many there are.
UNSOLD_SALES = """
SELECT (SELECT coalesce(max(id), 0) FROM sales) AS newest, ARRAY(SELECT id FROM sales WHERE sold_out_at IS NULL)
"""
_BEFORE = "starts_at < coalesce((SELECT starts_at FROM sales WHERE id = $1), 'infinity')"
LIST_SALES = f"SELECT {SALE_COLUMNS} FROM sales WHERE {_BEFORE} ORDER BY starts_at DESC LIMIT $2"
LIST_UNSOLD_SALES = f"""
SELECT {SALE_COLUMNS} FROM sales WHERE sold_out_at IS NULL AND {_BEFORE} ORDER BY starts_at DESC LIMIT $2
"""
FIND_SALE = f"SELECT {SALE_COLUMNS} FROM sales WHERE id = $1"
CURRENT_SALE = f"SELECT {SALE_COLUMNS} FROM sales WHERE starts_at <= now() ORDER BY starts_at DESC LIMIT 1"
FIND_ITEM = f"""
SELECT {SALE_COLUMNS},
       NOT EXISTS (SELECT FROM purchases p WHERE p.sale_id = sales.id AND p.item_id = $1) AS available
FROM sales WHERE first_item_id <= $1 AND $1 < first_item_id + stock
"""
LIST_ITEMS = """
SELECT i AS id, p.item_id IS NULL AS available
FROM sales s, generate_series(
    greatest(s.first_item_id, least($2::bigint, s.first_item_id + s.stock) + 1), s.first_item_id + s.stock - 1
) AS i
LEFT JOIN purchases p ON p.sale_id = $1 AND p.item_id = i
WHERE s.id = $1 AND (p.item_id IS NULL OR NOT $4)
ORDER BY i LIMIT $3
"""


class Sales:
    """Every method raises `Unavailable` when PostgreSQL could not be asked."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def unsold_sales(self) -> tuple[SaleId, frozenset[SaleId]]:
        """The newest sale's id (0 if there is none) and all sales that still have items."""
        ((newest, unsold),) = await self._database.fetch(UNSOLD_SALES)
        return newest, frozenset(unsold)

    async def list_sales(self, before: SaleId | None, limit: int, *, with_sold_out: bool) -> list[Sale]:
        """Newest first, those that begin before `before` does."""
        sql = LIST_SALES if with_sold_out else LIST_UNSOLD_SALES
        return [sale_of(row) for row in await self._database.fetch(sql, before, limit)]

    async def find_sale(self, sale_id: SaleId) -> Sale | None:
        row = await self._database.fetch_one(FIND_SALE, sale_id)
        return None if row is None else sale_of(row)

    async def current_sale(self) -> Sale | None:
        """The sale that began last."""
        row = await self._database.fetch_one(CURRENT_SALE)
        return None if row is None else sale_of(row)

    async def find_item(self, item_id: ItemId) -> tuple[Sale, bool] | None:
        """The item's sale and whether the item is still there."""
        row = await self._database.fetch_one(FIND_ITEM, item_id)
        return None if row is None else (sale_of(row), row["available"])

    async def list_items(
        self, sale_id: SaleId, after: ItemId, limit: int, *, only_available: bool
    ) -> list[tuple[ItemId, bool]]:
        """Item ids above `after` in order, each with whether it is still there."""
        rows = await self._database.fetch(LIST_ITEMS, sale_id, after, limit, only_available)
        return [(item_id, is_available) for item_id, is_available in rows]


def sale_of(row: Row) -> Sale:
    """The sale in a row with `SALE_COLUMNS`."""
    return Sale(
        row["id"],
        row["starts_at"],
        row["first_item_id"],
        row["stock"],
        row["user_limit"],
        row["sold"],
        row["is_open"],
    )
