"""How long a client waits before it repeats a request, and when it gives up."""

from __future__ import annotations

import pytest

from flash.client.retries import BACKOFF_SECONDS_MAX, NEVER, Patience, Retries


@pytest.mark.parametrize(("luck", "least"), [(0.0, 4.0), (1.0, 5.0)])
def test_retry_after_is_never_cut_short_and_clients_come_back_apart(luck: float, least: float) -> None:
    assert Patience(Retries(random=lambda: luck)).next_wait(4.0) == least


def test_without_retry_after_the_waits_double_up_to_a_bound() -> None:
    patience = Patience(Retries(9, random=lambda: 0.0))
    waits = [patience.next_wait(None) for _ in range(9)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == BACKOFF_SECONDS_MAX
    assert Patience(Retries(random=lambda: 1.0)).next_wait(None) == 0.05


def test_the_number_of_repetitions_is_bounded() -> None:
    patience = Patience(Retries(2, random=lambda: 0.0))
    assert [patience.next_wait(1.0) for _ in range(3)] == [1.0, 1.0, None]
    assert Patience(NEVER).next_wait(None) is None


def test_a_wait_that_is_longer_than_the_caller_has_is_not_begun() -> None:
    patience = Patience(Retries(9, wait_seconds_max=5.0, random=lambda: 0.0))
    assert [patience.next_wait(seconds) for seconds in (3.0, 3.0, 2.0, 1.0)] == [3.0, None, 2.0, None]
