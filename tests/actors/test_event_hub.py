"""Viewers of a sale on a driven clock: what they are told, how often, and what becomes of those who leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count, pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.event_hub import (
    FEED_KEPT_SECONDS,
    FEEDS_MAX,
    HEARTBEAT,
    HEARTBEAT_SECONDS,
    RETRY_MS_MAX,
    RETRY_MS_MIN,
    TICK_SECONDS,
    VIEWERS_A_TURN,
    EventHub,
)
from flash.actors.sale_events import ItemsSold, SaleAnnounced, SaleEvent, SaleOpened, SoldOut, State
from flash.actors.sales_view import STALE_MAX_SECONDS, SalesView
from flash.domain import Epoch, ItemId, SaleId, Term
from flash.errors import Overloaded, Unavailable
from flash.sold_feed.messages import SoldBatch
from tests.actors.test_sales_view import STOCK, Rows

HOUR = 3600.0
LOOK_SECONDS = 1.0
"""By then, the view has looked and the hub has told."""


def written(event: SaleEvent, event_id: bytes) -> bytes:
    """An event as these tests read it."""
    match event:
        case State(watched=watched):
            items = "".join(str(flag) for flag in watched.flags)
            said = f"state {watched.sale.id} {items} of {[sale.id for sale in event.sales]}"
        case ItemsSold():
            said = f"sold {[*event.item_ids]} left {event.remaining}"
        case SaleOpened() | SaleAnnounced():
            said = f"{'opened' if isinstance(event, SaleOpened) else 'announced'} {event.sale.id} {event.sale.status}"
        case SoldOut():
            said = f"sold out {event.sale_id}"
    return f"{event_id.decode()} {said}\n".encode()


class Viewer:
    """`heard`: lines that it got since it was last asked. One that is told to end leaves at once."""

    def __init__(self, hub: EventHub) -> None:
        self.pieces: list[bytes] = []
        self.times: list[float] = []
        self.has_ended = False
        self._hub = hub

    def write_nowait(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.times.append(trio.current_time())

    def end(self) -> None:
        self.has_ended = True
        self._hub.leave(self)

    def heard(self) -> list[str]:
        lines = [line for line in b"".join(self.pieces).decode().split("\n") if line and not line.startswith("retry")]
        self.pieces.clear()
        return lines


class Shop:
    """A hub on a view of `rows`, which leaders feed."""

    def __init__(self, rows: Rows, viewers_max: int = 1_000) -> None:
        self.rows = rows
        self.view = SalesView(rows)
        self.hub = self.new_hub(viewers_max, lambda: 0.5)

    def new_hub(self, viewers_max: int, random: Callable[[], float]) -> EventHub:
        """Its logs are named 1, 2, 3 …"""
        names = map(str, count(1))
        return EventHub(
            self.view, written, new_name=lambda: next(names).encode(), viewers_max=viewers_max, random=random
        )

    async def watch(self, sale: int | None = None, last_id: bytes | None = None) -> Viewer:
        viewer = Viewer(self.hub)
        found = await self.hub.find(None if sale is None else SaleId(sale))
        assert found is not None
        self.hub.join(viewer, found, last_id, follows=sale is None)
        return viewer

    def sell(self, *items: int) -> None:
        """As a leader does: in the database, and told in the feed."""
        self.rows.sell(*items)
        sale_id = SaleId((items[0] - 1) // STOCK + 1)
        term = Term(sale_id, Epoch(1), self.rows.tokens[sale_id])
        self.view.receive(SoldBatch(term, len(self.rows.sold[sale_id]), [ItemId(n) for n in items]))


@asynccontextmanager
async def opened(sales: int = 2, **options: int) -> AsyncIterator[Shop]:
    """The sale before the last one is open, the last one opens in an hour."""
    rows = Rows(sales)
    rows.tokens = dict.fromkeys(rows.sold, b"t" * 16)
    shop = Shop(rows, **options)
    await shop.view.refresh()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shop.view.run)
        nursery.start_soon(shop.hub.run)
        yield shop
        nursery.cancel_scope.cancel()


async def test_a_viewer_gets_the_state_and_then_what_is_sold_in_few_events(autojump_clock: MockClock) -> None:
    async with opened() as shop:
        shop.sell(2)
        viewer = await shop.watch()
        assert viewer.heard() == ["1-0 state 1 01000 of [2, 1]"]
        await trio.sleep(TICK_SECONDS / 2)
        for item in (1, 3, 4):
            shop.sell(item)
            await trio.sleep(TICK_SECONDS / 10)
        await trio.sleep(TICK_SECONDS)
        assert viewer.heard() == ["1-1 sold [1, 3, 4] left 1"]
        shop.sell(5)
        await trio.sleep(TICK_SECONDS)
        assert viewer.heard() == ["1-2 sold [5] left 0", "1-3 sold out 1"]


async def test_nobody_is_told_more_often_than_four_times_a_second(autojump_clock: MockClock) -> None:
    async with opened() as shop:
        viewers = [await shop.watch() for _ in range(3)]
        started_at = trio.current_time()
        for item in range(1, STOCK + 1):
            shop.sell(item)
            await trio.sleep(0.2)
        await trio.sleep(1)
        for viewer in viewers:
            times = viewer.times[1:]  # the first is the greeting
            assert len(times) <= 4 * (trio.current_time() - started_at)
            assert all(later - before > 0.99 * TICK_SECONDS for before, later in pairwise(times))
        assert len({id(piece) for viewer in viewers for piece in viewer.pieces[1:]}) == len(viewers[0].pieces) - 1, (
            "the bytes are made once for all"
        )


async def test_a_sale_opens_at_the_hour_and_those_who_follow_go_on_with_it(autojump_clock: MockClock) -> None:
    async with opened() as shop:
        following, staying, waiting = await shop.watch(), await shop.watch(1), await shop.watch(2)
        for viewer in (following, staying, waiting):
            viewer.heard()
        await trio.sleep(HOUR - trio.current_time() - 0.01)
        assert {*following.heard(), *staying.heard(), *waiting.heard()} <= {HEARTBEAT.decode().strip()}
        await trio.sleep(TICK_SECONDS + 0.02)
        assert following.heard() == ["1-1 opened 2 open", "2-1 state 2 00000 of [2, 1]"]
        assert staying.heard() == ["1-1 opened 2 open"]
        assert waiting.heard() == ["2-1 opened 2 open"]
        shop.rows.sold[SaleId(3)] = set()
        shop.sell(6)
        await trio.sleep(LOOK_SECONDS)
        assert following.heard() == waiting.heard()
        shop.sell(1)
        await trio.sleep(LOOK_SECONDS)
        assert staying.heard()[-1].endswith("sold [1] left 4")
        assert following.heard() == []
        late = await shop.watch()
        assert late.heard()[0].split()[1:3] == ["state", "2"]


async def test_the_next_sale_is_announced_when_it_becomes_known(autojump_clock: MockClock) -> None:
    async with opened(1) as shop:
        viewer = await shop.watch(1)
        assert viewer.heard() == ["1-0 state 1 00000 of [1]"]
        shop.rows.sold[SaleId(2)] = set()
        await trio.sleep(LOOK_SECONDS)
        assert viewer.heard() == ["1-1 announced 2 upcoming"]


async def test_whoever_comes_back_gets_what_it_has_missed(autojump_clock: MockClock) -> None:
    async with opened() as shop:
        first = await shop.watch()
        shop.sell(1)
        await trio.sleep(TICK_SECONDS)
        shop.hub.leave(first)
        shop.sell(2)
        await trio.sleep(10 * TICK_SECONDS)
        shop.sell(3)
        assert (await shop.watch(None, b"1-1")).heard() == ["1-2 sold [2, 3] left 2"]
        assert (await shop.watch(1, b"1-2")).heard() == []
        assert (await shop.watch(1, b"9-2")).heard() == ["1-2 state 1 11100 of [2, 1]"]
        assert (await shop.watch(2, b"1-2")).heard() == ["2-0 state 2 00000 of [2, 1]"]


async def test_a_sale_without_viewers_is_forgotten_and_an_idle_hub_sleeps(autojump_clock: MockClock) -> None:
    async with opened() as shop:
        shop.hub.leave(await shop.watch())
        await trio.sleep(FEED_KEPT_SECONDS + 2 * TICK_SECONDS)
        assert (await shop.watch(None, b"1-0")).heard() == ["2-0 state 1 00000 of [2, 1]"]


async def test_an_item_that_is_for_sale_again_is_told(autojump_clock: MockClock) -> None:
    async with opened() as shop:
        shop.sell(1, 2)
        watching, sold_out = await shop.watch(), await shop.watch(1)
        for items in ((3, 4), (5,)):
            shop.sell(*items)
            await trio.sleep(LOOK_SECONDS)
        assert sold_out.heard()[-1] == "1-3 sold out 1"
        watching.heard()
        shop.rows.sold[SaleId(1)] = {ItemId(1)}  # the database was replaced by one that lacks the last sales
        shop.rows.tokens[SaleId(1)] = b"u" * 16
        await trio.sleep(LOOK_SECONDS)
        assert watching.heard() == ["1-4 state 1 10000 of [2, 1]"]
        shop.sell(4)
        await trio.sleep(LOOK_SECONDS)
        assert watching.heard() == ["1-5 sold [4] left 3"]


async def test_viewers_of_a_sale_that_is_not_there_any_more_are_sent_away(autojump_clock: MockClock) -> None:
    async with opened(3) as shop:
        viewer, other = await shop.watch(3), await shop.watch(2)
        del shop.rows.sold[SaleId(3)]
        await trio.sleep(LOOK_SECONDS)
        assert viewer.has_ended
        assert not other.has_ended
        assert await shop.hub.find(SaleId(3)) is None


async def test_what_was_missed_while_the_database_was_away_is_told_afterwards(autojump_clock: MockClock) -> None:
    async with opened() as shop:
        viewer = await shop.watch()
        viewer.heard()
        shop.rows.error = Unavailable("away")
        await trio.sleep(STALE_MAX_SECONDS + HEARTBEAT_SECONDS + 1)
        with pytest.raises(Unavailable):
            await shop.hub.find(None)
        shop.rows.sell(1, 2)  # and nothing of it came in the feed
        assert viewer.heard() == [": heartbeat"]
        shop.rows.error = None
        await trio.sleep(LOOK_SECONDS)
        assert viewer.heard() == ["1-1 sold [1, 2] left 3"]


async def test_a_viewer_who_hears_nothing_else_hears_a_heartbeat(autojump_clock: MockClock) -> None:
    async with opened() as shop:
        viewer = await shop.watch()
        await trio.sleep(4 * HEARTBEAT_SECONDS + 1)
        assert viewer.pieces[1:] == [HEARTBEAT] * 4


async def test_lost_viewers_come_back_at_different_times(autojump_clock: MockClock) -> None:
    draws = iter((0.0, 0.5, 0.999_999))
    async with opened() as shop:
        shop.hub = shop.new_hub(9, lambda: next(draws))
        waits = [int((await shop.watch()).pieces[0].split()[1]) for _ in range(3)]
    assert waits == [RETRY_MS_MIN, (RETRY_MS_MIN + RETRY_MS_MAX) // 2, RETRY_MS_MAX - 1]


async def test_more_viewers_than_allowed_are_too_many(autojump_clock: MockClock) -> None:
    async with opened(viewers_max=2) as shop:
        viewer = await shop.watch()
        assert not shop.hub.is_full
        await shop.watch(1)
        assert shop.hub.is_full
        assert shop.hub.viewers == 2
        shop.hub.leave(viewer)
        shop.hub.leave(viewer)
        assert (shop.hub.viewers, shop.hub.is_full) == (1, False)


async def test_whoever_asks_for_many_sales_keeps_nobody_from_watching_one(autojump_clock: MockClock) -> None:
    async with opened(FEEDS_MAX + 2) as shop:
        watched = await shop.watch(1)
        for sale in range(2, FEEDS_MAX + 2):
            await shop.hub.find(SaleId(sale))
        assert (await shop.watch(FEEDS_MAX + 1)).heard()
        await trio.sleep(LOOK_SECONDS)
        watched.heard()
        shop.sell(2)
        await trio.sleep(LOOK_SECONDS)
        assert watched.heard(), "the sale that somebody watches was not forgotten"


async def test_no_more_sales_are_watched_at_once_than_there_is_memory_for(autojump_clock: MockClock) -> None:
    async with opened(FEEDS_MAX + 1) as shop:
        for sale in range(1, FEEDS_MAX + 1):
            await shop.watch(sale)
        with pytest.raises(Overloaded):
            await shop.watch(FEEDS_MAX + 1)
        assert (await shop.watch(1)).heard()


async def test_buyers_have_their_turn_between_every_few_viewers(autojump_clock: MockClock) -> None:
    async with opened(viewers_max=2_000) as shop:
        viewers = [await shop.watch() for _ in range(1_000)]
        told_at_once: list[int] = []

        async def buy() -> None:
            """Always runnable: it sees how many viewers are told between two of its turns."""
            before = 0
            while before < 2 * len(viewers):
                await trio.lowlevel.checkpoint()
                told = sum(len(viewer.pieces) for viewer in viewers)
                told_at_once.append(told - before)
                before = told

        shop.sell(1)
        await buy()
        assert max(told_at_once[1:]) <= 2 * VIEWERS_A_TURN, "who is first in a round of the scheduler is chance"
        assert all(len(viewer.pieces) == 2 for viewer in viewers)


async def test_nobody_waits_for_a_viewer_who_leaves_while_it_is_told(autojump_clock: MockClock) -> None:
    class Leaving(Viewer):
        def write_nowait(self, piece: bytes) -> None:
            super().write_nowait(piece)
            if len(self.pieces) > 1:
                self.end()

    async with opened() as shop:
        viewers: Sequence[Viewer] = [Leaving(shop.hub) for _ in range(3)]
        await shop.hub.find(SaleId(1))
        for viewer in viewers:
            shop.hub.join(viewer, SaleId(1), None, follows=True)
        shop.sell(1)
        await trio.sleep(TICK_SECONDS)
        await wait_all_tasks_blocked()
        assert shop.hub.viewers == 0
