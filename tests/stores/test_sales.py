"""What a visitor reads of sales and their items."""

from __future__ import annotations

from flash.domain import ItemId, SaleId, SalesLook
from tests.codes import approve
from tests.stores.database import issue, opened, sell


async def test_the_last_item_closes_the_sale(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        codes = [await issue(stores.checkouts, item, f"u{item}") for item in range(1, 11)]
        await sell(stores.terms, term, *map(approve, codes))
        assert await stores.sales.unsold_sales() == (2, frozenset({2}))
        assert _sold(await stores.sales.look()) == {2: 0}


async def test_a_look_shows_what_is_sold_of_each_unsold_sale(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        await sell(stores.terms, term, approve(await issue(stores.checkouts, 2)))
        look = await stores.sales.look()
        assert (look.newest, _sold(look)) == (2, {1: 1, 2: 0})
        assert (look.sales[SaleId(1)].token, look.sales[SaleId(2)].token) == (term.token, None)
        assert [seen.item_ids for seen in look.sales.values()] == [range(1, 11), range(11, 21)]
        assert await stores.sales.sold_items(SaleId(1), ItemId(0)) == [2]
        assert await stores.sales.sold_items(SaleId(1), ItemId(2)) == []
        assert [sale.id for sale in await stores.sales.find_sales([SaleId(2), SaleId(9)])] == [2]


async def test_an_item_belongs_to_the_sale_in_whose_range_it_lies(postgres: str) -> None:
    async with opened(postgres) as stores:
        found = [await stores.sales.find_sale_of(ItemId(n)) for n in (1, 10, 11, 20, 21, 2**62)]
        assert [sale and sale.id for sale in found] == [1, 1, 2, 2, None, None]


async def test_sales_are_listed_in_pages_the_newest_first(postgres: str) -> None:
    async with opened(postgres) as stores:
        assert [sale.id for sale in await stores.sales.list_sales(None, 1)] == [2]
        assert [sale.id for sale in await stores.sales.list_sales(SaleId(2), 9)] == [1]
        current = await stores.sales.current_sale()
        assert current is not None
        assert (current.id, current.is_open) == (1, True)


def _sold(look: SalesLook) -> dict[SaleId, int]:
    return {sale_id: seen.sold for sale_id, seen in look.sales.items()}
