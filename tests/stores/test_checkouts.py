"""Recording attempts and finding them again: each with the outcome that is answered, none mixed up with another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flash.domain import (
    Attempt,
    CheckoutId,
    CheckoutOutcome,
    Code,
    ItemId,
    LegacyCode,
    MalformedAttempt,
    Purchase,
    Redemption,
    SaleId,
    UserId,
)
from tests.codes import approve, digest
from tests.stores.database import an_attempt, issue, opened, run_sql, sell

_ROWS = """
SELECT id, item_id, user_digest, user_id, floor(extract(epoch FROM attempted_at))::bigint AS issued_at FROM checkouts
"""


async def test_a_batch_of_attempts_is_answered_in_order_and_recorded_as_answered(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        await sell(stores.terms, term, approve(await issue(stores.checkouts, 2)))
        attempts: list[Attempt | MalformedAttempt] = [
            an_attempt(1),
            MalformedAttempt(b"user_id=%FF\x00"),
            an_attempt(2),
            an_attempt(11),
            an_attempt(2**63 - 1),
            an_attempt(1, "b\u00f6b"),
        ]
        recorded = await stores.checkouts.record_attempts(attempts)
        expected = ["issued", "invalid_request", "item_sold", "sale_not_open", "item_not_found", "issued"]
        assert [a.outcome.value for a in recorded] == expected
        assert [a.code is not None for a in recorded] == [outcome == "issued" for outcome in expected]
        assert 0 < recorded[3].opens_in_seconds <= 3600
        rows = await run_sql(
            postgres, "SELECT outcome, user_id, item_id, query FROM checkouts WHERE id > 1 ORDER BY id"
        )
        assert [row["outcome"] for row in rows] == expected
        assert [(row["user_id"], row["item_id"], row["query"]) for row in rows] == [
            (None, None, a.query) if isinstance(a, MalformedAttempt) else (a.user_id, a.item_id, None) for a in attempts
        ]


async def test_each_buyer_of_a_batch_gets_the_code_of_their_own_row(postgres: str) -> None:
    async with opened(postgres) as stores:
        recorded = await stores.checkouts.record_attempts([an_attempt(n % 10 + 1, f"u{n}") for n in range(50)])
        codes = [attempt.code for attempt in recorded if attempt.code is not None]
        assert len({code.user_digest for code in codes}) == 50
        rows = await run_sql(postgres, _ROWS)
        recorded_codes = {
            row["user_id"]: Code(SaleId(1), row["id"], row["item_id"], row["issued_at"], row["user_digest"])
            for row in rows
        }
        assert codes == [recorded_codes[f"u{n}"] for n in range(50)]
        assert codes[7].user_digest == digest(UserId("u7"))


async def test_redemptions_come_in_the_order_of_their_codes(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        codes = [await issue(stores.checkouts, item, f"u{item}") for item in range(1, 8)]
        sold = await sell(stores.terms, term, *(approve(codes[item - 1]) for item in (2, 3, 7)))
        bought: dict[int, Purchase] = {purchase.item_id: purchase for purchase in sold}
        assert [purchase.user_id for purchase in sold] == ["u2", "u3", "u7"]
        asked = [5, 3, 7, 1, 2, 6, 4]
        found = await stores.checkouts.find_redemptions([codes[item - 1] for item in asked])
        assert [r.purchase for r in found] == [bought.get(item) for item in asked]
        assert all(r.is_valid for r in found)


@pytest.mark.parametrize(
    "change",
    [{"sale_id": 2}, {"item_id": 2}, {"user_digest": digest(UserId("bob"))}, {"checkout_id": 99}],
    ids=["another sale", "another item", "another buyer", "no such checkout"],
)
async def test_a_code_that_says_something_else_than_its_row_is_neither_valid_nor_shown_a_receipt(
    postgres: str, change: dict[str, Any]
) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        code = await issue(stores.checkouts, 1)
        other = replace(code, **change)
        if other.sale_id == 1:  # a leader gets codes of its own sale only
            confirmed = await stores.terms.confirm(term, 0, [approve(other)], [])
            assert (confirmed.missing, confirmed.sold) == ([approve(other)], [])
        (purchase,) = await sell(stores.terms, term, approve(code))
        assert await stores.checkouts.find_redemptions([code, other]) == [
            Redemption(True, purchase),
            Redemption(False, None),
        ]


async def test_a_code_of_the_first_release_is_known_by_its_secret(postgres: str) -> None:
    async with opened(postgres) as stores:
        await run_sql(
            postgres,
            "INSERT INTO checkouts (outcome, sale_id, item_id, user_id, secret, attempted_at) "
            "VALUES ('issued', 1, 3, 'zoë', $1, '2026-01-01 12:00:00.9+00')",
            b"s" * 16,
        )
        legacy = LegacyCode(SaleId(1), CheckoutId(1), b"s" * 16)
        code = await stores.checkouts.find_legacy(legacy)
        assert code == Code(SaleId(1), CheckoutId(1), ItemId(3), 1_767_268_800, digest(UserId("zoë")), is_legacy=True)
        assert await stores.checkouts.find_legacy(replace(legacy, secret=bytes(16))) is None
        assert await stores.checkouts.find_legacy(replace(legacy, sale_id=SaleId(2))) is None
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        confirmed = await stores.terms.confirm(term, 0, [approve(replace(code, is_legacy=False))], [])
        assert confirmed.missing, "a row of the first release proves no code of this one"
        (purchase,) = await sell(stores.terms, term, approve(code))
        (redemption,) = await stores.checkouts.find_redemptions([code])
        assert redemption == Redemption(False, purchase), "expired, and shown all the same"


async def test_a_sold_out_sale_issues_no_code(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        codes = [await issue(stores.checkouts, item, f"u{item}") for item in range(1, 11)]
        await sell(stores.terms, term, *map(approve, codes))
        (recorded,) = await stores.checkouts.record_attempts([an_attempt(1)])
        assert recorded.outcome is CheckoutOutcome.SOLD_OUT
