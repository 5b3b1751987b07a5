"""Terms begin a few at a time, and the newest sale is next."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from flash.actors.term_turns import TermTurns
from flash.domain import SaleId


class Beginnings:
    def __init__(self, at_once: int) -> None:
        self.turns = TermTurns(at_once)
        self.begun: list[int] = []
        self.ends: dict[int, trio.Event] = {}
        self.scopes: dict[int, trio.CancelScope] = {}

    async def begin(self, sale: int) -> None:
        self.ends[sale] = trio.Event()
        with trio.CancelScope() as self.scopes[sale]:
            async with self.turns.turn(SaleId(sale)):
                self.begun.append(sale)
                await self.ends[sale].wait()


async def test_a_few_begin_at_a_time_and_of_those_that_wait_the_newest_is_next() -> None:
    site = Beginnings(2)
    async with trio.open_nursery() as nursery:
        for sale in (5, 3, 1, 9, 4):
            nursery.start_soon(site.begin, sale)
            await wait_all_tasks_blocked()
        assert site.begun == [5, 3]
        for sale, following in ((3, [5, 3, 9]), (9, [5, 3, 9, 4]), (5, [5, 3, 9, 4, 1])):
            site.ends[sale].set()
            await wait_all_tasks_blocked()
            assert site.begun == following
        nursery.cancel_scope.cancel()


async def test_whoever_gives_up_leaves_its_turn_to_the_others() -> None:
    site = Beginnings(1)
    async with trio.open_nursery() as nursery:
        for sale in (1, 2, 3, 4):
            nursery.start_soon(site.begin, sale)
            await wait_all_tasks_blocked()
        site.scopes[3].cancel()
        await wait_all_tasks_blocked()
        site.ends[1].set()
        site.scopes[4].cancel()  # in the moment in which it would be next
        await wait_all_tasks_blocked()
        assert site.begun == [1, 2]
        site.scopes[2].cancel()
        await wait_all_tasks_blocked()
        nursery.start_soon(site.begin, 7)
        await wait_all_tasks_blocked()
        assert site.begun == [1, 2, 7]
        nursery.cancel_scope.cancel()
