"""The checks of a drill as tables: each finds what it is for, and nothing in a history that is true."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from drill import checks
from drill.witness import Commit
from flash.audit.report import Report, SaleSummary
from flash.codes import CodeKeys, Codes
from flash.domain import CheckoutId, Code, ItemId, SaleId
from flash.testing.history import Call, History
from flash.testing.stored import PurchaseRow, Stored
from flash.testing.verification import lost, unexpected, unrecorded

CODES = Codes(CodeKeys({1: bytes(32)}, 1))
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = 100.0
"""By Trio's clock, at which it is `START` by the wall's."""
OFFSET = START.timestamp() - NOW


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def code_of(checkout_id: int, item: int) -> str:
    return CODES.seal(Code(SaleId(1), CheckoutId(checkout_id), ItemId(item), int(START.timestamp()), bytes(16)))


def row(
    checkout_id: int, item: int, user: str = "ann", *, epoch: int = 1, key: str = "k", second: float = 0.0
) -> PurchaseRow:
    return PurchaseRow(checkout_id, 1, item, user, epoch, f"key:{key}", at(second))


def stored(*rows: PurchaseRow, sold_out_at: datetime | None = None) -> Stored:
    sale = SaleSummary(1, at(-60), 1, 50, 2, len(rows), len(rows), 1, 1, 1, sold_out_at)
    attempts = Counter({("ann", "issued"): len(rows)})
    purchases = {row.checkout_id: row for row in rows}
    return Stored(Report(START, (sale,), {}, ()), CODES, purchases, set(purchases), attempts)


def purchase(checkout_id: int, item: int, outcome: str, *, key: str = "k", ended: float = NOW + 1) -> Call:
    return Call("purchase", code=code_of(checkout_id, item), key=key, began=NOW, ended=ended, outcome=outcome)


def attempt(item: int, outcome: str, *, began: float = NOW, ended: float = NOW + 1) -> Call:
    return Call("checkout", "ann", item, began=began, ended=ended, outcome=outcome)


def issued(checkout_id: int, item: int, user: str) -> Call:
    return Call("checkout", user, item, code_of(checkout_id, item), outcome="ok")


BOUGHT = row(7, 3, key="k")


@pytest.mark.parametrize(
    ("call", "found", "is_true"),
    [
        (attempt(3, "item_sold"), stored(BOUGHT), True),
        (attempt(4, "item_sold"), stored(BOUGHT), False),
        (attempt(3, "item_sold", ended=NOW - 1), stored(BOUGHT), False),
        (attempt(3, "sold_out"), stored(BOUGHT, sold_out_at=at(0.5)), True),
        (attempt(3, "sold_out"), stored(BOUGHT, sold_out_at=at(2)), False),
        (attempt(3, "sold_out"), stored(BOUGHT), False),
        (attempt(3, "sale_not_open", began=NOW - 61), stored(), True),
        (attempt(3, "sale_not_open"), stored(), False),
        (attempt(3, "item_not_found"), stored(), False),
        (attempt(3, "outcome_unknown"), stored(), True),
        (attempt(3, "unavailable"), stored(), True),
        (purchase(8, 3, "item_sold"), stored(BOUGHT), True),
        (purchase(8, 4, "item_sold"), stored(BOUGHT), False),
        (purchase(7, 3, "item_sold"), stored(BOUGHT), False),
        (purchase(8, 3, "sold_out"), stored(BOUGHT, sold_out_at=at(0)), True),
        (purchase(7, 3, "sold_out"), stored(BOUGHT, sold_out_at=at(0)), False),
        (purchase(7, 3, "code_already_used", key="other"), stored(BOUGHT), True),
        (purchase(7, 3, "code_already_used", key="k"), stored(BOUGHT), False),
        (purchase(8, 4, "code_already_used"), stored(BOUGHT), False),
        (purchase(8, 4, "user_limit_reached"), stored(BOUGHT, row(9, 5)), True),
        (purchase(8, 4, "user_limit_reached"), stored(BOUGHT), False),
        (purchase(8, 4, "user_limit_reached"), stored(BOUGHT, row(9, 5, second=3)), False),
        (purchase(8, 4, "invalid_code"), stored(BOUGHT), False),
        (purchase(8, 4, "a_code_that_nobody_knows"), stored(BOUGHT), False),
    ],
)
def test_a_refusal_is_false_if_what_it_says_had_not_begun_to_be_true(call: Call, found: Stored, is_true: bool) -> None:
    assert len(list(checks.Refusals([issued(8, 4, "ann"), call], found, OFFSET).false())) == (not is_true)


def test_who_was_told_that_nothing_was_done_has_bought_nothing() -> None:
    told = [purchase(7, 3, "unavailable"), purchase(7, 3, "overloaded"), purchase(7, 3, "not_sent")]
    assert len(list(checks.done_after_all(History(calls=told), stored(BOUGHT)))) == 1
    assert not list(checks.done_after_all(History(calls=told), stored()))
    in_doubt = [*told, purchase(7, 3, "no_answer")]
    assert not list(checks.done_after_all(History(calls=in_doubt), stored(BOUGHT)))


def test_an_attempt_is_recorded_once_however_its_call_ended_and_not_at_all_if_it_was_turned_away() -> None:
    found = stored(BOUGHT)
    assert not list(checks.recorded_too_often(History(calls=[attempt(3, "no_answer")]), found))
    assert len(list(checks.recorded_too_often(History(calls=[attempt(3, "unavailable")]), found))) == 1


def test_nobody_has_more_than_the_limit() -> None:
    assert not list(checks.over_the_limit(stored(row(1, 1), row(2, 2))))
    assert len(list(checks.over_the_limit(stored(row(1, 1), row(2, 2), row(3, 3))))) == 1


def test_purchases_of_an_earlier_epoch_come_first() -> None:
    rising = [row(1, 1, epoch=1), row(2, 2, epoch=1, second=1), row(3, 3, epoch=4, second=2)]
    assert not list(checks.not_in_order(stored(*rising)))
    assert len(list(checks.not_in_order(stored(*rising, row(4, 4, epoch=1, second=3))))) == 1


@pytest.mark.parametrize(
    "commit",
    [
        Commit("inventory.1", "inventory.2", 1, 2, 1),  # the statement writes the present epoch, whoever sends it
        Commit("inventory.1", "inventory.2", 1, 1, 1),  # or its own, and nobody has committed in the present one yet
        Commit("inventory.2", "inventory.2", 1, 1, 1),
        Commit("a stranger", "a stranger", 1, 2, 1),
    ],
)
def test_only_the_process_that_leads_an_epoch_commits_in_it(commit: Commit) -> None:
    terms = {(1, 1): ["inventory.1"], (1, 2): ["inventory.2"]}
    theirs = [Commit("inventory.1", "inventory.1", 1, 1, 5), Commit("inventory.2", "inventory.2", 1, 2, 5)]
    assert not list(checks.by_others_than_the_leader(terms, theirs))
    assert len(list(checks.by_others_than_the_leader(terms, [*theirs, commit]))) == 1
    assert len(list(checks.by_others_than_the_leader({(1, 1): ["inventory.1", "inventory.2"]}, []))) == 1


def test_what_was_acknowledged_is_there_and_nothing_else() -> None:
    receipt = {"item": {"id": 3}, "sale_id": 1, "user_id": "ann"}
    code = code_of(7, 3)
    heard = History(sold={code: receipt}, codes={code}, attempts=Counter({("ann", "issued"): 1}))
    found = stored(BOUGHT)
    assert [*lost(heard, found), *unexpected(heard, found), *unrecorded(heard, found)] == []
    assert len(list(lost(heard, stored()))) == 2, "the purchase and the code's row"
    assert len(list(lost(heard, stored(replace(BOUGHT, user_id="bob"))))) == 1
    assert len(list(unexpected(History(), found))) == 1
    assert not list(unexpected(History(open_codes={code}), found))
    assert len(list(unrecorded(heard, replace(found, attempts=Counter())))) == 1
    assert not list(checks.bought_nothing({code}, stored()))
    assert len(list(checks.bought_nothing({code}, found))) == 1
