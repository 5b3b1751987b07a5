"""The sentence that says how the service is: the worst comes first, and each comes with what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flash.board.diagnosis import CurrentSale, Facts, diagnose

SALE = CurrentSale(482, is_sold_out=False, has_leader=True, is_paused=False)
WELL = Facts({}, SALE, inventory_count=2, versions=["1.0"], outcomes={"sold": 100.0})
SOLD_OUT = replace(SALE, is_sold_out=True, has_leader=False)


@pytest.mark.parametrize(
    ("facts", "level", "says"),
    [
        (WELL, "ok", "Sale 482 is open and nobody is buying, all stores fine."),
        (replace(WELL, sales_per_second=6214.4, p99_ms=24.2), "ok", "Selling. 6,214 sales/s, p99 24 ms, all stores"),
        (
            replace(WELL, sale=SOLD_OUT, opens_in_seconds=720.0),
            "ok",
            "sold out, all stores fine. The next one opens in",
        ),
        (replace(WELL, sale=SOLD_OUT, opens_in_seconds=42.0), "ok", "The next one opens in 42 s."),
        (replace(WELL, errors={"database": "refused"}), "failing", "PostgreSQL cannot be used (refused)."),
        (replace(WELL, errors={"redis": "refused"}), "failing", "Purchases are refused; checkouts go on."),
        (replace(WELL, inventory_count=0), "failing", "No inventory process is running."),
        (replace(WELL, sale=None), "failing", "There is no sale."),
        (replace(WELL, sale=replace(SALE, has_leader=False)), "failing", "Sale 482 is open and nobody leads it."),
        (
            replace(WELL, sale=CurrentSale(482, False, False, True, "ada")),
            "warning",
            "Sale 482 was paused by ada. Its purchases are refused.",
        ),
        (replace(WELL, is_disk_low=True), "warning", "disk is nearly full"),
        (replace(WELL, lost=["web h:1"]), "warning", "Not heard from lately: web h:1."),
        (
            replace(WELL, outcomes={"sold": 80.0, "overloaded": 20.0}),
            "warning",
            "20% of requests are refused because",
        ),
        (replace(WELL, outcomes={"sold": 98.0, "outcome_unknown": 2.0}), "warning", "without a known outcome"),
        (replace(WELL, versions=["1.0", "1.1"]), "warning", "Processes of 2 releases are running: 1.0, 1.1."),
    ],
)
def test_it_says_what_is_wrong_and_what_to_do(facts: Facts, level: str, says: str) -> None:
    found = diagnose(facts)
    assert found.level == level
    assert says in found.text
    assert bool(found.action) == (level != "ok"), "whoever reads of a fault is told what to do"


def test_the_worst_comes_first() -> None:
    everything = Facts(
        {"database": "gone", "redis": "gone"}, None, is_disk_low=True, lost=["x"], versions=["1", "2"], outcomes={}
    )
    assert diagnose(everything).text.startswith("PostgreSQL")
    assert diagnose(replace(everything, errors={"redis": "gone"})).text.startswith("Redis")
