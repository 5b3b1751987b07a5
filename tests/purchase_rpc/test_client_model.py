"""The purchase client against whatever a leader, a Redis, the time and its askers may do, as Hypothesis chooses.

The model is small: a request was added or not, a leader said this or that of it, and its asker has one result.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flash.domain import Outcome, Refusal, Refused, RequestId, SaleId
from flash.errors import FlashError, OutcomeUnknown, Overloaded, Unavailable
from flash.purchase_rpc import messages
from flash.purchase_rpc.client import PurchaseClient
from flash.purchase_rpc.records import SENT
from flash.testing.twins.link import RedisLinkTwin
from flash.testing.twins.redis import RedisTwin
from tests.deployments import DEPLOYMENT, OTHER_DEPLOYMENT
from tests.purchase_rpc.leader import Leader, a_command, inbox_of
from tests.purchase_rpc.virtual import VirtualTrio

SALES = (1, 2)
WAITING_MAX = 6
TIMEOUT_SECONDS = 5.0
LINK_SECONDS = 1.0
CALM_SECONDS = 1.7
"""Three sweeps of the client: in the worst case one has just begun to fail, and the next finds entries too young."""


@dataclass
class Asked:
    number: int
    sale: int
    expires_at: float
    results: list[Outcome | FlashError] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    has_left: bool = False

    @property
    def request_id(self) -> RequestId:
        return a_command(self.number).request_id

    @property
    def is_waiting(self) -> bool:
        return not self.results and not self.has_left


class ClientMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.trio = VirtualTrio()
        self.asked: list[Asked] = []
        self.added: defaultdict[RequestId, set[int]] = defaultdict(set)
        self.is_stopped = False
        self.trio.do(self._begin)

    def _begin(self) -> None:
        self.redis = RedisTwin()
        self.leader = Leader(self.redis, SALES)
        self.links = [RedisLinkTwin(self.redis, timeout_seconds=LINK_SECONDS) for _ in range(2)]
        self.gate = trio.Event()
        self.gate.set()
        for link in self.links:
            link.faults.on_before = self._wait_for_gate
        self.links[0].faults.on_after = self._note_added
        self.client = PurchaseClient(
            DEPLOYMENT,
            *self.links,
            waiting_max=WAITING_MAX,
            batch_max=3,
            timeout_seconds=TIMEOUT_SECONDS,
            settle_seconds=1,
        )
        self.client_scope = trio.CancelScope()
        self.trio.nursery.start_soon(self._run_client)

    async def _run_client(self) -> None:
        with self.client_scope:
            await self.client.run()

    async def _wait_for_gate(self, _name: str, _commands: tuple[object, ...]) -> None:
        await self.gate.wait()

    async def _note_added(self, _name: str, commands: tuple[object, ...]) -> None:
        for command in commands:
            assert isinstance(command, tuple)
            if command[0] == "XADD":
                (sale,) = [SaleId(sale) for sale in SALES if inbox_of(sale) == command[1]]
                fields = dict(zip(command[3::2], command[4::2], strict=True))
                for number, added in messages.read_commands(DEPLOYMENT, sale, fields).commands:
                    self.added[added.request_id].add(number)

    # What may happen

    @rule(sale=st.sampled_from(SALES), count=st.integers(1, 3))
    def ask(self, sale: int, count: int) -> None:
        def ask() -> None:
            for _ in range(count):
                asked = Asked(len(self.asked), sale, trio.current_time() + TIMEOUT_SECONDS)
                self.asked.append(asked)
                self.trio.nursery.start_soon(self._ask, asked)

        self.trio.do(ask)

    async def _ask(self, asked: Asked) -> None:
        try:
            with asked.scope:
                asked.results.append(await self.client.ask(a_command(asked.number, asked.sale)))
        except FlashError as error:
            asked.results.append(error)

    @precondition(lambda self: any(asked.is_waiting for asked in self.asked))
    @rule(data=st.data())
    def an_asker_leaves(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from([asked for asked in self.asked if asked.is_waiting]), label="who")
        asked.has_left = True
        self.trio.do(asked.scope.cancel)

    @precondition(lambda self: self.trio.do(self.leader.entries))
    @rule(data=st.data(), most=st.integers(1, 3), is_lost=st.booleans())
    def the_leader_answers(self, data: st.DataObject, most: int, is_lost: bool) -> None:
        entries = self.trio.do(self.leader.entries)
        entry = data.draw(st.sampled_from(entries), label="entry")
        self.trio.do(partial(self.leader.answer, entry, most, is_lost=is_lost))

    @precondition(lambda self: self.trio.do(self.leader.entries))
    @rule(data=st.data())
    def a_stranger_answers(self, data: st.DataObject) -> None:
        """It knows all that stands in Redis, and not the message key."""
        _, _, batch = data.draw(st.sampled_from(self.trio.do(self.leader.entries)), label="entry")
        outcomes: list[tuple[int, Outcome]] = [(number, Refused(Refusal.SOLD_OUT)) for number, _ in batch.commands]
        forged = messages.reply_entry(OTHER_DEPLOYMENT, batch.reply_to, messages.VERSION, outcomes)
        self.trio.do(partial(self.leader.add, batch.reply_to, forged))

    @rule(sale=st.sampled_from(SALES))
    def a_stranger_writes_over_an_inbox(self, sale: int) -> None:
        def write() -> None:
            self.redis.perform(("DEL", inbox_of(sale)))
            self.redis.perform(("SET", inbox_of(sale), "not a stream"))

        self.trio.do(write)

    @rule()
    def redis_loses_everything(self) -> None:
        self.trio.do(self.redis.lose_everything)

    @rule(seconds=st.floats(-5, 5))
    def redis_has_its_clock_set(self, seconds: float) -> None:
        self.trio.do(partial(self.redis.set_clock, seconds))

    @rule(link=st.integers(0, 1), is_applied=st.booleans(), times=st.integers(1, 3))
    def a_connection_breaks(self, link: int, is_applied: bool, times: int) -> None:
        faults = self.links[link].faults
        if is_applied:
            faults.fail_after(OutcomeUnknown("lost"), times=times)
        else:
            faults.fail_before(Unavailable("not there"), times=times)

    @rule()
    def redis_freezes(self) -> None:
        def freeze() -> None:
            if self.gate.is_set():
                self.gate = trio.Event()

        self.trio.do(freeze)

    @rule()
    def redis_thaws(self) -> None:
        self.trio.do(self.gate.set)

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.6, 1.0, 2.5, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.trio.advance(seconds)

    @precondition(lambda self: len(self.asked) > 6)
    @rule()
    def the_process_stops(self) -> None:
        self.is_stopped = True
        self.trio.do(self.client_scope.cancel)
        assert not any(asked.is_waiting for asked in self.asked)

    @rule()
    def in_calm_every_command_that_waits_stands_in_an_inbox(self) -> None:
        """Also one whose entry has vanished: it is there again, under the same request id."""
        self._heal()
        self.trio.advance(CALM_SECONDS)
        now = self.trio.do(trio.current_time)
        there = self.trio.do(self.leader.request_ids)
        for asked in self.asked:
            if asked.is_waiting and asked.expires_at > now and not self.is_stopped:
                assert asked.request_id in there
                assert self.trio.do(partial(self._state_of, asked)) is SENT

    def _state_of(self, asked: Asked) -> object:
        (number,) = self.added[asked.request_id]
        return self.client._table[number].state

    def _heal(self) -> None:
        self.trio.do(self.gate.set)
        for link in self.links:
            link.faults.heal()

    # What must hold

    @invariant()
    def nobody_has_two_results(self) -> None:
        assert all(len(asked.results) + asked.has_left <= 1 for asked in self.asked)

    @invariant()
    def every_outcome_is_one_that_the_leader_gave_for_that_request(self) -> None:
        for asked in self.asked:
            for result in asked.results:
                assert isinstance(result, FlashError) or result in self.leader.told[asked.request_id]

    @invariant()
    def what_was_not_started_was_never_added(self) -> None:
        for asked in self.asked:
            if any(isinstance(result, Overloaded | Unavailable) for result in asked.results):
                assert not self.added[asked.request_id]

    @invariant()
    def a_request_keeps_its_number(self) -> None:
        assert all(len(numbers) <= 1 for numbers in self.added.values())

    @invariant()
    def no_more_wait_than_may(self) -> None:
        assert sum(asked.is_waiting for asked in self.asked) <= WAITING_MAX

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        self._heal()
        self.trio.advance(TIMEOUT_SECONDS + LINK_SECONDS + CALM_SECONDS)
        assert not any(asked.is_waiting for asked in self.asked), "everybody has a result in time"
        assert not self.client._table
        assert not len(self.client._outbox)
        if not self.is_stopped:
            assert not self.client._entries
        self.trio.close()


TestClient = ClientMachine.TestCase
TestClient.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
