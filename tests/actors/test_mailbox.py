"""Mailboxes and the batcher on top of them: bounds, batches without timers, and an answer for every request."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.batcher import Batcher
from flash.actors.gate import Gate
from flash.actors.mailbox import Mailbox
from flash.errors import FlashError, OutcomeUnknown, Overloaded, Unavailable


async def test_a_full_mailbox_refuses_at_once_and_takes_again_when_there_is_room() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.put_nowait(1)
    mailbox.put_nowait(2)
    with pytest.raises(Overloaded):
        mailbox.put_nowait(3)
    assert await mailbox.take(1) == [1]
    mailbox.put_nowait(4)
    assert await mailbox.take(9) == [2, 4]


async def test_a_closed_mailbox_hands_back_what_nobody_took_and_takes_nothing_more() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    mailbox.put_nowait(1)
    assert mailbox.close() == [1]
    with pytest.raises(Unavailable):
        mailbox.put_nowait(2)


async def test_one_item_wakes_one_of_many_takers() -> None:
    mailbox: Mailbox[int] = Mailbox(9)
    taken: list[list[int]] = []

    async def take() -> None:
        taken.append(await mailbox.take(9))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(take)
        await wait_all_tasks_blocked()
        for item in (1, 2, 3):
            mailbox.put_nowait(item)
            await wait_all_tasks_blocked()
            assert taken[-1] == [item]


async def test_a_taker_that_is_cancelled_loses_nothing() -> None:
    mailbox: Mailbox[int] = Mailbox(9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.take, 1)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    mailbox.put_nowait(1)
    assert await mailbox.take(1) == [1]


class Store:
    """Performs a batch when told to, so that a test decides what arrives meanwhile."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_finish = trio.Semaphore(0)
        self.error: Exception | None = None

    async def double(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        await self.may_finish.acquire()
        if self.error is not None:
            raise self.error
        return [2 * number for number in numbers]


def a_batcher(store: Store, *, waiting_max: int = 100, batch_max: int = 10) -> Batcher[int, int]:
    return Batcher("test", store.double, waiting_max=waiting_max, batch_max=batch_max, workers=1)


async def test_what_arrives_while_a_batch_is_under_way_is_the_next_batch() -> None:
    store, answers = Store(), dict[int, int]()
    batcher = a_batcher(store, batch_max=3)

    async def ask(number: int) -> None:
        answers[number] = await batcher.ask(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        for number in range(6):
            nursery.start_soon(ask, number)
            await wait_all_tasks_blocked()
        for _ in range(3):
            store.may_finish.release()
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert store.batches == [[0], [1, 2, 3], [4, 5]]
    assert answers == {number: 2 * number for number in range(6)}


@pytest.mark.parametrize(("only_reads", "error"), [(False, OutcomeUnknown), (True, Unavailable)])
async def test_who_was_in_a_batch_when_its_process_stops_hears_what_may_be_assumed(
    only_reads: bool, error: type[FlashError]
) -> None:
    batcher = Batcher("test", Store().double, waiting_max=9, batch_max=9, workers=1, only_reads=only_reads)

    async def ask() -> None:
        with pytest.raises(error, match="stopping"):
            await batcher.ask(1)

    async with trio.open_nursery() as nursery, trio.open_nursery() as running:
        running.start_soon(batcher.run)
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        running.cancel_scope.cancel()


async def test_more_than_may_wait_is_refused_at_once() -> None:
    store = Store()
    batcher = a_batcher(store, waiting_max=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        nursery.start_soon(batcher.ask, 0)
        await wait_all_tasks_blocked()  # taken, so that it waits no more
        nursery.start_soon(batcher.ask, 1)
        nursery.start_soon(batcher.ask, 2)
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await batcher.ask(3)
        nursery.cancel_scope.cancel()


async def test_a_lost_batch_costs_its_own_requests_and_nobody_elses() -> None:
    store = Store()
    batcher = a_batcher(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        store.error = OutcomeUnknown("lost")
        store.may_finish.release()
        with pytest.raises(OutcomeUnknown, match="lost"):
            await batcher.ask(1)
        store.error = None
        store.may_finish.release()
        assert await batcher.ask(2) == 4
        nursery.cancel_scope.cancel()


async def test_whoever_waits_when_the_batcher_is_stopped_is_told() -> None:
    store, told = Store(), list[type[Exception]]()
    batcher = a_batcher(store, batch_max=1)

    async def ask(number: int) -> None:
        try:
            await batcher.ask(number)
        except (OutcomeUnknown, Unavailable) as error:
            told.append(type(error))

    async with trio.open_nursery() as askers, trio.open_nursery() as workers:
        workers.start_soon(batcher.run)
        await wait_all_tasks_blocked()
        for number in range(3):
            askers.start_soon(ask, number)
            await wait_all_tasks_blocked()
        workers.cancel_scope.cancel()
    assert sorted(told, key=str) == [OutcomeUnknown, Unavailable, Unavailable]


async def test_a_bug_in_a_batch_ends_the_batcher_and_tells_its_askers() -> None:
    store = Store()
    store.error = RuntimeError("a bug")
    batcher = a_batcher(store)

    async def ask() -> None:
        with pytest.raises(OutcomeUnknown):
            await batcher.ask(1)

    async with trio.open_nursery() as askers:
        with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="a bug"), flatten_subgroups=True):
            async with trio.open_nursery() as workers:
                workers.start_soon(batcher.run)
                askers.start_soon(ask)
                store.may_finish.release()


async def test_a_gate_lets_so_many_in_so_many_wait_and_refuses_the_rest() -> None:
    gate, leave = Gate(1, 1, 60), trio.Event()
    inside: list[int] = []

    async def visit(number: int) -> None:
        async with gate:
            inside.append(number)
            await leave.wait()

    async with trio.open_nursery() as nursery:
        for number in (1, 2):
            nursery.start_soon(visit, number)
            await wait_all_tasks_blocked()
        assert inside == [1]
        with pytest.raises(Overloaded):
            await visit(3)
        leave.set()
    assert inside == [1, 2]


async def test_a_gate_keeps_nobody_waiting_for_longer_than_its_bound(autojump_clock: MockClock) -> None:
    gate = Gate(1, 9, 2.0)
    async with gate:
        with pytest.raises(Overloaded):
            async with gate:
                pass
        assert trio.current_time() == pytest.approx(2.0)
    async with gate:
        pass  # whoever gave up has left nothing behind


@pytest.mark.parametrize("error", [Unavailable("away"), OutcomeUnknown("away")])
async def test_whoever_waits_behind_one_that_found_the_store_away_is_refused_at_once(
    autojump_clock: MockClock, error: FlashError
) -> None:
    gate, refused = Gate(4, 100, 60), 0

    async def ask() -> None:
        nonlocal refused
        try:
            async with gate:
                await trio.sleep(0.5)
                raise error
        except FlashError:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(104):
            nursery.start_soon(ask)
    assert refused == 104
    assert trio.current_time() == pytest.approx(0.5), "one time-out for all"
    for _ in range(4):
        assert gate.enter_nowait()
    assert not gate.enter_nowait()


async def test_whoever_is_cancelled_in_the_moment_of_being_let_in_leaves_the_place_to_the_next() -> None:
    gate, inside = Gate(1, 9, 60), trio.Event()

    async def visit() -> None:
        async with gate:
            inside.set()

    await gate.__aenter__()
    async with trio.open_nursery() as nursery, trio.open_nursery() as doomed:
        doomed.start_soon(visit)
        await wait_all_tasks_blocked()
        nursery.start_soon(visit)
        await wait_all_tasks_blocked()
        gate.leave()
        doomed.cancel_scope.cancel()
    assert inside.is_set()
    assert gate.enter_nowait()
