"""Recording attempts and finding them again: each with the outcome that is answered, none mixed up with another."""

from __future__ import annotations

from flash.domain import Attempt, CheckoutOutcome, Code, MalformedAttempt, SaleId
from tests.stores.database import a_purchase, an_attempt, issue, opened, run_sql


async def test_a_batch_of_attempts_is_answered_in_order_and_recorded_as_answered(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        await stores.terms.sell(term, [a_purchase(await issue(stores.checkouts, 2), 2)])
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
        assert len({code.secret for code in codes}) == 50
        rows = await run_sql(postgres, "SELECT id, secret, user_id FROM checkouts")
        stored = {row["user_id"]: Code(SaleId(1), row["id"], row["secret"]) for row in rows}
        assert codes == [stored[f"u{n}"] for n in range(50)]


async def test_redemptions_come_in_the_order_of_their_codes(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        codes = [await issue(stores.checkouts, item, f"u{item}") for item in range(1, 8)]
        bought = {item: a_purchase(codes[item - 1], item, f"u{item}") for item in (2, 3, 7)}
        await stores.terms.sell(term, list(bought.values()))
        asked = [5, 3, 7, 1, 2, 6, 4]
        unknown = Code(SaleId(2), codes[0].checkout_id, codes[0].secret)
        found = await stores.checkouts.find_redemptions([codes[item - 1] for item in asked] + [unknown])
        assert [r.checkout.user_id for r in found[:-1] if r.checkout is not None] == [f"u{item}" for item in asked]
        assert [r.checkout.secret for r in found[:-1] if r.checkout is not None] == [codes[i - 1].secret for i in asked]
        assert [r.purchase for r in found[:-1]] == [bought.get(item) for item in asked]
        assert found[-1].checkout is None, "it was issued in another sale"


async def test_a_sold_out_sale_issues_no_code(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        codes = [await issue(stores.checkouts, item, f"u{item}") for item in range(1, 11)]
        purchases = [a_purchase(code, item, f"u{item}") for item, code in enumerate(codes, start=1)]
        await stores.terms.sell(term, purchases)
        (recorded,) = await stores.checkouts.record_attempts([an_attempt(1)])
        assert recorded.outcome is CheckoutOutcome.SOLD_OUT
