"""What visitors see: from memory, as old as it says, and right again whatever became of the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.sale_items import SaleItems
from flash.actors.sales_view import LOAD_PAUSE_MAX_SECONDS, REFRESH_SECONDS, STALE_MAX_SECONDS, SalesView
from flash.domain import ItemId, Sale, SaleId, SaleLook, SalesLook
from flash.errors import Unavailable

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STOCK = 5
ids = st.lists(st.integers(95, 120).map(ItemId))


class Rows:
    """A database with one sale an hour of `STOCK` items each. It counts what it is asked, and may be away."""

    def __init__(self, sales: int) -> None:
        self.sold: dict[SaleId, set[ItemId]] = {SaleId(n): set() for n in range(1, sales + 1)}
        self.tokens: dict[SaleId, bytes] = {}
        self.stocks: dict[SaleId, int] = {}
        self.asked: list[str] = []
        self.error: Unavailable | None = None
        self.loading: trio.Event | None = None
        """What a load waits for before it answers, as it was when it was asked."""

    def sale(self, sale_id: SaleId) -> Sale:
        starts_at = NOON + timedelta(hours=sale_id - len(self.sold) + 1)  # the last one is upcoming
        first, sold = ItemId(sale_id * STOCK - STOCK + 1), len(self.sold[sale_id])
        return Sale(sale_id, starts_at, first, self.stocks.get(sale_id, STOCK), 10, sold, starts_at <= self.now)

    @property
    def now(self) -> datetime:
        return NOON + timedelta(seconds=trio.current_time())

    def sell(self, *item_ids: int) -> None:
        for n in item_ids:
            self.sold[SaleId((n - 1) // STOCK + 1)].add(ItemId(n))

    def _ask(self, name: str) -> None:
        self.asked.append(name)
        if self.error is not None:
            raise self.error

    async def look(self) -> SalesLook:
        self._ask("look")
        unsold = [sale for sale in map(self.sale, self.sold) if sale.remaining]
        return SalesLook(
            self.now,
            max(self.sold),
            {sale.id: SaleLook(sale.starts_at, sale.item_ids, sale.sold, self.tokens.get(sale.id)) for sale in unsold},
        )

    async def find_sales(self, sale_ids: Sequence[SaleId]) -> list[Sale]:
        self._ask("find_sales")
        return [self.sale(sale_id) for sale_id in sale_ids]

    async def find_sale(self, sale_id: SaleId) -> Sale | None:
        self._ask("find_sale")
        return self.sale(sale_id) if sale_id in self.sold else None

    async def find_sale_of(self, item_id: ItemId) -> Sale | None:
        self._ask("find_sale_of")
        return next((sale for sale in map(self.sale, self.sold) if item_id in sale.item_ids), None)

    async def sold_items(self, sale_id: SaleId, after: ItemId) -> list[ItemId]:
        """Pages of three items."""
        found = sorted(n for n in self.sold[sale_id] if n > after)[:3]
        if not after:
            self._ask("sold_items")
        if self.loading is not None:
            await self.loading.wait()
        return found

    async def list_sales(self, before: SaleId | None, limit: int) -> list[Sale]:
        self._ask("list_sales")
        return [self.sale(sale_id) for sale_id in sorted(self.sold, reverse=True)][:limit]


async def shown(rows: Rows) -> SalesView:
    view = SalesView(rows)
    await view.refresh()
    rows.asked.clear()
    return view


@given(ids, ids, st.integers(90, 125), st.integers(1, 30), st.booleans())
def test_a_page_shows_what_is_left_and_nothing_of_other_sales(
    before: list[ItemId], after: list[ItemId], start: int, limit: int, only_available: bool
) -> None:
    items = SaleItems(range(101, 111))
    items.add(before)
    items.add(after)
    sold = {n for n in [*before, *after] if 101 <= n <= 110}
    assert items.sold == len(sold)
    wanted = [(n, n not in sold) for n in range(101, 111) if n > start and not (only_available and n in sold)]
    assert items.page(ItemId(start), limit, only_available=only_available) == wanted[:limit]
    assert all(items.is_available(ItemId(n)) == (n not in sold) for n in range(101, 111))


async def test_no_read_of_an_unsold_sale_asks_the_database(autojump_clock: MockClock) -> None:
    rows = Rows(3)
    rows.sell(6, 8)
    view = await shown(rows)
    current = await view.current_sale()
    assert current is not None
    assert (current.id, current.sold, current.status) == (2, 2, "open")
    assert [sale.id for sale in await view.list_sales(None, 9, with_sold_out=False)] == [3, 2, 1]
    assert [sale.id for sale in await view.list_sales(SaleId(3), 1, with_sold_out=False)] == [2]
    page = await view.list_items(SaleId(2), ItemId(0), 9, only_available=False)
    assert page == [(6, False), (7, True), (8, False), (9, True), (10, True)]
    for item, sale, is_available in ((6, 2, False), (7, 2, True), (15, 3, True), (1, 1, True)):
        found = await view.find_item(ItemId(item))
        assert found is not None
        assert (found[0].id, found[1]) == (sale, is_available)
    assert await view.find_item(ItemId(16)) is None
    assert await view.find_sale(SaleId(4)) is None
    assert rows.asked == []


async def test_a_sale_opens_by_the_clock_without_a_look(mock_clock: MockClock) -> None:
    rows = Rows(2)
    view = SalesView(rows)
    mock_clock.jump(3599)
    await view.refresh()
    assert (await view.current_sale()) == rows.sale(SaleId(1))
    mock_clock.jump(1)
    current = await view.current_sale()
    assert current is not None
    assert (current.id, current.status) == (2, "open")


async def test_a_sold_out_sale_is_asked_for_once(autojump_clock: MockClock) -> None:
    rows = Rows(3)
    view = await shown(rows)
    rows.sell(6, 7, 8, 9, 10)
    await view.refresh()
    rows.asked.clear()
    for _ in range(3):
        current = await view.current_sale()
        assert current is not None
        assert (current.id, current.status) == (2, "sold_out")
        assert await view.find_item(ItemId(7)) == (current, False)
        assert await view.list_items(SaleId(2), ItemId(8), 9, only_available=False) == [(9, False), (10, False)]
        assert await view.list_items(SaleId(2), ItemId(0), 9, only_available=True) == []
    assert rows.asked == ["find_sale"]
    assert [sale.id for sale in await view.list_sales(None, 9, with_sold_out=False)] == [3, 1]


async def test_what_is_sold_is_read_again_only_where_the_count_has_changed(autojump_clock: MockClock) -> None:
    rows = Rows(3)
    view = await shown(rows)
    before = view.version(SaleId(2)), view.version(SaleId(1))
    await view.refresh()
    assert rows.asked == ["look"]
    rows.sell(6)
    await view.refresh()
    assert rows.asked == ["look", "look", "sold_items"]
    assert view.version(SaleId(2)) != before[0]
    assert view.version(SaleId(1)) == before[1]


async def test_a_database_that_lacks_the_last_sales_is_shown_as_it_is(autojump_clock: MockClock) -> None:
    rows = Rows(2)
    rows.sell(1, 2, 3, 4, 5)
    view = await shown(rows)
    assert (await view.find_sale(SaleId(1))) == rows.sale(SaleId(1))
    rows.sold[SaleId(1)] = {ItemId(2)}
    await trio.sleep(1)
    await view.refresh()
    sale = await view.find_sale(SaleId(1))
    assert sale is not None
    assert (sale.sold, sale.status) == (1, "open")
    assert await view.list_items(SaleId(1), ItemId(0), 2, only_available=True) == [(1, True), (3, True)]


async def test_what_is_too_old_is_not_shown(mock_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    rows = Rows(2)
    view = await shown(rows)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(view.run)
        await wait_all_tasks_blocked()
        mock_clock.jump(REFRESH_SECONDS)
        await wait_all_tasks_blocked()
        assert view.age_seconds == 0
        rows.error = Unavailable("PostgreSQL is away")
        for _ in range(int(STALE_MAX_SECONDS / REFRESH_SECONDS)):
            mock_clock.jump(REFRESH_SECONDS)
            await wait_all_tasks_blocked()
        assert view.age_seconds == STALE_MAX_SECONDS
        assert await view.current_sale() is not None
        mock_clock.jump(REFRESH_SECONDS)
        await wait_all_tasks_blocked()
        with pytest.raises(Unavailable):
            await view.current_sale()
        for ask in (
            view.find_sale(SaleId(9)),
            view.find_sale(SaleId(1)),
            view.find_item(ItemId(1)),
            view.list_sales(None, 9, with_sold_out=False),
        ):
            with pytest.raises(Unavailable):
                await ask
        assert "PostgreSQL is away" in caplog.text
        rows.error = None
        mock_clock.jump(REFRESH_SECONDS)
        await wait_all_tasks_blocked()
        assert view.age_seconds == 0
        nursery.cancel_scope.cancel()


async def test_a_very_large_sale_is_not_read_again_at_every_look(mock_clock: MockClock) -> None:
    rows = Rows(1)
    rows.stocks[SaleId(1)] = 200_000
    rows.sold[SaleId(1)] = {ItemId(n) for n in range(1, 100_001)}

    async def sold_items(sale_id: SaleId, after: ItemId) -> list[ItemId]:
        rows.asked.append("sold_items")
        return sorted(rows.sold[sale_id]) if not after else []

    rows.sold_items = sold_items  # type: ignore[method-assign]
    view = SalesView(rows)
    for second in range(6):
        await view.refresh()
        age = view.items_age_seconds(SaleId(1))
        assert age == second % LOAD_PAUSE_MAX_SECONDS, "items are as old as the load that read them, and say so"
        assert view.age_seconds == 0
        mock_clock.jump(1)
        rows.sold[SaleId(1)].add(ItemId(100_001 + second))
    assert rows.asked.count("sold_items") == 4, "two loads of two pages: so many items are worth three seconds"


async def test_a_sale_that_is_made_anew_under_its_number_is_shown_as_the_new_one(autojump_clock: MockClock) -> None:
    rows = Rows(2)
    view = await shown(rows)
    version = view.version(SaleId(2))
    rows.stocks[SaleId(2)] = 9
    await view.refresh()
    sale = await view.find_sale(SaleId(2))
    assert sale is not None
    assert sale.stock == 9
    assert await view.find_item(ItemId(14)) is not None
    assert view.version(SaleId(2)) != version


async def test_nobody_meets_half_of_a_look(mock_clock: MockClock) -> None:
    rows = Rows(3)
    view = await shown(rows)
    rows.loading = trio.Event()
    rows.sell(1, 2, 3, 4, 5, 6)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(view.refresh)  # sale 1 has gone, and the items of sale 2 are being read
        await wait_all_tasks_blocked()
        found = await view.find_item(ItemId(3))
        assert found is not None
        assert (found[0].id, found[1]) == (1, False)
        rows.loading.set()


async def test_another_term_reads_the_items_again_though_as_many_are_sold(autojump_clock: MockClock) -> None:
    """A database that lacks the last sales, and has sold as many others since."""
    rows = Rows(2)
    rows.sell(1)
    rows.tokens[SaleId(1)] = b"one"
    view = await shown(rows)
    rows.sold[SaleId(1)] = {ItemId(2)}
    rows.tokens[SaleId(1)] = b"two"
    await trio.sleep(REFRESH_SECONDS)
    await view.refresh()
    assert await view.list_items(SaleId(1), ItemId(0), 2, only_available=False) == [(1, True), (2, False)]


async def test_a_sale_is_not_called_open_before_it_is_by_a_slow_answer(mock_clock: MockClock) -> None:
    rows = Rows(2)
    look = rows.look

    async def slow() -> SalesLook:
        seen = await look()
        mock_clock.jump(2)
        return seen

    rows.look = slow  # type: ignore[method-assign]
    view = SalesView(rows)
    await view.refresh()
    assert view.now == NOON, "as it was when the database looked, which may have been just before it answered"
    assert view.age_seconds == 2
