"""The inventory actor's loop: nothing is said before it is stored, and an error is the end of the term."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.inventory import InventoryActor
from flash.actors.mailbox import Mailbox
from flash.domain import (
    Checkout,
    CheckoutId,
    Code,
    Command,
    Epoch,
    ItemId,
    Outcome,
    Purchase,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    Sale,
    SaleId,
    Sold,
    Term,
    UserId,
)
from flash.errors import OutcomeUnknown, TermEnded
from flash.inventory import Inventory

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = b"s" * 16
LINGER_SECONDS = 5.0
TERM = Term(SaleId(1), Epoch(3))


@dataclass
class Ask:
    command: Command
    expires_at: float = 1e9


class Store:
    """Every checkout n is for item n by user n; commits when allowed to. The log is shared with the replies."""

    def __init__(self, log: list[object]) -> None:
        self.log = log
        self.error: Exception | None = None
        self.may_commit = trio.Event()
        self.may_commit.set()

    async def find_checkouts(
        self, sale_id: SaleId, ids: list[CheckoutId]
    ) -> tuple[datetime, dict[CheckoutId, Checkout]]:
        await trio.lowlevel.checkpoint()
        return NOON, {id: Checkout(SECRET, ItemId(id), UserId(f"u{id}"), False) for id in ids}

    async def sell(self, term: Term, purchases: list[Purchase]) -> None:
        await self.may_commit.wait()
        if self.error is not None:
            raise self.error
        assert term == TERM
        self.log.append([p.item_id for p in purchases])


class Replies:
    def __init__(self, log: list[object]) -> None:
        self.log = log

    async def send(self, answers: Iterable[tuple[Ask, Outcome | None]]) -> None:
        await trio.lowlevel.checkpoint()
        self.log.extend(outcome for _, outcome in answers)


class Stage:
    def __init__(self, stock: int = 9) -> None:
        self.log: list[object] = []
        self.store = Store(self.log)
        self.mailbox: Mailbox[Ask] = Mailbox(100)
        inventory = Inventory(Sale(SaleId(1), NOON, ItemId(1), stock, 10, 0, is_open=True))
        self.actor = InventoryActor(
            TERM, inventory, self.store, Replies(self.log), batch_max=10, linger_seconds=LINGER_SECONDS
        )

    def ask(self, number: int, request: str = "auto:1", expires_at: float = 1e9) -> None:
        command = Command(Code(SaleId(1), CheckoutId(number), SECRET), RequestId(f"{request}:{number}"))
        self.mailbox.put_nowait(Ask(command, expires_at))


def kinds(log: Iterable[object]) -> list[object]:
    return [entry if isinstance(entry, list) or entry is None else type(entry) for entry in log]


async def test_a_batch_is_committed_once_and_only_then_answered() -> None:
    stage = Stage()
    stage.store.may_commit = trio.Event()
    async with trio.open_nursery() as nursery:
        for number in (1, 2):
            stage.ask(number)
        nursery.start_soon(stage.actor.run, stage.mailbox)
        await wait_all_tasks_blocked()
        assert stage.log == []
        stage.store.may_commit.set()
        await wait_all_tasks_blocked()
        assert kinds(stage.log) == [[1, 2], Sold, Sold]
        nursery.cancel_scope.cancel()


async def test_a_refusal_that_rests_on_a_sale_of_the_same_batch_waits_for_its_commit() -> None:
    stage = Stage()
    stage.store.may_commit = trio.Event()
    async with trio.open_nursery() as nursery:
        stage.ask(1, "auto:a")
        stage.ask(1, "auto:b")
        nursery.start_soon(stage.actor.run, stage.mailbox)
        await wait_all_tasks_blocked()
        assert stage.log == []
        stage.store.may_commit.set()
        await wait_all_tasks_blocked()
        assert kinds(stage.log) == [[1], Sold, Refused]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("error", [OutcomeUnknown("lost"), TermEnded("over")])
async def test_a_commit_that_fails_ends_the_actor_and_answers_nobody(error: Exception) -> None:
    stage = Stage()
    stage.store.error = error
    stage.ask(1)
    with pytest.raises(type(error)):
        await stage.actor.run(stage.mailbox)
    assert stage.log == []


async def test_a_redelivered_command_is_answered_as_sold_and_not_sold_again() -> None:
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        for _ in range(2):
            stage.ask(1)
            await wait_all_tasks_blocked()
        assert kinds(stage.log) == [[1], Sold, Repeated]
        nursery.cancel_scope.cancel()


async def test_a_command_that_nobody_waits_for_is_dropped_undecided(mock_clock: MockClock) -> None:
    stage = Stage()
    stage.ask(1, expires_at=trio.current_time() - 1)
    stage.ask(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        await wait_all_tasks_blocked()
        assert kinds(stage.log) == [[2], Sold, None]
        nursery.cancel_scope.cancel()


async def test_an_actor_that_is_stopped_finishes_the_batch_in_flight() -> None:
    stage = Stage()
    stage.store.may_commit = trio.Event()
    stage.ask(1)
    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        stage.ask(2)
        outer.start_soon(_set_soon, stage.store.may_commit)
    assert kinds(stage.log) == [[1], Sold]


async def _set_soon(event: trio.Event) -> None:
    await wait_all_tasks_blocked()
    event.set()


async def test_the_leader_of_a_sold_out_sale_answers_what_was_under_way_and_then_leaves(mock_clock: MockClock) -> None:
    stage = Stage(stock=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        stage.ask(1)
        await wait_all_tasks_blocked()
        stage.ask(2)
        await wait_all_tasks_blocked()
        assert stage.log[-1] == Refused(Refusal.SOLD_OUT)
        mock_clock.jump(LINGER_SECONDS + 0.1)
