"""The rules of admission one by one: windows, shares, and how long a batch takes."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.admission import PROBES, Admission, Ticket, retry_after
from flash.actors.admitting import AdmittingCheckouts, AdmittingLeader
from flash.actors.batch_wait import BatchDuration, BatchWait
from flash.actors.batcher import Batcher
from flash.actors.fair_shares import SHARE_MIN, UserShares
from flash.domain import (
    Attempt,
    CheckoutOutcome,
    Command,
    ItemId,
    MalformedAttempt,
    Outcome,
    RecordedAttempt,
    Refusal,
    Refused,
    RequestId,
    SaleId,
    UserId,
)
from flash.errors import OutcomeUnknown, Overloaded
from tests.api.fakes import CODE

ONE, TWO, THREE = SaleId(1), SaleId(2), SaleId(3)


def an_admission(*, waiting_max: int = 1_000, window: int = 100, slots: int = 1_000) -> Admission:
    return Admission(
        waiting_max=waiting_max,
        wait_max_seconds=1.0,
        window=window,
        user_shares=UserShares(slots),
    )


def fill(admission: Admission, sale: SaleId, now: float) -> list[Ticket]:
    """Whatever the sale may have waiting."""
    tickets = []
    for _ in range(10_000):
        try:
            tickets.append(admission.admit(sale, None, now))
        except Overloaded:
            return tickets
    raise AssertionError("nothing bounds what waits")


def answer(tickets: list[Ticket], now: float) -> None:
    for ticket in tickets:
        ticket.done(now, is_answered=True)


def test_a_window_grows_while_answers_are_quick_and_is_scaled_to_the_aim_when_they_are_slow() -> None:
    admission = an_admission()
    tickets = fill(admission, ONE, 0.0)
    assert len(tickets) == 100
    answer(tickets, 0.05)
    tickets = fill(admission, ONE, 0.05)
    assert len(tickets) == 200
    answer(tickets, 3.05)
    assert len(fill(admission, ONE, 3.05)) == 100, "however slow, by half at once"


def test_one_late_answer_after_another_scales_only_once() -> None:
    admission = an_admission()
    tickets = fill(admission, ONE, 0.0)
    answer(tickets[89:90], 0.9)  # 90 waited 0.9 s: 60 would have waited for 0.6 s
    answer(tickets[90:] + tickets[:89], 0.9)
    assert len(fill(admission, ONE, 0.9)) == 60


def test_a_sale_that_nobody_answers_is_only_probed() -> None:
    admission = an_admission()
    tickets = fill(admission, ONE, 0.0)
    for ticket in tickets:
        ticket.done(5.0, is_answered=False)
    probes = fill(admission, ONE, 5.0)
    assert len(probes) == PROBES
    answer(probes, 5.1)
    assert len(fill(admission, ONE, 5.1)) > PROBES


def test_silence_closes_a_window_before_anything_has_timed_out() -> None:
    admission = an_admission()
    for _ in range(10):
        admission.admit(ONE, None, 0.0)
    admission.admit(ONE, None, 1.0)
    with pytest.raises(Overloaded) as caught:
        admission.admit(ONE, None, 3.0)
    assert (caught.value.retry_after_seconds or 0) > 3


def test_sick_sales_leave_room_however_many_there_are() -> None:
    admission = an_admission(waiting_max=120)
    held = [len(fill(admission, SaleId(number), 0.0)) for number in range(1, 5)]
    assert held == [60, 30, 15, 8]


def test_a_user_who_is_alone_may_use_all_slots_and_among_others_gets_a_share() -> None:
    shares = UserShares(12)
    assert [shares.enter("ann") for _ in range(13)] == [True] * 12 + [False]
    assert shares.enter("bob")
    shares.leave("ann")
    assert not shares.enter("ann"), "half of the slots is for bob"
    assert [shares.enter("bob") for _ in range(6)] == [True] * 5 + [False]
    for number in range(20):
        assert [shares.enter(number) for _ in range(SHARE_MIN + 1)] == [True] * SHARE_MIN + [False]


def test_users_who_have_left_are_forgotten() -> None:
    shares = UserShares(12)
    for number in range(100):
        shares.enter(number)
        shares.leave(number)
    assert not shares._waiting


def test_sales_in_which_nothing_waits_are_forgotten() -> None:
    admission = an_admission()
    for number in range(3_000):
        ticket = admission.admit(SaleId(number), None, 0.0)
        ticket.done(0.1, is_answered=True)
    assert len(admission._windows) <= 1_024


def test_what_a_refused_buyer_is_told_is_bounded_and_has_no_jitter_yet() -> None:
    assert [retry_after(4.0), retry_after(1e9)] == [4.0, 10.0]
    told = set()
    for _ in range(20):
        admission = an_admission(window=1)
        fill(admission, ONE, 0.0)
        with pytest.raises(Overloaded) as caught:
            admission.admit(ONE, None, 0.5)
        told.add(caught.value.retry_after_seconds)
    assert len(told) == 1


def test_a_longer_batch_counts_at_once_and_a_shorter_one_by_and_by() -> None:
    duration = BatchDuration()
    duration.note(0.5)
    assert duration.seconds == 0.5
    duration.note(0.0)
    assert duration.seconds == pytest.approx(0.4)
    duration.note(2.0)
    assert duration.seconds == 2.0


def test_the_wait_is_counted_in_batches() -> None:
    wait = BatchWait(batch_max=100, workers=1, wait_max_seconds=1.0)
    assert wait.admits(4_000, 0.0), "nothing is known yet"
    wait.end(wait.begin(0.0), 0.3)
    begun_at = wait.begin(0.3)
    assert wait.seconds(0, 0.3) == pytest.approx(0.6)
    assert wait.admits(199, 0.3)
    assert not wait.admits(250, 0.3)
    assert not wait.admits(0, 1.4), "the batch under way takes too long already"
    wait.end(begun_at, 9.0)
    assert wait.admits(0, 9.0), "a worker is free: somebody has to find out whether it is quick again"


def test_a_slow_store_still_gets_whole_batches() -> None:
    wait = BatchWait(batch_max=100, workers=1, wait_max_seconds=1.0)
    wait.end(wait.begin(0.0), 0.8)
    wait.begin(0.8)
    assert wait.seconds(0, 0.8) > 1
    assert wait.admits(99, 0.8)
    assert not wait.admits(100, 0.8)


def test_a_slow_leader_still_gets_a_few_from_each_process() -> None:
    admission = an_admission()
    for turn in range(10):
        answer(fill(admission, ONE, turn * 1.0), turn + 0.9)
    assert len(fill(admission, ONE, 10.0)) == 16


async def test_a_batcher_refuses_at_once_while_its_store_stands_still(mock_clock: MockClock) -> None:
    async def stand_still(numbers: list[int]) -> list[int]:
        await trio.sleep(10)
        return numbers

    batcher = Batcher("test", stand_still, waiting_max=100, batch_max=10, workers=1, wait_max_seconds=1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batcher.run)
        await wait_all_tasks_blocked()
        for number in range(2):
            nursery.start_soon(batcher.ask, number)
            await wait_all_tasks_blocked()
        mock_clock.jump(2)
        with pytest.raises(Overloaded) as caught:
            await batcher.ask(2)
        assert (caught.value.retry_after_seconds or 0) >= 1
        mock_clock.jump(8)
        await wait_all_tasks_blocked()
        mock_clock.jump(10)
        await wait_all_tasks_blocked()
        nursery.start_soon(batcher.ask, 3)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


class SlowLeader:
    def __init__(self, *, fails: bool = False) -> None:
        self.asked = 0
        self._fails = fails

    async def ask(self, command: Command) -> Outcome:
        self.asked += 1
        await trio.sleep(5)
        if self._fails:
            raise OutcomeUnknown("nobody answered")
        return Refused(Refusal.SOLD_OUT)


@pytest.mark.parametrize("fails", [False, True])
async def test_every_admitted_command_leaves_whatever_became_of_it(autojump_clock: MockClock, fails: bool) -> None:
    leader, refused = SlowLeader(fails=fails), 0
    admission = an_admission(slots=8)
    admitting = AdmittingLeader(leader, admission)

    async def ask() -> None:
        nonlocal refused
        try:
            await admitting.ask(Command(CODE, RequestId("key:a")))
        except Overloaded:
            refused += 1
        except OutcomeUnknown:
            assert fails

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(ask)
    assert (leader.asked, refused) == (8, 4)
    assert admission._waiting == 0
    assert not admission._users._waiting


class SlowCheckouts:
    async def ask(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt:
        await trio.sleep(1)
        return RecordedAttempt(CheckoutOutcome.ISSUED, CODE)


async def test_one_users_checkouts_leave_room_for_others(autojump_clock: MockClock) -> None:
    checkouts = AdmittingCheckouts(SlowCheckouts(), UserShares(8))
    outcomes: list[str] = []

    async def ask(attempt: Attempt | MalformedAttempt) -> None:
        try:
            await checkouts.ask(attempt)
            outcomes.append("recorded")
        except Overloaded as error:
            outcomes.append(f"refused for {error.retry_after_seconds:g} s")

    greedy = Attempt(UserId("greedy"), ItemId(1))
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask, greedy)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, Attempt(UserId("ann"), ItemId(1)))
        nursery.start_soon(ask, MalformedAttempt(b"?"))
    assert sorted(outcomes) == ["recorded"] * 10 + ["refused for 1 s"] * 2


def test_a_sale_that_was_idle_since_its_leader_died_begins_with_a_whole_window() -> None:
    admission = Admission(waiting_max=4_096, wait_max_seconds=1.0, window=500, user_shares=UserShares(64))
    waiting = [admission.admit(SaleId(1), n, 0.0) for n in range(10)]
    for ticket in waiting:
        ticket.done(5.0, is_answered=False)
    for n in range(100):
        admission.admit(SaleId(1), n, 3_600.0)
