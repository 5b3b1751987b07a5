"""The SQL of what a visitor may read: sales, and which of their items are left. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence

from flash.domain import ItemId, Sale, SaleId, SaleLook, SalesLook
from flash.stores.postgres import Postgres, Row

SALE_COLUMNS = "id, starts_at, first_item_id, stock, user_limit, sold, starts_at <= now() AS is_open"
"""What `sale_of` makes a `Sale` of."""

# Two look-ups in one snapshot: neither reads the sales of the past, however many there are.
UNSOLD_SALES = """
SELECT (SELECT coalesce(max(id), 0) FROM sales) AS newest, ARRAY(SELECT id FROM sales WHERE sold_out_at IS NULL)
"""
_BEFORE = "starts_at < coalesce((SELECT starts_at FROM sales WHERE id = $1), 'infinity')"
LIST_SALES = f"SELECT {SALE_COLUMNS} FROM sales WHERE {_BEFORE} ORDER BY starts_at DESC LIMIT $2"
FIND_SALE = f"SELECT {SALE_COLUMNS} FROM sales WHERE id = $1"
FIND_SALES = f"SELECT {SALE_COLUMNS} FROM sales WHERE id = ANY($1::bigint[])"
CURRENT_SALE = f"SELECT {SALE_COLUMNS} FROM sales WHERE starts_at <= now() ORDER BY starts_at DESC LIMIT 1"
# by the index of the first items, so that the sales of the past are left alone
FIND_SALE_OF = f"""
SELECT * FROM (
    SELECT {SALE_COLUMNS} FROM sales WHERE first_item_id <= $1 ORDER BY first_item_id DESC LIMIT 1
) AS sale WHERE $1 < first_item_id + stock
"""
SOLD_ITEMS = """
SELECT ARRAY(SELECT item_id FROM purchases WHERE sale_id = $1 AND item_id > $2 ORDER BY item_id LIMIT $3)
"""
SOLD_ITEMS_PAGE = 5_000
"""A page of this size holds the loop for less than a millisecond."""
LOOK = """
SELECT now() AS now, (SELECT coalesce(max(id), 0) FROM sales) AS newest, unsold.*
FROM (
    SELECT array_agg(id) AS ids, array_agg(starts_at) AS starts, array_agg(first_item_id) AS firsts,
           array_agg(stock) AS stocks, array_agg(sold) AS sold, array_agg(term_token) AS tokens
    FROM sales WHERE sold_out_at IS NULL
) AS unsold
"""


class Sales:
    """Every method raises `Unavailable` when PostgreSQL could not be asked."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def unsold_sales(self) -> tuple[SaleId, frozenset[SaleId]]:
        """The newest sale's id (0 if there is none) and all sales that still have items."""
        ((newest, unsold),) = await self._database.fetch(UNSOLD_SALES)
        return newest, frozenset(unsold)

    async def look(self) -> SalesLook:
        """The unsold sales as they are now. In columns, since there may be a thousand."""
        ((now, newest, ids, *columns),) = await self._database.fetch(LOOK)
        rows = zip(ids or (), *(column or () for column in columns), strict=True)
        return SalesLook(
            now,
            newest,
            {
                sale_id: SaleLook(starts_at, range(first, first + stock), sold, token)
                for sale_id, starts_at, first, stock, sold, token in rows
            },
        )

    async def list_sales(self, before: SaleId | None, limit: int) -> list[Sale]:
        """Newest first, those that begin before `before` does, sold-out ones too."""
        return [sale_of(row) for row in await self._database.fetch(LIST_SALES, before, limit)]

    async def find_sale(self, sale_id: SaleId) -> Sale | None:
        row = await self._database.fetch_one(FIND_SALE, sale_id)
        return None if row is None else sale_of(row)

    async def find_sales(self, sale_ids: Sequence[SaleId]) -> list[Sale]:
        return [sale_of(row) for row in await self._database.fetch(FIND_SALES, sale_ids)]

    async def current_sale(self) -> Sale | None:
        """The sale that began last."""
        row = await self._database.fetch_one(CURRENT_SALE)
        return None if row is None else sale_of(row)

    async def find_sale_of(self, item_id: ItemId) -> Sale | None:
        """The sale of that item."""
        row = await self._database.fetch_one(FIND_SALE_OF, item_id)
        return None if row is None else sale_of(row)

    async def sold_items(self, sale_id: SaleId, after: ItemId) -> list[ItemId]:
        """The items of the sale above `after` that are sold, in order: a page of `SOLD_ITEMS_PAGE`, then the rest."""
        ((found,),) = await self._database.fetch(SOLD_ITEMS, sale_id, after, SOLD_ITEMS_PAGE)
        return list(found)


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
