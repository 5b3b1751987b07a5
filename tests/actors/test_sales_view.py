"""What visitors see: from memory, as old as it says, and right again whatever became of the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.sale_items import SaleItems
from flash.actors.sales_view import (
    DOUBT_SECONDS,
    FEED_SECONDS,
    LOAD_PAUSE_MAX_SECONDS,
    REFRESH_SECONDS,
    ROTATION_SECONDS,
    STALE_MAX_SECONDS,
    SalesView,
)
from flash.actors.shown_sale import ShownSale
from flash.domain import Epoch, ItemId, Sale, SaleId, SaleLook, SalesLook, Term
from flash.errors import Unavailable
from flash.sold_feed.messages import SoldBatch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STOCK = 5
ids = st.lists(st.integers(95, 120).map(ItemId))


class Rows:
    """A database with one sale an hour of `STOCK` items each. It counts what it is asked, and may be away."""

    def __init__(self, sales: int) -> None:
        self.sold: dict[SaleId, set[ItemId]] = {SaleId(n): set() for n in range(1, sales + 1)}
        self.tokens: dict[SaleId, bytes] = {}
        self.stocks: dict[SaleId, int] = {}
        self.known_at_first = sales
        self.asked: list[str] = []
        self.error: Unavailable | None = None
        self.loading: trio.Event | None = None
        """What a load waits for before it answers, as it was when it was asked."""

    def sale(self, sale_id: SaleId) -> Sale:
        starts_at = NOON + timedelta(hours=sale_id - self.known_at_first + 1)  # the last one is upcoming
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
            max(self.sold, default=SaleId(0)),
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


async def test_many_sales_that_are_read_again_do_not_make_the_others_too_old(autojump_clock: MockClock) -> None:
    class SlowRows(Rows):
        async def sold_items(self, sale_id: SaleId, after: ItemId) -> list[ItemId]:
            await trio.sleep(0.01)
            return await super().sold_items(sale_id, after)

    rows = SlowRows(502)
    rows.sell(*range(1, 500 * STOCK, STOCK))
    view = SalesView(rows)
    await view.refresh()
    await view.refresh()
    rows.tokens = dict.fromkeys(rows.sold, b"successor")  # the host that led them all has died
    oldest = 0.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(view.run)
        for _ in range(150):
            await trio.sleep(0.1)
            oldest = max(oldest, view.age_seconds)
        nursery.cancel_scope.cancel()
    assert oldest < 2
    assert all(view.items_age_seconds(sale_id) < STALE_MAX_SECONDS for sale_id in rows.sold)


async def test_whoever_asks_whether_there_is_anything_to_see_hears_of_a_sale_that_has_just_been_made(
    autojump_clock: MockClock,
) -> None:
    rows = Rows(0)
    view = SalesView(rows)
    await view.refresh()
    assert not await view.sees_sales()
    rows.sold[SaleId(1)] = set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(view.run)
        asked_at = trio.current_time()
        assert await view.sees_sales()
        assert trio.current_time() - asked_at <= REFRESH_SECONDS
        assert await view.find_sale(SaleId(1)) is not None
        nursery.cancel_scope.cancel()


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


async def test_a_sold_out_sale_that_is_for_sale_again_is_unavailable_until_a_look_shows_it(
    autojump_clock: MockClock,
) -> None:
    rows = Rows(3)
    rows.sell(6, 7, 8, 9, 10)
    view = await shown(rows)
    rows.sold[SaleId(2)].remove(ItemId(7))  # the database was replaced by one that lacks the last sale
    with pytest.raises(Unavailable):
        await view.find_sale(SaleId(2))
    await view.refresh()
    sale = await view.find_sale(SaleId(2))
    assert sale is not None
    assert sale.remaining == 1


async def test_a_sale_that_was_made_since_the_last_look_is_not_there_yet_rather_than_sold(
    autojump_clock: MockClock,
) -> None:
    rows = Rows(1)
    rows.sell(1, 2, 3, 4, 5)
    view = await shown(rows)
    rows.sold[SaleId(2)] = set()
    assert await view.find_item(ItemId(6)) is None
    await view.refresh()
    found = await view.find_item(ItemId(6))
    assert found is not None
    assert (found[0].id, found[1]) == (2, True)


async def test_of_very_many_past_sales_the_last_that_were_asked_for_are_kept(autojump_clock: MockClock) -> None:
    rows = Rows(1_200)
    rows.sell(*range(1, 1_200 * STOCK - 9))  # all but the current sale and the next
    view = await shown(rows)
    for item in range(1, 1_100 * STOCK, STOCK):
        assert await view.find_item(ItemId(item)) is not None
    rows.asked.clear()
    for item in (1_100 * STOCK, 500 * STOCK, 500 * STOCK + 1):
        found = await view.find_item(ItemId(item))
        assert found is not None
        assert (item in found[0].item_ids, found[1]) == (True, False)
    assert rows.asked == []
    assert await view.find_item(ItemId(1)) is not None
    assert rows.asked == ["find_sale_of"]


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


async def next_look(clock: MockClock) -> None:
    """Move on until a view that runs has looked once more."""
    for seconds in (DOUBT_SECONDS, REFRESH_SECONDS - DOUBT_SECONDS):
        clock.jump(seconds)
        await wait_all_tasks_blocked()


async def test_what_is_too_old_is_not_shown(mock_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    rows = Rows(2)
    view = await shown(rows)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(view.run)
        await wait_all_tasks_blocked()
        await next_look(mock_clock)
        assert view.age_seconds == 0
        rows.error = Unavailable("PostgreSQL is away")
        for _ in range(int(STALE_MAX_SECONDS / REFRESH_SECONDS)):
            await next_look(mock_clock)
        assert view.age_seconds == pytest.approx(STALE_MAX_SECONDS)
        assert await view.current_sale() is not None
        await next_look(mock_clock)
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
        await next_look(mock_clock)
        assert view.age_seconds == 0
        nursery.cancel_scope.cancel()


async def test_a_very_large_sale_is_not_read_again_at_every_look(autojump_clock: MockClock) -> None:
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
        assert int(view.items_age_seconds(SaleId(1))) == second % LOAD_PAUSE_MAX_SECONDS, "as old as the last load"
        assert view.age_seconds < 2 * FEED_SECONDS
        await trio.sleep(1)
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
        mock_clock.jump(FEED_SECONDS)
        await wait_all_tasks_blocked()
        assert rows.asked == ["look", "sold_items"]
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


# --- the feed ---

ONE = SaleId(1)
TERM = Term(ONE, Epoch(1), b"one")
NEXT_TERM = Term(ONE, Epoch(1), b"two")
"""Of a database that has counted the epoch again."""


def batch(sold: int, *item_ids: int, term: Term = TERM) -> SoldBatch:
    return SoldBatch(term, sold, [ItemId(n) for n in item_ids])


async def led() -> tuple[Rows, SalesView]:
    """Sale 1 with a leader and nothing sold."""
    rows = Rows(2)
    rows.tokens[ONE] = TERM.token
    return rows, await shown(rows)


async def left(view: SalesView) -> list[ItemId]:
    return [item_id for item_id, _ in await view.list_items(ONE, ItemId(0), 9, only_available=True)]


async def sold_of(view: SalesView) -> int:
    sale = await view.find_sale(ONE)
    assert sale is not None
    return sale.sold


async def test_what_a_leader_sells_is_shown_without_a_look(autojump_clock: MockClock) -> None:
    rows, view = await led()
    version = view.version(ONE)
    view.receive(batch(2, 2, 4))
    assert (await left(view), await sold_of(view)) == ([1, 3, 5], 2)
    assert view.version(ONE) != version
    view.receive(batch(2, 2, 4))
    view.receive(batch(5, 1, 3, 5))
    assert (await left(view), await sold_of(view)) == ([], 5)
    sale = await view.find_sale(ONE)
    assert sale is not None
    assert sale.status == "sold_out"
    assert [sale.id for sale in await view.list_sales(None, 9, with_sold_out=False)] == [2]
    assert rows.asked == []


@given(st.permutations(range(1, 6)), st.lists(st.integers(1, 3), min_size=5, max_size=5), st.randoms())
def test_batches_may_come_in_any_order_and_twice(items: list[int], sizes: list[int], random: Random) -> None:
    sale = Sale(ONE, NOON, ItemId(1), STOCK, 10, 0, is_open=True)
    one = ShownSale(sale, SaleLook(NOON, sale.item_ids, 0, TERM.token))
    batches, at = list[SoldBatch](), 0
    for size in sizes:
        if part := items[at : at + size]:
            at += len(part)
            batches.append(batch(at, *part))
    sent = batches * 2
    random.shuffle(sent)
    for sent_batch in sent:
        one.receive(sent_batch)
        assert one.is_complete == (one.items.sold == one.sale.sold)
    assert one.is_complete
    assert (one.sale.sold, one.items.sold) == (at, at)
    assert not any(one.items.is_available(ItemId(n)) for n in items[:at])


async def run_for(view: SalesView, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await view.run()


async def test_a_lost_batch_is_noticed_by_the_next_one_and_read_at_once(autojump_clock: MockClock) -> None:
    rows, view = await led()
    rows.sell(1, 2)
    view.receive(batch(2, 2))  # the batch that sold item 1 was lost
    assert await left(view) == [1, 3, 4, 5]
    await run_for(view, DOUBT_SECONDS + FEED_SECONDS + 0.01)
    assert await left(view) == [3, 4, 5]
    assert rows.asked == ["look", "sold_items"]


async def test_the_last_batch_if_it_is_lost_costs_less_than_a_second(autojump_clock: MockClock) -> None:
    rows, view = await led()
    rows.sell(1)
    await run_for(view, REFRESH_SECONDS + FEED_SECONDS + 0.01)
    assert (await left(view), await sold_of(view)) == ([2, 3, 4, 5], 1)


async def test_a_look_that_is_ahead_of_the_feed_waits_for_it_and_reads_nothing(autojump_clock: MockClock) -> None:
    rows, view = await led()
    rows.sell(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(view.refresh)
        await trio.sleep(FEED_SECONDS / 2)
        assert await sold_of(view) == 1
        view.receive(batch(1, 1))
    assert await left(view) == [2, 3, 4, 5]
    assert rows.asked == ["look"]
    assert view.items_age_seconds(ONE) == FEED_SECONDS


async def test_a_batch_of_another_term_changes_nothing_before_the_database_knows_that_term(
    autojump_clock: MockClock,
) -> None:
    rows, view = await led()
    view.receive(batch(1, 1))
    view.receive(batch(1, 2, term=NEXT_TERM))
    assert await left(view) == [2, 3, 4, 5]
    rows.tokens[ONE], rows.sold[ONE] = NEXT_TERM.token, {ItemId(2)}
    await run_for(view, DOUBT_SECONDS + FEED_SECONDS + 0.01)
    assert await left(view) == [1, 3, 4, 5]
    view.receive(batch(2, 3))  # of the leader that was deposed
    assert await left(view) == [1, 3, 4, 5]


async def test_a_database_that_counts_less_than_was_heard_is_read_again(autojump_clock: MockClock) -> None:
    rows, view = await led()
    view.receive(batch(3, 1, 2, 3))
    rows.sell(1)  # the rest was lost with the database that had it
    await view.refresh()
    assert (await left(view), await sold_of(view)) == ([2, 3, 4, 5], 1)


async def test_what_is_heard_while_the_items_are_read_is_not_lost(autojump_clock: MockClock) -> None:
    rows, view = await led()
    rows.sell(1, 2, 3)
    rows.loading = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(view.refresh)
        await trio.sleep(2 * FEED_SECONDS)  # three items have been read, and their answer is under way
        assert rows.asked == ["look", "sold_items"]
        view.receive(batch(4, 4))
        rows.loading.set()
    assert (await left(view), await sold_of(view)) == ([5], 4)


async def test_the_items_of_a_sale_are_read_now_and_then_for_no_reason(autojump_clock: MockClock) -> None:
    rows, view = await led()
    await run_for(view, 2 * ROTATION_SECONDS + 1)
    assert rows.asked.count("sold_items") == 2
    assert view.items_age_seconds(ONE) < 1


async def test_a_doubt_brings_the_next_look_forward_but_a_flood_of_them_only_ten_a_second(
    autojump_clock: MockClock,
) -> None:
    rows, view = await led()

    async def flood() -> None:
        while True:
            view.doubt()
            await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await run_for(view, 1.05)
        nursery.cancel_scope.cancel()
    assert rows.asked == ["look"] * 10
