"""The inventory actor's loop: nothing is said before it is stored, and an error is the end of the term."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.inventory import InventoryActor, load_inventory
from flash.actors.mailbox import Mailbox
from flash.domain import (
    Approved,
    CheckoutId,
    Command,
    Confirmed,
    Epoch,
    ItemId,
    Outcome,
    Purchase,
    Redeemed,
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
from flash.errors import OutcomeUnknown, StorageFull, TermEnded
from flash.inventory import Inventory
from tests.codes import a_code, digest

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TTL_SECONDS = 3600.0
LINGER_SECONDS = 5.0
TERM = Term(SaleId(1), Epoch(3), b"t" * 16)


@dataclass
class Ask:
    command: Command
    expires_at: float = 1e9


class Store:
    """Every checkout n is for item n by user n, if it is not `gone`. Commits when allowed to.

    The log is shared with the replies: it has the items of each batch that was confirmed.
    """

    def __init__(self, log: list[object]) -> None:
        self.log = log
        self.error: Exception | None = None
        self.has_room = True
        self.gone: set[int] = set()
        self.is_paused = False
        self.now = NOON
        self.stored: dict[CheckoutId, Purchase] = {}
        self.may_commit = trio.Event()
        self.may_commit.set()

    async def confirm(
        self, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        await self.may_commit.wait()
        if self.error is not None:
            raise self.error
        assert term == TERM
        assert sold_before == len(self.stored)
        if approved and not self.has_room:
            self.log.append("no room")
            raise StorageFull("no room")
        if missing := [a for a in approved if a.code.checkout_id in self.gone]:
            return Confirmed(None, [], missing, [])
        if self.is_paused and approved:
            self.log.append("paused")
            return Confirmed(None, [], [], [], is_paused=True)
        self.log.append([a.code.item_id for a in approved])
        sold = [self._sell(a) for a in approved]
        receipts = [self.stored[id] for id in redeemed if self.stored[id] not in sold]
        return Confirmed(self.now, sold, [], receipts, self.is_paused)

    def _sell(self, approved: Approved) -> Purchase:
        code, user = approved.code, UserId(f"u{approved.code.checkout_id}")
        purchase = Purchase(code.checkout_id, approved.request_id, code.item_id, user, approved.slot, self.now)
        self.stored[code.checkout_id] = purchase
        return purchase


class Replies:
    """`before_told`: what happens between the answers and those that may pass."""

    def __init__(self, log: list[object]) -> None:
        self.log = log
        self.before_told: Callable[[], None] | None = None

    async def send(self, answers: Iterable[tuple[Ask, Outcome | None]]) -> Callable[[], Awaitable[None]] | None:
        await trio.lowlevel.checkpoint()
        self.log.extend(outcome for _, outcome in answers)
        if self.before_told is None:
            return None
        self.before_told()

        async def tell() -> None:
            self.log.append("told what may pass")

        return tell


class Stage:
    def __init__(self, stock: int = 9) -> None:
        self.log: list[object] = []
        self.store = Store(self.log)
        self.replies = Replies(self.log)
        self.mailbox: Mailbox[Ask] = Mailbox(100)
        self.inventory = Inventory(Sale(SaleId(1), NOON, ItemId(1), stock, 10, 0, is_open=True), TTL_SECONDS)
        self.actor = InventoryActor(
            TERM,
            self.inventory,
            self.store,
            self.replies,
            now=NOON,
            digest_user=digest,
            batch_max=10,
            linger_seconds=LINGER_SECONDS,
        )

    def ask(self, number: int, request: str = "auto:1", expires_at: float = 1e9) -> None:
        item = min(number, self.inventory.sale.stock)
        code = a_code(number, item=item, user=f"u{number}", issued_at=int(NOON.timestamp()))
        command = Command(code, RequestId(f"{request}:{number}"))
        self.mailbox.put_nowait(Ask(command, expires_at))


def kinds(log: Iterable[object]) -> list[object]:
    return [entry if isinstance(entry, list | str) or entry is None else type(entry) for entry in log]


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


async def test_a_pause_is_learned_once_and_its_end_with_the_next_command() -> None:
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        stage.ask(1)
        await wait_all_tasks_blocked()
        stage.store.is_paused = True
        for number in (2, 3):
            stage.ask(number)
            stage.ask(1)
            await wait_all_tasks_blocked()
        paused, receipt = Refused(Refusal.PAUSED), Repeated(stage.store.stored[CheckoutId(1)])
        assert stage.log[2:] == ["paused", [], paused, receipt, [], paused, receipt], "nothing is tried twice"
        assert stage.inventory.sold == 1
        stage.store.is_paused = False
        stage.ask(2)
        stage.ask(3)
        await wait_all_tasks_blocked()
        assert kinds(stage.log[9:]) == [[], [2, 3], Sold, Sold]
        nursery.cancel_scope.cancel()


async def test_what_may_pass_is_told_after_another_look_at_the_term() -> None:
    stage = Stage()
    stage.store.is_paused = True
    stage.replies.before_told = lambda: stage.log.append("deleted")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        stage.ask(1)
        await wait_all_tasks_blocked()
        assert stage.log == ["paused", [], Refused(Refusal.PAUSED), "deleted", [], "told what may pass"]
        nursery.cancel_scope.cancel()


async def test_what_may_pass_is_not_told_once_a_successor_may_have_sold_it() -> None:
    stage = Stage()
    stage.store.is_paused = True

    def depose() -> None:
        stage.store.error = TermEnded("another one leads")

    stage.replies.before_told = depose
    stage.ask(1)
    with pytest.raises(TermEnded):
        await stage.actor.run(stage.mailbox)
    assert "told what may pass" not in stage.log


async def test_a_pause_that_is_met_by_a_batch_with_a_lost_checkout_leaves_no_trace_in_memory() -> None:
    stage = Stage()
    stage.store.is_paused = True
    stage.store.gone = {2}
    for number in (1, 2):
        stage.ask(number)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        await wait_all_tasks_blocked()
        assert stage.log[-2:] == [Refused(Refusal.PAUSED), Refused(Refusal.INVALID_CODE)]
        stage.store.is_paused = False
        stage.ask(1)
        await wait_all_tasks_blocked()
        assert kinds(stage.log[-2:]) == [[1], Sold]
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
        assert kinds(stage.log) == [[1], Sold, [], Repeated]
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


async def test_a_command_that_would_be_answered_too_late_is_dropped_undecided_but_not_for_ever(
    mock_clock: MockClock,
) -> None:
    stage = Stage()
    stage.store.may_commit = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        stage.ask(1)
        await wait_all_tasks_blocked()
        mock_clock.jump(3)  # a slow batch
        stage.store.may_commit.set()
        await wait_all_tasks_blocked()
        stage.ask(2, expires_at=trio.current_time() + 2)
        stage.ask(3, expires_at=trio.current_time() + 4)
        await wait_all_tasks_blocked()
        assert kinds(stage.log) == [[1], Sold, [3], Sold, None]
        for number in (4, 5, 6, 7):
            stage.ask(number, expires_at=trio.current_time() + 1.5)
            await wait_all_tasks_blocked()
        assert kinds(stage.log[5:]) == [None, None, None, [7], Sold]
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


async def test_a_refusal_waits_for_the_databases_word_too() -> None:
    stage = Stage(stock=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        stage.ask(1)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    stage.ask(2)
    stage.store.error = TermEnded("over")
    with pytest.raises(TermEnded):
        await stage.actor.run(stage.mailbox)
    assert kinds(stage.log) == [[1], Sold]


async def test_a_code_whose_checkout_is_gone_is_invalid_and_costs_its_batch_nothing() -> None:
    stage = Stage()
    stage.store.gone = {2}
    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            stage.ask(number)
        nursery.start_soon(stage.actor.run, stage.mailbox)
        await wait_all_tasks_blocked()
        assert kinds(stage.log) == [[1, 3], Sold, Refused, Sold]
        assert stage.log[2] == Refused(Refusal.INVALID_CODE)
        assert stage.inventory.sold == 2
        nursery.cancel_scope.cancel()


async def test_codes_expire_by_the_databases_clock_as_time_goes_by(mock_clock: MockClock) -> None:
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        mock_clock.jump(TTL_SECONDS)
        stage.store.now = NOON + timedelta(seconds=TTL_SECONDS)
        stage.ask(1)
        await wait_all_tasks_blocked()
        mock_clock.jump(2)
        stage.store.now += timedelta(seconds=2)
        stage.ask(2)
        await wait_all_tasks_blocked()
        assert stage.log[3] == Refused(Refusal.INVALID_CODE)
        stage.store.now = NOON  # the database's clock was set back
        stage.ask(3)
        await wait_all_tasks_blocked()
        assert kinds(stage.log[-3:]) == [[], [3], Sold], "the first batch after that is not told a no that is not true"
        stage.ask(2)
        await wait_all_tasks_blocked()
        assert kinds(stage.log[-2:]) == [[2], Sold]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("counted", [3, 2, 4])
async def test_a_term_begins_only_with_as_many_purchases_as_its_sale_counts(counted: int) -> None:
    class Stored:
        async def read_purchases(self, term: Term) -> AsyncIterator[list[tuple[CheckoutId, RequestId, ItemId, UserId]]]:
            for page in ((1, 2), (3,)):
                yield [(CheckoutId(n), RequestId(f"key:{n}"), ItemId(n), UserId("ann")) for n in page]

    sale = Sale(SaleId(1), NOON, ItemId(1), 9, 10, counted, is_open=True)
    if counted == 3:
        inventory = await load_inventory(Stored(), TERM, sale, TTL_SECONDS, digest)
        assert inventory.sold == 3
        assert isinstance(inventory.decide(Command(a_code(2, user="ann"), RequestId("x")), 0.0), Redeemed)
    else:
        with pytest.raises(TermEnded, match=f"counts {counted} sold but has 3"):
            await load_inventory(Stored(), TERM, sale, TTL_SECONDS, digest)


async def test_what_finds_no_room_is_not_sold_everything_else_is_answered_and_the_term_goes_on() -> None:
    stage = Stage()
    stage.ask(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.actor.run, stage.mailbox)
        await wait_all_tasks_blocked()
        stage.store.has_room = False
        stage.log.clear()
        for number in (1, 2, 3):  # the first has bought already
            stage.ask(number)
        stage.ask(12)  # wants the last item
        stage.ask(13)  # so does this one: nobody has got it
        await wait_all_tasks_blocked()
        no_room = Refused(Refusal.NO_ROOM)
        assert stage.log[:2] == ["no room", []], "tried once, then confirmed by a read"
        assert isinstance(stage.log[2], Repeated)
        assert stage.log[3:] == [no_room] * 4
        stage.store.has_room = True
        stage.log.clear()
        for number in (2, 13):
            stage.ask(number)
        await wait_all_tasks_blocked()
        assert kinds(stage.log) == [[2, 9], Sold, Sold], "the next batch finds out that there is room again"
        nursery.cancel_scope.cancel()
    assert stage.inventory.sold == len(stage.store.stored) == 3
