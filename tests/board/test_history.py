"""What the samples of many processes add up to. Nothing here waits, and times are given."""

from __future__ import annotations

import pytest

from flash.board.history import LOST_MS, STOPPED, History
from flash.board.messages import KEPT_SECONDS, Mark, Sample
from flash.metrics.counts import SECONDS_BOUNDS, Histogram, quantile

AT = 1_000_000_000.0  # a whole second, in milliseconds
SECOND = int(AT // 1000)


def test_what_was_counted_between_two_samples_lies_between_them() -> None:
    history = History()
    history.add(AT, Sample("a", 60.0, sold=100))
    history.add(AT + 2_000, Sample("a", 62.0, sold=300))
    assert [second.sold for second in history.seconds(SECOND - 1, 4)] == [0, 100, 100, 0]


def test_a_sample_between_two_seconds_counts_for_both_by_its_share() -> None:
    history = History()
    history.add(AT + 250, Sample("a", 60.0, outcomes={"sold": 0}))
    history.add(AT + 1_250, Sample("a", 61.0, outcomes={"sold": 100, "item_sold": 8}))
    first, second = history.seconds(SECOND, 2)
    assert first.outcomes == {"sold": 75, "item_sold": 6}
    assert second.outcomes == {"sold": 25, "item_sold": 2}


def test_a_lost_sample_costs_nothing() -> None:
    history = History()
    for second in (0, 1, 4):  # those between were lost
        history.add(AT + second * 1e3, Sample("a", 60.0 + second, sold=10 * second))
    assert [second.sold for second in history.seconds(SECOND, 4)] == [10, 10, 10, 10]


def test_the_first_sample_of_an_old_process_begins_the_counting_and_that_of_a_new_one_counts() -> None:
    history = History()
    history.add(AT, Sample("old", 3_600.0, sold=1_000_000))
    history.add(AT, Sample("new", 2.0, sold=50))
    assert sum(second.sold for second in history.seconds(SECOND - 10, 12)) == 50


def test_all_processes_add_up() -> None:
    history = History()
    for name in ("a", "b", "c"):
        history.add(AT, Sample(name, 60.0, outcomes={"sold": 5}))
        history.add(AT + 1_000, Sample(name, 61.0, outcomes={"sold": 12}))
    assert history.seconds(SECOND, 1)[0].outcomes == {"sold": 21}


def test_latency_is_read_from_the_buckets_of_all_processes() -> None:
    history = History()
    for name, seconds in (("a", 0.003), ("b", 0.040)):
        counted = Histogram(SECONDS_BOUNDS)
        history.add(AT, Sample(name, 60.0, outcomes={"sold": 0}, purchase_seconds=list(counted.counts)))
        for _ in range(50):
            counted.observe(seconds)
        history.add(AT + 1_000, Sample(name, 61.0, outcomes={"sold": 50}, purchase_seconds=counted.counts))
    buckets = history.seconds(SECOND, 1)[0].purchase_seconds
    assert quantile(buckets, SECONDS_BOUNDS, 0.25) == pytest.approx(0.0025)
    assert quantile(buckets, SECONDS_BOUNDS, 0.99) == pytest.approx(0.048, rel=0.02)


def test_rates_are_those_of_the_last_seconds() -> None:
    history = History()
    for second in range(20):
        history.add(AT + second * 1e3, Sample("a", 60.0 + second, requests=30 * second, bought=10 * second))
    assert history.processes["a"].rates() == (30, 10)


def test_a_process_that_falls_silent_is_lost_unless_it_said_goodbye() -> None:
    history = History()
    history.add(AT, Sample("crashed", 60.0))
    history.add(AT, Sample("stopped", 60.0, marks=[Mark(0.0, STOPPED, "web h:1 stopped")]))
    assert not list(history.lost(AT + LOST_MS))
    assert list(history.lost(AT + LOST_MS + 1)) == [("crashed", AT)]


def test_what_several_processes_saw_is_one_mark() -> None:
    history = History()
    for name, ago in (("a", 0.2), ("b", 1.0), ("c", 0.0)):
        history.add(AT, Sample(name, 60.0, marks=[Mark(ago, "store_lost", "Redis cannot be used")]))
    history.add(AT + 60_000, Sample("a", 120.0, marks=[Mark(0.0, "store_lost", "Redis cannot be used")]))
    assert [at for at, _ in history.marks(AT + 60_000)] == [AT - 200, AT + 60_000]


def test_it_stays_bounded_whatever_fifty_processes_tell_for_an_hour() -> None:
    history = History()
    for second in range(0, 3_600, 30):
        for name in range(50):
            marks = [Mark(0.0, "take_over", f"{name} took over sale {second}, epoch 2")]
            history.add(AT + second * 1e3, Sample(str(name), second + 60.0, sold=second, marks=marks))
        history.forget(AT + second * 1e3)
    assert len(history._seconds) <= KEPT_SECONDS + 2
    assert len(history.processes) == 50
    assert len(history.marks(AT + 3_600_000)) <= 500
    assert history.seconds(SECOND + 3_500, 1)[0].sold == 50


def test_a_process_that_was_not_heard_for_five_minutes_is_forgotten() -> None:
    history = History()
    history.add(AT, Sample("a", 60.0))
    history.forget(AT + KEPT_SECONDS * 1e3 + 1)
    assert not history.processes
    assert not list(history.lost(AT + KEPT_SECONDS * 1e3 + 1))
