"""Admission in a model of a cluster that is offered more than it can serve; without admission, the fault shows."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flash.domain import SaleId
from tests.actors.overload import TABLE, Leader, Overload

ONE, TWO = SaleId(1), SaleId(2)
RATE = 7_900.0


def _late_share(overload: Overload) -> float:
    """The part of what was sold that its buyer did not hear of in time."""
    return overload.too_late / (overload.too_late + sum(overload.answered.values()))


@pytest.mark.parametrize("webs", [1, 16, 50])
def test_what_is_sold_is_heard_in_time_and_the_leader_is_never_idle(webs: int) -> None:
    overload = Overload(webs)
    overload.run(6, lambda _: 20_000)
    assert _late_share(overload) <= 0.01
    assert sum(overload.answered.values()) >= 0.95 * RATE * 6
    assert overload.unanswered == 0
    assert max(overload.latencies) < 2.5, "before anything is known, each process admits one batch"
    assert max(overload.latencies[-int(RATE) :]) < 1.5, "the wait neither grows nor swings"
    assert max(overload.by_web.values()) < 3 * min(overload.by_web.values()), "no web process starves its buyers"


def test_without_admission_most_of_what_is_sold_is_heard_too_late() -> None:
    overload = Overload(16, admits=False)
    overload.run(11, lambda _: 20_000)
    assert _late_share(overload) > 0.2
    assert overload.unanswered > 10_000


def test_a_leader_that_stands_still_for_three_seconds_is_at_full_rate_at_once_afterwards() -> None:
    overload = Overload(16, leaders={ONE: Leader(stalls=((2, 5),))})
    overload.run(7, lambda _: 20_000)
    assert _late_share(overload) <= 0.01
    assert overload.by_second[5] + overload.by_second[6] >= 0.95 * RATE * 2
    assert overload.waiting_max[ONE] < 2 * RATE, "what waits is bounded while nobody is answered"


def test_a_step_from_little_to_far_too_much_is_absorbed() -> None:
    overload = Overload(16)
    overload.run(5, lambda now: 1_000 if now < 2 else 40_000)
    assert overload.answered[ONE] >= 0.95 * (2 * 1_000 + 3 * RATE)
    assert overload.too_late == 0
    assert max(overload.latencies) < 2


def test_a_sale_without_a_leader_takes_nothing_from_another() -> None:
    overload = Overload(16, leaders={ONE: Leader(), TWO: None})
    overload.run(7, lambda _: 20_000, sale=lambda: overload.random.choice((ONE, TWO)))
    assert overload.answered[ONE] >= 0.95 * RATE * 7
    assert overload.waiting_max[TWO] < 0.2 * TABLE * 16


@pytest.mark.parametrize("webs", [1, 16])
def test_a_user_with_a_thousand_connections_leaves_most_to_the_others(webs: int) -> None:
    crowd = [(ONE, 0)] * 1_000 + [(ONE, user) for user in range(1, 201)]
    overload = Overload(webs)
    overload.run_closed(4, crowd)
    others = [overload.answered_users[user] for user in range(1, 201)]
    assert sum(others) > 2 * overload.answered_users[0]
    assert max(others) < 1.2 * min(others)


def test_without_shares_a_user_with_a_thousand_connections_gets_most() -> None:
    overload = Overload(16, user_slots=TABLE)
    overload.run_closed(2, [(ONE, 0)] * 1_000 + [(ONE, user) for user in range(1, 201)])
    assert overload.answered_users[0] > 0.7 * overload.answered[ONE]


def test_who_is_refused_is_told_to_wait_longer_the_more_are_refused_and_not_all_the_same() -> None:
    means = []
    for rate in (12_000, 20_000, 40_000):
        overload = Overload(16)
        overload.run(3, lambda _, rate=rate: rate)  # type: ignore[misc]
        seconds = overload.retry_seconds
        means.append(sum(seconds) / len(seconds))
        assert len(set(seconds)) > len(seconds) // 2
    assert all(less < more for less, more in pairwise(means))
