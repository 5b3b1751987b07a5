"""The router and its cache: who is asked about a purchase, and when a sale counts as sold out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.purchase_router import REFRESH_SECONDS, PurchaseRouter, SoldOutCache
from flash.domain import (
    Attempt,
    Code,
    Command,
    ItemId,
    Outcome,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    SaleId,
    UserId,
)
from flash.errors import OutcomeUnknown, StorageFull, Unavailable
from flash.testing.twins.database import DatabaseTwin, RedemptionsTwin
from tests.codes import approve
from tests.stores.database import sell

ONE, TWO, THREE = SaleId(1), SaleId(2), SaleId(3)
SOLD_OUT = Refused(Refusal.SOLD_OUT)


class Leader:
    """Says the same to everybody, and counts who asked."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.asked: list[Command] = []

    async def ask(self, command: Command) -> Outcome:
        await trio.lowlevel.checkpoint()
        self.asked.append(command)
        return self.outcome


class Disk:
    def __init__(self) -> None:
        self.is_full = False

    def note_full(self, error: StorageFull) -> None:
        self.is_full = True


class Site:
    def __init__(self, outcome: Outcome = SOLD_OUT) -> None:
        self.database = DatabaseTwin()
        self.leader = Leader(outcome)
        self.cache = SoldOutCache(self.database)
        self.disk = Disk()
        self.router = PurchaseRouter(self.leader, RedemptionsTwin(self.database), self.database, self.cache, self.disk)

    async def issue(self, item: int, user: str = "ann") -> Code:
        (recorded,) = await self.database.record_attempts([Attempt(UserId(user), ItemId(item))])
        assert recorded.code is not None
        return recorded.code

    async def sell(self, *codes: Code) -> None:
        """Sell item n to the n-th code."""
        term, _, _ = await self.database.begin_term(ONE)
        await sell(self.database, term, *(approve(code, slot, "key:a") for slot, code in enumerate(codes, start=1)))


async def test_an_open_sales_leader_is_asked() -> None:
    site = Site(outcome=Refused(Refusal.ITEM_SOLD))
    await site.database.prepare_sales(3600, 1, 1)
    await site.cache.refresh()
    command = Command(await site.issue(1), RequestId("key:a"))
    assert await site.router.ask(command) == Refused(Refusal.ITEM_SOLD)
    assert site.leader.asked == [command]
    assert not site.cache.has(ONE), "another refusal says nothing of the sale"
    assert not site.disk.is_full


async def test_a_leader_that_finds_no_room_tells_the_disks_watch() -> None:
    site = Site(outcome=Refused(Refusal.NO_ROOM))
    await site.database.prepare_sales(3600, 1, 1)
    await site.cache.refresh()
    command = Command(await site.issue(1), RequestId("key:a"))
    assert await site.router.ask(command) == Refused(Refusal.NO_ROOM)
    assert site.disk.is_full
    assert not site.cache.has(ONE)


async def test_a_sold_out_sale_is_answered_from_the_database_and_its_leader_left_alone() -> None:
    site = Site()
    await site.database.prepare_sales(3600, 1, 1)
    bought, late = await site.issue(1), await site.issue(1, "bob")
    await site.sell(bought)
    await site.cache.refresh()
    assert site.cache.has(ONE)
    repeated = await site.router.ask(Command(bought, RequestId("key:a")))
    assert isinstance(repeated, Repeated)
    assert repeated.purchase.checkout_id == bought.checkout_id
    used = await site.router.ask(Command(bought, RequestId("key:b")))
    assert used == Refused(Refusal.CODE_ALREADY_USED, repeated.purchase)
    assert await site.router.ask(Command(late, RequestId("key:c"))) == SOLD_OUT
    forged = replace(late, user_digest=bytes(16))
    assert await site.router.ask(Command(forged, RequestId("key:d"))) == Refused(Refusal.INVALID_CODE)
    assert site.leader.asked == []
    assert (await site.router.find(bought)).purchase == repeated.purchase


async def test_a_sale_heard_of_as_sold_out_is_remembered_until_the_next_look_at_the_database() -> None:
    site = Site()
    await site.database.prepare_sales(3600, 1, 1)
    code = await site.issue(1)
    await site.cache.refresh()
    assert await site.router.ask(Command(code, RequestId("key:a"))) == SOLD_OUT
    assert site.cache.has(ONE)
    await site.sell(code)
    await site.router.ask(Command(code, RequestId("key:a")))
    assert len(site.leader.asked) == 1
    await site.cache.refresh()
    assert site.cache.has(ONE)
    assert not site.cache._heard, "what the database shows need not be remembered"


async def test_a_sale_that_the_database_shows_as_unsold_is_sold_again() -> None:
    """It was replaced by one that lacks the last sales."""
    site = Site()
    await site.database.prepare_sales(3600, 1, 1)
    code = await site.issue(1)
    site.cache.add(ONE)
    await site.cache.refresh()
    assert not site.cache.has(ONE)
    await site.router.ask(Command(code, RequestId("key:a")))
    assert len(site.leader.asked) == 1


async def test_a_sale_that_has_items_again_is_not_called_sold_out_before_the_next_look() -> None:
    """The database was replaced a moment ago by one that lacks the last sales."""
    site = Site(outcome=Refused(Refusal.ITEM_SOLD))
    await site.database.prepare_sales(3600, 1, 1)
    code = await site.issue(1)
    site.cache.add(ONE)
    assert await site.router.ask(Command(code, RequestId("key:a"))) != SOLD_OUT
    assert len(site.leader.asked) == 1


async def test_what_a_leader_says_while_the_database_is_looked_at_outlives_that_look() -> None:
    site = Site()
    await site.database.prepare_sales(3600, 1, 1)

    async def hear_meanwhile(name: str, args: tuple[object, ...]) -> None:
        if name == "unsold_sales":
            site.cache.add(ONE)

    site.database.faults.on_after = hear_meanwhile
    await site.cache.refresh()
    assert site.cache.has(ONE), "that look may have come too early to show it"


async def test_a_sale_that_the_cache_has_not_seen_is_not_called_sold_out() -> None:
    site = Site()
    assert not site.cache.has(ONE), "nothing is known before the first refresh"
    await site.database.prepare_sales(3600, 1, 1)
    await site.cache.refresh()
    assert [site.cache.has(sale_id) for sale_id in (ONE, TWO, THREE)] == [False, False, False]
    site.cache.add(THREE)
    assert site.cache.has(THREE)


async def test_a_refresh_that_fails_is_logged_and_the_next_one_tried(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    await site.database.prepare_sales(3600, 1, 1)
    await site.cache.refresh()
    await site.sell(await site.issue(1))
    site.database.faults.fail_before(Unavailable("PostgreSQL is away"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.cache.run)
        for has, lines in ((False, 1), (True, 1)):
            await wait_all_tasks_blocked()
            mock_clock.jump(REFRESH_SECONDS)
            await wait_all_tasks_blocked()
            assert (site.cache.has(ONE), len(caplog.records)) == (has, lines)
        nursery.cancel_scope.cancel()
    assert "PostgreSQL is away" in caplog.text


async def test_whoever_asks_for_a_refresh_hears_that_it_failed() -> None:
    site = Site()
    site.database.faults.fail_after(OutcomeUnknown("lost"))
    with pytest.raises(OutcomeUnknown):
        await site.cache.refresh()
