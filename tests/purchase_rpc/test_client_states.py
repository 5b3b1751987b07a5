"""The purchase client's states one by one, on a Redis in memory and a clock that the test drives."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.domain import Outcome, Refusal, Refused, Repeated, RequestId, SaleId, Sold
from flash.errors import FlashError, OutcomeUnknown, Overloaded, Unavailable
from flash.purchase_rpc import messages
from flash.purchase_rpc.client import PurchaseClient
from flash.purchase_rpc.payloads import CommandBatch, encode_outcomes
from flash.stores.redis_link import flat
from flash.testing.twins.link import RedisLinkTwin
from flash.testing.twins.redis import RedisTwin
from tests.deployments import DEPLOYMENT, OTHER_DEPLOYMENT
from tests.purchase_rpc.leader import END_MS, Leader, a_command, inbox_of

TIMEOUT_SECONDS = 5.0
SETTLE_SECONDS = 2.0
SWEEP_SECONDS = 1.1
"""A little longer than the client takes to look after an entry."""
LOST, AWAY = OutcomeUnknown("lost"), Unavailable("not there")


class World:
    """One client, one leader by hand, and what each asker was told."""

    def __init__(self, clock: MockClock, nursery: trio.Nursery, *, waiting_max: int, link_seconds: float) -> None:
        self.clock = clock
        self.redis = RedisTwin()
        self.leader = Leader(self.redis, (1, 2))
        self.sender = RedisLinkTwin(self.redis, timeout_seconds=link_seconds)
        self.listener = RedisLinkTwin(self.redis, timeout_seconds=link_seconds)
        self.client = PurchaseClient(
            DEPLOYMENT,
            self.sender,
            self.listener,
            waiting_max=waiting_max,
            batch_max=100,
            timeout_seconds=TIMEOUT_SECONDS,
            settle_seconds=SETTLE_SECONDS,
        )
        self.results: dict[int, Outcome | FlashError] = {}
        self.askers: dict[int, trio.CancelScope] = {}
        self.scope = trio.CancelScope()
        self._nursery = nursery
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self.scope:
            await self.client.run()

    def ask_nowait(self, *numbers: int, sale: int = 1) -> None:
        for number in numbers:
            self.askers[number] = trio.CancelScope()
            self._nursery.start_soon(self._ask, number, sale)

    async def ask(self, *numbers: int, sale: int = 1) -> None:
        """Ask, and let the client send what it can."""
        self.ask_nowait(*numbers, sale=sale)
        await wait_all_tasks_blocked()

    async def _ask(self, number: int, sale: int) -> None:
        try:
            with self.askers[number]:
                self.results[number] = await self.client.ask(a_command(number, sale))
        except FlashError as error:
            self.results[number] = error

    async def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.clock.jump(0.05)
            await wait_all_tasks_blocked()

    async def answer_all(self) -> None:
        self.leader.answer_all()
        await wait_all_tasks_blocked()

    def freeze(self) -> Callable[[], None]:
        """Whatever the client sends is stuck until the function that is returned is called."""
        gate = trio.Event()

        async def wait(_name: str, _commands: tuple[object, ...]) -> None:
            await gate.wait()

        self.sender.faults.on_before = wait
        return gate.set

    def is_idle(self) -> bool:
        """Nothing is kept of any purchase."""
        return not (self.client._table or self.client._entries or len(self.client._outbox))


@asynccontextmanager
async def a_world(clock: MockClock, *, waiting_max: int = 100, link_seconds: float = 10.0) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        world = World(clock, nursery, waiting_max=waiting_max, link_seconds=link_seconds)
        await wait_all_tasks_blocked()
        yield world
        nursery.cancel_scope.cancel()


def ids(*numbers: int) -> list[RequestId]:
    return [a_command(number).request_id for number in numbers]


async def test_each_asker_gets_the_outcome_of_its_own_command(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1, 2, 4)
        await world.answer_all()
        assert world.results[1] == Refused(Refusal.ITEM_SOLD)
        for number in (2, 4):
            sold = world.results[number]
            assert isinstance(sold, Sold)
            assert sold.purchase.request_id == a_command(number).request_id
        assert world.is_idle()


async def test_what_is_asked_while_a_batch_is_under_way_becomes_one_entry_for_each_sale(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        thaw = world.freeze()
        await world.ask(1)
        world.ask_nowait(2, 3)
        await world.ask(4, sale=2)
        await world.ask(5)
        thaw()
        await wait_all_tasks_blocked()
        requests = [(sale, [c.request_id for _, c in batch.commands]) for sale, _, batch in world.leader.entries()]
        assert [(sale, sorted(batch)) for sale, batch in requests] == [(1, ids(1)), (1, ids(2, 3, 5)), (2, ids(4))]


async def test_more_than_may_wait_are_refused_at_once_until_somebody_leaves(mock_clock: MockClock) -> None:
    async with a_world(mock_clock, waiting_max=2) as world:
        await world.ask(1, 2)
        await world.ask(3)
        assert isinstance(world.results[3], Overloaded)
        world.askers[1].cancel()
        await wait_all_tasks_blocked()
        await world.ask(4)
        assert 4 not in world.results
        assert sorted(world.leader.request_ids()) == ids(1, 2, 4)


async def test_whoever_leaves_before_the_flush_has_nothing_sent(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        thaw = world.freeze()
        await world.ask(1)
        await world.ask(2)
        world.askers[2].cancel()
        await wait_all_tasks_blocked()
        thaw()
        await wait_all_tasks_blocked()
        assert world.leader.request_ids() == ids(1)


async def test_a_command_whose_entry_has_vanished_is_added_again_under_its_request_id(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1, 2)
        await world.ask(3, sale=2)
        ((_, _, before), *_) = world.leader.entries()
        world.redis.lose_everything()
        await world.advance(SWEEP_SECONDS)
        assert sorted(world.leader.request_ids()) == ids(1, 2, 3)
        ((_, _, after), *_) = world.leader.entries()
        assert sorted(after.commands, key=str) == sorted(before.commands, key=str)
        assert before.ttl_ms - 1200 <= after.ttl_ms < before.ttl_ms, "nobody waits any longer because of that"
        await world.advance(SWEEP_SECONDS)
        assert len(world.leader.request_ids()) == 3, "what is there is not added once more"
        await world.answer_all()
        assert set(world.results) == {1, 2, 3}
        assert world.is_idle()


async def test_only_the_commands_whose_answers_were_lost_are_added_again(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(2, 4)
        ((_, _, batch),) = world.leader.entries()
        answered, lost = (int(command.code.checkout_id) for _, command in batch.commands)
        world.leader.answer(world.leader.entries()[0], 1)
        world.leader.answer(world.leader.entries()[0], 1, is_lost=True)
        await wait_all_tasks_blocked()
        assert set(world.results) == {answered}
        await world.advance(SWEEP_SECONDS)
        assert world.leader.request_ids() == ids(lost)
        await world.answer_all()
        assert isinstance(world.results[lost], Repeated), "it was sold already, and is not sold again"


@pytest.mark.parametrize("refusal", [Refusal.PAUSED, Refusal.NO_ROOM])
async def test_a_refusal_that_may_pass_is_no_answer_to_a_command_that_was_added_again(
    mock_clock: MockClock, refusal: Refusal
) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(2, 4)
        ((_, entry_id, first),) = world.leader.entries()
        world.redis.perform(("XDEL", inbox_of(1), entry_id))  # it is answered, and the reply is still under way
        await world.advance(SWEEP_SECONDS)
        assert sorted(world.leader.request_ids()) == ids(2, 4), "the entry has vanished, so there is another one"
        passing, final = (number for number, _ in first.commands)
        outcomes = encode_outcomes([Refused(refusal), Refused(Refusal.ITEM_SOLD)])
        world.leader.reply(first.reply_to, outcomes, numbers=b"%d,%d" % (passing, final))
        await wait_all_tasks_blocked()
        unknown, refused = (world.results[int(command.code.checkout_id)] for _, command in first.commands)
        assert isinstance(unknown, OutcomeUnknown)
        assert refused == Refused(Refusal.ITEM_SOLD)
        assert unknown.retry_after_seconds is not None
        assert unknown.retry_after_seconds > TIMEOUT_SECONDS - SWEEP_SECONDS, "the second one may be decided until then"
        await world.answer_all()
        assert len(world.leader.told) == 2, "the leader decides the second one, and may sell"
        await world.advance(TIMEOUT_SECONDS)
        assert world.is_idle()


async def test_a_refusal_that_may_pass_is_no_answer_to_a_command_that_may_stand_in_an_inbox_twice(
    mock_clock: MockClock,
) -> None:
    async with a_world(mock_clock) as world:
        world.redis.perform(("SET", inbox_of(2), "not a stream"))
        thaw = world.freeze()
        await world.ask(9)
        world.ask_nowait(2)
        await world.ask(4, sale=2)
        thaw()
        await wait_all_tasks_blocked()
        twice = [entry for entry in world.leader.entries() if entry[2].commands[0][1] == a_command(2)]
        assert len(twice) == 2, "the first round trip has added it, and sale 2 needed a second one"
        ((number, _),) = twice[0][2].commands
        world.leader.reply(twice[0][2].reply_to, encode_outcomes([Refused(Refusal.PAUSED)]), numbers=b"%d" % number)
        await wait_all_tasks_blocked()
        assert isinstance(world.results[2], OutcomeUnknown)


async def test_an_entry_whose_id_now_belongs_to_another_is_added_again(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1)
        world.redis.lose_everything()
        theirs = CommandBatch(messages.reply_key(DEPLOYMENT, "other"), 5000, END_MS, [(1, a_command(9))])
        fields = messages.command_entry(DEPLOYMENT, SaleId(1), theirs)
        their_id = world.redis.perform(("XADD", inbox_of(1), "*", *flat(fields)))
        assert [entry.id for entry in world.client._entries] == [their_id], "Redis gives ids out again"
        await world.advance(SWEEP_SECONDS)
        assert world.leader.request_ids() == ids(9, 1)


async def test_what_is_given_up_before_the_answer_to_its_xadd_is_never_added_again(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        gate = trio.Event()

        async def wait(_name: str, _commands: tuple[object, ...]) -> None:
            await gate.wait()

        world.sender.faults.on_after = wait
        await world.ask(1)
        await world.ask(2)
        assert world.leader.request_ids() == ids(1), "it stands in the inbox, and the client does not know yet"
        world.askers[1].cancel()
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert world.leader.request_ids() == ids(1, 2)
        world.redis.lose_everything()
        await world.advance(SWEEP_SECONDS)
        assert world.leader.request_ids() == ids(2), "nobody waits for the other one"


@pytest.mark.parametrize("is_applied", [False, True])
async def test_adding_again_that_fails_is_tried_again(mock_clock: MockClock, is_applied: bool) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(2)
        world.redis.lose_everything()

        async def fail_adding(_name: str, commands: tuple[object, ...]) -> None:
            if any(isinstance(command, tuple) and command[0] == "XADD" for command in commands):
                raise LOST if is_applied else AWAY

        if is_applied:
            world.sender.faults.on_after = fail_adding
        else:
            world.sender.faults.on_before = fail_adding
        await world.advance(SWEEP_SECONDS)
        assert 2 not in world.results, "it may have been decided before: it is not for the asker to hear of this"
        world.sender.faults = RedisLinkTwin(world.redis).faults
        await world.advance(SWEEP_SECONDS)
        assert set(world.leader.request_ids()) == set(ids(2))
        await world.answer_all()
        assert isinstance(world.results[2], Sold)


async def test_whoever_is_not_answered_in_time_does_not_know_and_their_command_is_withdrawn(
    mock_clock: MockClock,
) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1)
        await world.advance(TIMEOUT_SECONDS - 0.2)
        assert world.results == {}
        assert world.leader.request_ids() == ids(1)
        await world.advance(0.4)
        late = world.results[1]
        assert isinstance(late, OutcomeUnknown)
        assert late.retry_after_seconds == SETTLE_SECONDS
        await world.advance(SWEEP_SECONDS)
        assert world.leader.request_ids() == []
        assert world.is_idle()


async def test_a_command_whose_asker_has_left_is_withdrawn_when_it_expires(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1)
        world.askers[1].cancel()
        await world.advance(TIMEOUT_SECONDS - 0.2)
        assert world.leader.request_ids() == ids(1), "until then its leader may still sell, for the receipt"
        await world.advance(SWEEP_SECONDS + 0.4)
        assert world.leader.request_ids() == []
        assert world.is_idle()


async def test_a_withdrawal_that_fails_is_tried_again(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1)
        await world.advance(TIMEOUT_SECONDS - 0.2)
        world.sender.faults.fail_before(AWAY, times=2)
        await world.advance(4 * SWEEP_SECONDS)
        assert world.leader.request_ids() == []
        assert world.is_idle()


async def test_an_answer_that_is_quicker_than_the_answer_to_its_xadd_counts(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        gate = trio.Event()

        async def wait(_name: str, _commands: tuple[object, ...]) -> None:
            await gate.wait()

        world.sender.faults.on_after = wait
        await world.ask(2)
        await world.answer_all()
        assert isinstance(world.results[2], Sold)
        gate.set()
        await wait_all_tasks_blocked()
        assert world.is_idle(), "an entry that is answered is not looked after"


@pytest.mark.parametrize("is_applied", [False, True])
async def test_a_batch_that_could_not_be_sent_says_whether_anything_was_started(
    mock_clock: MockClock, is_applied: bool
) -> None:
    async with a_world(mock_clock) as world:
        if is_applied:
            world.sender.faults.fail_after(LOST)
        else:
            world.sender.faults.fail_before(AWAY)
        await world.ask(1)
        assert type(world.results[1]) is (OutcomeUnknown if is_applied else Unavailable)
        assert world.is_idle()
        await world.ask(2)
        assert world.leader.request_ids()[-1:] == ids(2), "the next batch is another one's matter"


async def test_after_two_seconds_of_silence_from_redis_nobody_waits_any_longer(mock_clock: MockClock) -> None:
    async with a_world(mock_clock, link_seconds=1.0) as world:
        await world.ask(1)
        world.listener.faults.fail_before(AWAY, times=math.inf)
        await world.advance(2.5)
        assert world.results == {}, "the read that was under way has ended by itself within a second"
        await world.advance(1.0)
        silent = world.results[1]
        assert isinstance(silent, OutcomeUnknown)
        left = TIMEOUT_SECONDS + SETTLE_SECONDS - trio.current_time()
        assert silent.retry_after_seconds is not None
        assert left <= silent.retry_after_seconds < left + 1.5, "until then a leader may still sell"
        world.listener.faults.heal()
        await world.advance(0.3)
        await world.ask(2)
        await world.answer_all()
        assert isinstance(world.results[2], Sold)


async def test_at_a_stop_only_what_was_never_sent_is_called_not_started(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1)
        world.freeze()
        await world.ask(2)
        await world.ask(3)
        world.scope.cancel()
        await wait_all_tasks_blocked()
        await world.ask(4)
        told = [type(world.results[number]) for number in (1, 2, 3, 4)]
        assert told == [OutcomeUnknown, OutcomeUnknown, Unavailable, Unavailable]


async def test_an_inbox_of_another_type_costs_no_sale_anything(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        thaw = world.freeze()
        await world.ask(9)
        world.ask_nowait(2)
        await world.ask(4, sale=2)
        world.redis.perform(("SET", inbox_of(1), "not a stream"))
        thaw()
        await wait_all_tasks_blocked()
        assert set(world.leader.request_ids()) == set(ids(9, 2, 4))
        await world.answer_all()
        await world.advance(SWEEP_SECONDS)
        assert [type(world.results[number]) for number in (9, 2, 4)] == [Refused, Sold, Sold]
        await world.ask(6)
        world.redis.perform(("DEL", inbox_of(1)))
        world.redis.perform(("SET", inbox_of(1), "again"))
        await world.advance(SWEEP_SECONDS)
        assert world.leader.request_ids() == ids(6), "its entry has vanished, and stands in an inbox again"


async def test_replies_are_read_again_when_somebody_has_written_over_their_stream(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(2)
        ((_, _, batch),) = world.leader.entries()
        world.redis.perform(("SET", batch.reply_to, "not a stream"))
        await world.advance(1.5)
        await world.answer_all()
        assert isinstance(world.results[2], Sold)


@pytest.mark.parametrize("error", [LOST, AWAY], ids=["lost", "away"])
async def test_what_was_added_beside_an_inbox_of_another_type_is_not_called_not_started(
    mock_clock: MockClock, error: FlashError
) -> None:
    async with a_world(mock_clock) as world:

        async def fail(_name: str, commands: tuple[object, ...]) -> None:
            if any(isinstance(command, tuple) and command[0] == "EVAL" for command in commands):
                raise error

        world.redis.perform(("SET", inbox_of(1), "not a stream"))
        world.sender.faults.on_before = fail
        world.ask_nowait(2)
        await world.ask(4, sale=2)
        assert world.leader.redis.entries(inbox_of(2))
        assert [type(world.results[number]) for number in (2, 4)] == [OutcomeUnknown, OutcomeUnknown]


async def test_an_inbox_is_prolonged_twice_a_second_and_not_with_each_entry(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        sent: list[object] = []

        async def note(_name: str, commands: tuple[object, ...]) -> None:
            sent.extend(command[0] for command in commands if isinstance(command, tuple))

        world.sender.faults.on_before = note
        for number in range(1, 21):
            await world.ask(number)
            await world.advance(0.1)
        assert sent.count("XADD") == 20
        assert 3 <= sent.count("PEXPIRE") <= 5
        assert 119_000 <= world.redis.perform(("PTTL", inbox_of(1))) <= 120_000
        world.redis.lose_everything()
        await world.ask(21)
        await world.advance(0.6)
        await world.ask(22)
        assert world.redis.perform(("PTTL", inbox_of(1))) == 120_000, "a Redis without its data is told again"


async def test_only_entries_that_have_waited_for_a_while_are_looked_after(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        looked: list[object] = []

        async def note(_name: str, commands: tuple[object, ...]) -> None:
            looked.extend(command for command in commands if isinstance(command, tuple) and command[0] == "XRANGE")

        world.sender.faults.on_before = note
        for number in range(1, 21):
            await world.ask(number)
            await world.advance(0.1)
            await world.answer_all()
        assert looked == [], "what is answered in time costs nothing"
        await world.ask(21)
        await world.advance(SWEEP_SECONDS)
        assert looked


# When the receipt is final


def retry_after(world: World, number: int) -> float:
    error = world.results[number]
    assert isinstance(error, OutcomeUnknown)
    assert error.retry_after_seconds is not None
    return error.retry_after_seconds


async def test_who_is_told_that_nobody_knows_is_told_when_the_receipt_will(mock_clock: MockClock) -> None:
    async with a_world(mock_clock, link_seconds=1.0) as world:
        await world.ask(1)
        await world.advance(TIMEOUT_SECONDS + 0.2)
        assert retry_after(world, 1) == SETTLE_SECONDS, "its command has expired"
        await world.ask(2)
        await world.advance(1.0)
        world.sender.faults.fail_after(LOST)
        await world.ask(3)
        assert retry_after(world, 3) == pytest.approx(TIMEOUT_SECONDS + SETTLE_SECONDS)
        world.listener.faults.fail_before(AWAY, times=math.inf)
        await world.advance(3.2)
        assert SETTLE_SECONDS + 0.8 < retry_after(world, 2) < SETTLE_SECONDS + 2.2, "deaf, and its command lives on"
        world.listener.faults.heal()
        await world.advance(0.5)
        await world.ask(4)
        await world.advance(1.0)
        world.scope.cancel()
        await wait_all_tasks_blocked()
        assert retry_after(world, 4) == pytest.approx(TIMEOUT_SECONDS - 1.0 + SETTLE_SECONDS), "a stop"


async def test_a_receipt_is_final_only_when_the_whole_entry_has_expired(mock_clock: MockClock) -> None:
    """What waited in the outbox behind a slow Redis lives as long as the last command that went with it."""
    async with a_world(mock_clock) as world:
        thaw = world.freeze()
        await world.ask(1)
        await world.ask(2)
        await world.advance(1.5)
        await world.ask(3)
        world.sender.faults.heal()
        thaw()
        await world.advance(TIMEOUT_SECONDS - 1.5 + 0.1)
        _, (_, entry_id, batch) = world.leader.entries()
        assert [number for number, _ in batch.commands] == [2, 3]
        decided_until = (int(entry_id.partition(b"-")[0]) + batch.ttl_ms) / 1000
        now = world.redis._now_ms() / 1000
        assert retry_after(world, 2) >= decided_until - now + SETTLE_SECONDS - 0.01


async def test_what_a_frozen_redis_adds_late_has_expired_by_then(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        thaw = world.freeze()
        await world.ask(1)
        await world.advance(TIMEOUT_SECONDS + 3.0)
        thaw()
        await wait_all_tasks_blocked()
        ((_, entry_id, batch),) = world.leader.entries()
        assert batch.ttl_ms == 5000
        assert int(entry_id.partition(b"-")[0]) - batch.end_ms == pytest.approx(3000, abs=100)


async def test_ids_that_start_again_lower_hide_no_reply(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1)
        await world.answer_all()
        world.redis.lose_everything()
        world.redis.set_clock(-3600)
        await world.ask(2)
        await world.answer_all()
        await world.advance(1.1)
        assert isinstance(world.results[2], Sold)


# Replies of other releases


async def test_an_outcome_of_a_kind_that_nobody_knows_here_costs_no_other_asker_theirs(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1, 2, 3)
        ((_, _, batch),) = world.leader.entries()
        kinds = {1: "sold_out", 2: "banned_until_tomorrow", 3: "item_sold"}
        rows = [[kinds[int(command.code.checkout_id)], None, None] for _, command in batch.commands]
        world.leader.reply(batch.reply_to, orjson.dumps(rows), numbers=numbers_of(batch))
        await wait_all_tasks_blocked()
        assert world.results[1] == Refused(Refusal.SOLD_OUT)
        assert isinstance(world.results[2], OutcomeUnknown)
        assert world.results[3] == Refused(Refusal.ITEM_SOLD)
        assert world.is_idle()


UNREADABLE = [(3, b"\x93 of the next release"), (2, b"[[garbage")]


@pytest.mark.parametrize(("version", "payload"), UNREADABLE)
async def test_a_reply_that_cannot_be_read_is_logged_and_its_asker_told_in_time(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture, version: int, payload: bytes
) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(1)
        ((_, _, batch),) = world.leader.entries()
        world.leader.reply(batch.reply_to, payload, version, numbers=b"")
        await wait_all_tasks_blocked()
        assert len(caplog.records) == 1
        assert "dropped" in caplog.text
        await world.ask(2)
        world.leader.answer(world.leader.entries()[1])
        await wait_all_tasks_blocked()
        assert isinstance(world.results[2], Sold)
        await world.advance(TIMEOUT_SECONDS + 0.2)
        assert isinstance(world.results[1], OutcomeUnknown)


@pytest.mark.parametrize(("version", "payload"), UNREADABLE)
async def test_askers_whose_numbers_stand_in_a_reply_that_cannot_be_read_are_told_at_once(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture, version: int, payload: bytes
) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(2, 4, 6)
        ((_, _, batch),) = world.leader.entries()
        numbers = {int(command.code.checkout_id): number for number, command in batch.commands}
        listed = b"%d,%d,999" % (numbers[2], numbers[6])
        world.leader.reply(batch.reply_to, payload, version, numbers=listed, x=b"a field that nobody knows here")
        await wait_all_tasks_blocked()
        assert {number: type(result) for number, result in world.results.items()} == {
            2: OutcomeUnknown,
            6: OutcomeUnknown,
        }
        assert "dropped" in caplog.text
        await world.answer_all()
        assert isinstance(world.results[4], Sold), "who was not listed still waits"
        assert isinstance(world.results[2], OutcomeUnknown)
        assert world.is_idle()


# Redis is not believed


def numbers_of(batch: CommandBatch) -> bytes:
    return b",".join([b"%d" % number for number, _ in batch.commands])


def forgeries(batch: CommandBatch) -> dict[str, messages.Fields]:
    """Replies that somebody with nothing but Redis could add to the batch's reply stream."""
    key, outcomes = batch.reply_to, [(number, Refused(Refusal.SOLD_OUT)) for number, _ in batch.commands]
    good = messages.reply_entry(DEPLOYMENT, key, messages.VERSION, outcomes)
    elsewhere = messages.reply_key(DEPLOYMENT, "elsewhere")
    return {
        "unsealed": {name: value for name, value in good.items() if name != messages.SEAL_FIELD},
        "sealed with another key": messages.reply_entry(OTHER_DEPLOYMENT, key, messages.VERSION, outcomes),
        "of another stream": messages.reply_entry(DEPLOYMENT, elsewhere, messages.VERSION, outcomes),
        "a command": messages.sealed(DEPLOYMENT, messages.COMMAND, key, dict(good)),
        "other numbers": {**good, messages.NUMBERS_FIELD: b"7"},
        "another payload": {**good, messages.OUTCOMES_FIELD: encode_outcomes([Refused(Refusal.ITEM_SOLD)])},
        "another version": {**good, messages.VERSION_FIELD: b"3"},
        "one field more": {**good, b"x": b""},
        "of the first release": {b"v": b"1", b"n": good[b"n"], b"o": b'[[1,"sold_out",null]]'},
        "of the first release, sealed": messages.sealed(
            DEPLOYMENT, messages.REPLY, key, {b"v": b"1", b"n": good[b"n"], b"o": good[b"o"]}
        ),
    }


FORGERIES = tuple(forgeries(CommandBatch("r", 0, 0, [(1, a_command(2))])))


@pytest.mark.parametrize("kind", FORGERIES)
async def test_a_reply_that_no_leader_has_sent_ends_nobodys_waiting(
    mock_clock: MockClock, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(2)
        ((_, _, batch),) = world.leader.entries()
        for _ in range(5):
            world.leader.add(batch.reply_to, forgeries(batch)[kind])
        await wait_all_tasks_blocked()
        assert world.results == {}
        assert [record.levelname for record in caplog.records] == ["WARNING"], "once, not for each"
        await world.answer_all()
        assert isinstance(world.results[2], Sold)
        assert world.is_idle()


async def test_a_reply_that_comes_again_answers_nobody_else(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(2)
        ((_, _, batch),) = world.leader.entries()
        reply = messages.reply_entry(
            DEPLOYMENT, batch.reply_to, messages.VERSION, [(batch.commands[0][0], Refused(Refusal.SOLD_OUT))]
        )
        world.leader.add(batch.reply_to, reply)
        await wait_all_tasks_blocked()
        await world.ask(4)
        world.leader.add(batch.reply_to, reply)
        await wait_all_tasks_blocked()
        assert set(world.results) == {2}
        await world.answer_all()
        assert isinstance(world.results[4], Sold)


async def test_entries_say_their_version_and_are_sealed(mock_clock: MockClock) -> None:
    async with a_world(mock_clock) as world:
        await world.ask(2)
        ((_, fields),) = world.redis.entries(inbox_of(1))
        assert set(fields) == {b"v", b"c", b"s"}
        assert fields[b"v"] == b"2"
        batch = messages.read_commands(DEPLOYMENT, SaleId(1), fields)
        assert batch.reply_to.startswith(DEPLOYMENT.key("{web:"))
        assert (batch.ttl_ms, batch.commands) == (5000, [(1, a_command(2))])
