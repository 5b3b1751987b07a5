"""The sale scheduler on a clock that the test drives: when it asks, whom it tells, and what ends it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.sale_scheduler import SLEEP_MAX_SECONDS, SLEEP_MIN_SECONDS, SaleScheduler
from flash.domain import SaleId
from flash.errors import Unavailable
from flash.testing.twins.database import DatabaseTwin


class Site:
    """A scheduler on a database, with the Trio times of what it does."""

    def __init__(self, period_seconds: int) -> None:
        self.database = DatabaseTwin()
        self.asked: list[float] = []
        self.told: list[float] = []
        self.database.faults.on_before = self._note
        self.scheduler = SaleScheduler(self.database, self._tell, period_seconds=period_seconds, size=10, user_limit=2)

    async def _note(self, _name: str, _args: tuple[object, ...]) -> None:
        self.asked.append(trio.current_time())

    async def _tell(self) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append(trio.current_time())


async def test_the_next_sale_is_made_at_each_boundary_and_only_then_is_anybody_told(autojump_clock: MockClock) -> None:
    site = Site(period_seconds=20)
    with trio.move_on_after(50):
        await site.scheduler.run()
    assert site.told == pytest.approx([0, 20, 40], abs=0.05)
    assert await site.database.unsold_sales() == (4, frozenset({1, 2, 3, 4}))


async def test_a_long_period_is_not_slept_through_since_the_databases_clock_may_be_set(
    autojump_clock: MockClock,
) -> None:
    site = Site(period_seconds=3600)
    with trio.move_on_after(3.5 * SLEEP_MAX_SECONDS):
        await site.scheduler.run()
    assert site.asked == pytest.approx([0, SLEEP_MAX_SECONDS, 2 * SLEEP_MAX_SECONDS, 3 * SLEEP_MAX_SECONDS])
    assert site.told == pytest.approx([0]), "the sales were there already"


class Boundary:
    """A database that is always just about to reach the boundary."""

    def __init__(self) -> None:
        self.asked = 0

    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        return [], -0.001


async def test_a_boundary_that_is_due_is_not_asked_for_in_a_busy_loop(autojump_clock: MockClock) -> None:
    store = Boundary()
    scheduler = SaleScheduler(store, trio.lowlevel.checkpoint, period_seconds=60, size=1, user_limit=1)
    with trio.move_on_after(1):
        await scheduler.run()
    assert store.asked <= 1 / SLEEP_MIN_SECONDS + 1


async def test_the_schedule_goes_on_when_the_store_was_away(autojump_clock: MockClock) -> None:
    site = Site(period_seconds=60)
    site.database.faults.fail_before(Unavailable("PostgreSQL is away"), times=5)
    with trio.move_on_after(5):
        await site.scheduler.run()
    assert len(site.told) == 1
    assert site.told[0] == pytest.approx(1.0), "five attempts, a fifth of a second apart"


async def test_sales_are_made_on_time_for_an_hour_in_which_nobody_can_be_told(autojump_clock: MockClock) -> None:
    database = DatabaseTwin()

    async def deaf() -> None:
        await trio.sleep(1)
        raise Unavailable("Redis is away")

    scheduler = SaleScheduler(database, deaf, period_seconds=60, size=10, user_limit=2)
    with trio.move_on_after(3600 - 1):
        await scheduler.run()
    assert await database.unsold_sales() == (61, frozenset(range(1, 62)))


async def test_whoever_stops_the_scheduler_while_it_sleeps_stops_it_at_once(mock_clock: MockClock) -> None:
    site = Site(period_seconds=60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.scheduler.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert site.asked == [0.0]
