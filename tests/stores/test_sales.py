"""What a visitor reads of sales and their items."""

from __future__ import annotations

from flash.domain import ItemId, SaleId
from tests.codes import approve
from tests.stores.database import issue, opened, sell


async def test_the_last_item_closes_the_sale(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        codes = [await issue(stores.checkouts, item, f"u{item}") for item in range(1, 11)]
        await sell(stores.terms, term, *map(approve, codes))
        assert await stores.sales.unsold_sales() == (2, frozenset({2}))
        assert [sale.id for sale in await stores.sales.list_sales(None, 10, with_sold_out=False)] == [2]


async def test_an_item_is_available_until_it_is_sold(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        await sell(stores.terms, term, approve(await issue(stores.checkouts, 2)))
        listed = await stores.sales.list_items(SaleId(1), ItemId(0), 3, only_available=False)
        assert listed == [(1, True), (2, False), (3, True)]
        left = await stores.sales.list_items(SaleId(1), ItemId(1), 2, only_available=True)
        assert left == [(3, True), (4, True)]
        found = await stores.sales.find_item(ItemId(2))
        assert found is not None
        assert (found[0].id, found[0].sold, found[1]) == (1, 1, False)
        assert await stores.sales.find_item(ItemId(21)) is None


async def test_sales_are_listed_in_pages_the_newest_first(postgres: str) -> None:
    async with opened(postgres) as stores:
        assert [sale.id for sale in await stores.sales.list_sales(None, 1, with_sold_out=True)] == [2]
        assert [sale.id for sale in await stores.sales.list_sales(SaleId(2), 9, with_sold_out=True)] == [1]
        assert [sale.id for sale in await stores.sales.list_sales(SaleId(2), 9, with_sold_out=False)] == [1]
        current = await stores.sales.current_sale()
        assert current is not None
        assert (current.id, current.is_open) == (1, True)
