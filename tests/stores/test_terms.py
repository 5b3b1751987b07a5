"""The fence and what a leader reads: a deposed leader commits nothing, a new one sees everything that was sold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flash.domain import CheckoutId, Epoch, SaleId, Term
from flash.errors import OutcomeUnknown, TermEnded
from tests.codes import approve
from tests.stores.database import brief, issue, opened, run_sql, sell, stored

ONE = SaleId(1)
LATER_PURCHASE = "INSERT INTO purchases VALUES (1, 2, $1, 'ann', 2, 3, 'auto:later', now())"


async def test_a_deposed_leader_commits_nothing_and_refuses_nobody(postgres: str) -> None:
    async with opened(postgres) as stores:
        code = await issue(stores.checkouts, 1)
        old, _, _ = await stores.terms.begin_term(ONE)
        new, _, _ = await stores.terms.begin_term(ONE)
        assert new.epoch == old.epoch + 1
        for approved in ([approve(code)], []):
            with pytest.raises(TermEnded):
                await stores.terms.confirm(old, 0, approved, [])
        assert await run_sql(postgres, "SELECT FROM purchases") == []
        sold = await sell(stores.terms, new, approve(code))
        latest, sale, _ = await stores.terms.begin_term(ONE)
        assert (sale.sold, await stored(stores.terms, latest)) == (1, [brief(*sold)])


async def test_an_epoch_that_was_counted_twice_does_not_let_the_other_term_through(postgres: str) -> None:
    """A database that took over without the last commits counts the same epoch again."""
    async with opened(postgres) as stores:
        code = await issue(stores.checkouts, 1)
        lost, _, _ = await stores.terms.begin_term(ONE)
        await run_sql(postgres, "UPDATE sales SET epoch = 0, term_token = NULL WHERE id = 1")
        present, _, _ = await stores.terms.begin_term(ONE)
        assert present.epoch == lost.epoch
        for approved in ([approve(code)], []):
            with pytest.raises(TermEnded):
                await stores.terms.confirm(lost, 0, approved, [])
        await sell(stores.terms, present, approve(code))


@pytest.mark.parametrize("approves", [True, False])
async def test_a_term_that_remembers_another_number_of_sales_than_the_database_is_over(
    postgres: str, approves: bool
) -> None:
    async with opened(postgres) as stores:
        first, second = await issue(stores.checkouts, 1), await issue(stores.checkouts, 2)
        term, _, _ = await stores.terms.begin_term(ONE)
        await sell(stores.terms, term, approve(first))
        # as a standby has it that lacks the last commit, and nothing else
        await run_sql(postgres, "WITH d AS (DELETE FROM purchases) UPDATE sales SET sold = 0 WHERE id = 1")
        with pytest.raises(TermEnded, match="1 items"):
            await stores.terms.confirm(term, 1, [approve(second, 2)] if approves else [], [])
        assert await run_sql(postgres, "SELECT FROM purchases") == []


async def test_a_term_that_loses_its_place_while_it_reads_what_was_sold_reads_only_what_was_before_it(
    postgres: str,
) -> None:
    async with opened(postgres) as stores:
        code, other = await issue(stores.checkouts, 1), await issue(stores.checkouts, 2)
        before, _, _ = await stores.terms.begin_term(ONE)
        sold = await sell(stores.terms, before, approve(code))
        term, sale, _ = await stores.terms.begin_term(ONE)
        await run_sql(postgres, "UPDATE sales SET epoch = 3, sold = sold + 1 WHERE id = 1")
        await run_sql(postgres, LATER_PURCHASE, other.checkout_id)
        assert (term.epoch, sale.sold, await stored(stores.terms, term)) == (2, 1, [brief(*sold)])
        with pytest.raises(TermEnded):
            await sell(stores.terms, term, approve(other), sold_before=1)


async def test_a_commit_is_all_or_nothing_even_against_a_bug(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(ONE)
        first, second = await issue(stores.checkouts, 1), await issue(stores.checkouts, 1, "bob")
        with pytest.raises(OutcomeUnknown, match="unique constraint"):
            await sell(stores.terms, term, approve(first), approve(second))
        (row,) = await run_sql(postgres, "SELECT sold FROM sales WHERE id = 1")
        assert row["sold"] == 0


async def test_one_code_without_its_checkout_keeps_the_whole_batch_from_being_sold(postgres: str) -> None:
    """A database that took over without the last checkouts: the leader decides again without them."""
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(ONE)
        kept, lost = approve(await issue(stores.checkouts, 1)), approve(await issue(stores.checkouts, 2, "bob"))
        await run_sql(postgres, "DELETE FROM checkouts WHERE user_id = 'bob'")
        confirmed = await stores.terms.confirm(term, 0, [kept, lost], [])
        assert (confirmed.sold, confirmed.missing) == ([], [lost])
        assert await run_sql(postgres, "SELECT FROM purchases") == []
        assert len(await sell(stores.terms, term, kept)) == 1


async def test_the_buyer_the_time_and_the_receipts_come_from_the_database(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, began_at = await stores.terms.begin_term(ONE)
        codes = [await issue(stores.checkouts, item, f"u{item}") for item in range(1, 6)]
        first = await stores.terms.confirm(term, 0, [approve(codes[n]) for n in (3, 0)], [])
        assert [p.user_id for p in first.sold] == ["u4", "u1"]
        assert first.now is not None
        assert {p.purchased_at for p in first.sold} == {first.now}
        assert first.now > began_at
        ids = [codes[n].checkout_id for n in (0, 4, 3)]
        second = await stores.terms.confirm(term, 2, [approve(codes[1])], ids)
        assert [p.user_id for p in second.sold] == ["u2"]
        assert second.receipts == [first.sold[1], first.sold[0]]
        third = await stores.terms.confirm(term, 3, [], ids)
        assert (third.sold, third.receipts) == ([], second.receipts)
        assert third.now is not None


async def test_a_batch_that_sells_nothing_writes_nothing(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(ONE)
        (before,) = await run_sql(postgres, "SELECT xmin::text FROM sales WHERE id = 1")
        await stores.terms.confirm(term, 0, [], [CheckoutId(1)])
        assert await run_sql(postgres, "SELECT xmin::text FROM sales WHERE id = 1") == [before]


async def test_a_term_of_a_sale_that_does_not_exist_does_not_begin(postgres: str) -> None:
    async with opened(postgres) as stores:
        with pytest.raises(TermEnded):
            await stores.terms.begin_term(SaleId(77))
        code = replace(await issue(stores.checkouts, 1), sale_id=SaleId(77))
        for approved in ([approve(code)], []):
            confirmed = stores.terms.confirm(Term(SaleId(77), Epoch(1), bytes(16)), 0, approved, [])
            if approved:
                assert (await confirmed).missing, "its checkout belongs to another sale"
            else:
                with pytest.raises(TermEnded):
                    await confirmed


async def test_a_term_begins_with_every_purchase_however_many_pages_they_fill(postgres: str) -> None:
    async with opened(postgres, page_rows=2) as stores:
        term, _, _ = await stores.terms.begin_term(ONE)
        codes = [await issue(stores.checkouts, item, f"u{item}") for item in range(1, 8)]
        sold = await sell(stores.terms, term, *map(approve, codes))
        latest, sale, _ = await stores.terms.begin_term(ONE)
        assert sale.sold == 7
        assert await stored(stores.terms, latest) == [brief(purchase) for purchase in sold]


@pytest.mark.parametrize(
    ("starts_in_seconds", "sold_out_ago_seconds", "needs_leader"),
    [(4, None, True), (6, None, False), (-86_400, None, True), (-86_400, 4, True), (-86_400, 6, False)],
    ids=["opens soon", "opens later", "has been open for a day", "has just sold out", "sold out a while ago"],
)
async def test_a_sale_has_a_leader_from_just_before_it_opens_until_just_after_its_end(
    postgres: str, starts_in_seconds: int, sold_out_ago_seconds: int | None, needs_leader: bool
) -> None:
    async with opened(postgres) as stores:
        await run_sql(postgres, "DELETE FROM sales WHERE id <> 1")
        await run_sql(
            postgres,
            "UPDATE sales SET starts_at = now() + $1 * interval '1 s', sold = CASE WHEN $2::int IS NULL THEN 0 "
            "ELSE stock END, sold_out_at = now() - $2 * interval '1 s'",
            starts_in_seconds,
            sold_out_ago_seconds,
        )
        assert await stores.terms.list_leadable() == ([1] if needs_leader else [])
