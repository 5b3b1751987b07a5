"""What is remembered of the stores, and for how long: on a clock that is driven."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.health_monitor import FRESH_SECONDS, LOOK_SECONDS, HealthMonitor
from flash.errors import FlashError, OutcomeUnknown, Unavailable


@dataclass
class Stores:
    """Both stores. `silent`: neither answers before it is set."""

    has_sale: bool = True
    database_error: FlashError | None = None
    redis_error: FlashError | None = None
    database_answers: trio.Event = field(default_factory=trio.Event)
    redis_answers: trio.Event = field(default_factory=trio.Event)
    looks: int = 0
    look_seconds: float = 0.0
    timeouts: int = 0

    def __post_init__(self) -> None:
        self.database_answers.set()
        self.redis_answers.set()

    async def look(self) -> bool:
        self.looks += 1
        await trio.sleep(self.look_seconds)
        if self.timeouts:
            self.timeouts -= 1
            await trio.sleep(2.0)
            raise Unavailable("time-out")
        await self.database_answers.wait()
        if self.database_error is not None:
            raise self.database_error
        return self.has_sale

    async def write(self) -> None:
        await self.redis_answers.wait()
        if self.redis_error is not None:
            raise self.redis_error


@asynccontextmanager
async def watched(stores: Stores) -> AsyncIterator[HealthMonitor]:
    monitor = HealthMonitor(stores.look, stores.write)
    await monitor.look()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(monitor.run)
        yield monitor
        nursery.cancel_scope.cancel()


def seen(monitor: HealthMonitor) -> tuple[bool, bool, bool]:
    return monitor.is_database_up, monitor.has_current_sale, monitor.is_redis_up


def test_nothing_is_up_before_the_first_look() -> None:
    async def ask() -> tuple[bool, bool, bool]:
        stores = Stores()
        return seen(HealthMonitor(stores.look, stores.write))

    assert trio.run(ask) == (False, False, False)


async def test_a_change_is_seen_at_the_next_look(autojump_clock: MockClock) -> None:
    stores = Stores()
    async with watched(stores) as monitor:
        assert seen(monitor) == (True, True, True)
        stores.has_sale, stores.redis_error = False, OutcomeUnknown("READONLY")
        await trio.sleep(1.5 * LOOK_SECONDS)
        assert seen(monitor) == (True, False, False)
        stores.database_error, stores.redis_error = Unavailable("gone"), None
        await trio.sleep(LOOK_SECONDS)
        assert seen(monitor) == (False, False, True)
        stores.has_sale, stores.database_error = True, None
        await trio.sleep(LOOK_SECONDS)
        assert seen(monitor) == (True, True, True)


@pytest.mark.parametrize("silent", ["database", "redis"])
async def test_a_silent_store_is_away_after_some_seconds_and_does_not_delay_the_other(
    autojump_clock: MockClock, silent: str
) -> None:
    stores = Stores()
    async with watched(stores) as monitor:
        setattr(stores, f"{silent}_answers", trio.Event())
        await trio.sleep(FRESH_SECONDS + LOOK_SECONDS)
        assert seen(monitor) == ((False, False, True) if silent == "database" else (True, True, False))
        getattr(stores, f"{silent}_answers").set()
        await trio.sleep(2 * LOOK_SECONDS)
        assert seen(monitor) == (True, True, True)


@pytest.mark.parametrize("seconds", [1.0, 1.5, 1.9])
async def test_looks_that_are_slow_but_succeed_never_make_a_store_seem_away(
    autojump_clock: MockClock, seconds: float
) -> None:
    stores = Stores()
    async with watched(stores) as monitor:
        stores.look_seconds = seconds
        for _ in range(200):
            await trio.sleep(0.1)
            assert seen(monitor) == (True, True, True)


@pytest.mark.parametrize(("timeouts", "is_away"), [(1, False), (3, True)])
async def test_one_look_that_times_out_says_nothing_yet_and_several_do(
    autojump_clock: MockClock, timeouts: int, is_away: bool
) -> None:
    stores = Stores()
    async with watched(stores) as monitor:
        stores.timeouts = timeouts
        seen_up = []
        for _ in range(150):
            await trio.sleep(0.1)
            seen_up.append(monitor.is_database_up)
        assert (not all(seen_up)) == is_away
        assert seen_up[-1]


async def test_what_a_stuck_monitor_saw_counts_no_more(mock_clock: MockClock) -> None:
    stores = Stores()
    monitor = HealthMonitor(stores.look, stores.write)
    await monitor.look()
    mock_clock.jump(FRESH_SECONDS - 0.01)
    assert seen(monitor) == (True, True, True)
    mock_clock.jump(0.02)
    assert seen(monitor) == (False, False, False)


async def test_the_store_is_asked_once_a_second_however_often_somebody_asks_us(mock_clock: MockClock) -> None:
    stores = Stores()
    async with watched(stores) as monitor:
        for _ in range(10):
            await wait_all_tasks_blocked()
            mock_clock.jump(LOOK_SECONDS)
            assert all(monitor.is_database_up for _ in range(1_000))
        await wait_all_tasks_blocked()
    assert stores.looks == 11
