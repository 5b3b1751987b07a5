"""The fence and what a leader reads: a deposed leader commits nothing, a new one sees everything that was sold."""

from __future__ import annotations

from typing import Any

import pytest

from flash.domain import CheckoutId, Epoch, SaleId, Term
from flash.errors import OutcomeUnknown, TermEnded
from flash.stores import trio_asyncpg
from flash.stores.postgres import Postgres, Row, Session, open_postgres
from tests.stores.database import a_purchase, issue, opened, run_sql, stores_of

LATER_PURCHASE = "INSERT INTO purchases VALUES (1, 2, $1, 'ann', 2, 3, 'auto:later', now())"


async def test_a_deposed_leader_commits_nothing(postgres: str) -> None:
    async with opened(postgres) as stores:
        code = await issue(stores.checkouts, 1)
        old, _, _ = await stores.terms.begin_term(SaleId(1))
        new, sale, purchases = await stores.terms.begin_term(SaleId(1))
        assert new.epoch == old.epoch + 1
        with pytest.raises(TermEnded):
            await stores.terms.sell(old, [a_purchase(code, 1)])
        assert await run_sql(postgres, "SELECT FROM purchases") == []
        await stores.terms.sell(new, [a_purchase(code, 1)])
        _, sale, purchases = await stores.terms.begin_term(SaleId(1))
        assert (sale.sold, purchases) == (1, [a_purchase(code, 1)])


async def test_a_leader_deposed_while_it_reads_what_was_sold_is_not_taken_for_damaged_data(postgres: str) -> None:
    async with opened(postgres) as stores:
        code, other = await issue(stores.checkouts, 1), await issue(stores.checkouts, 2)
        before, _, _ = await stores.terms.begin_term(SaleId(1))
        await stores.terms.sell(before, [a_purchase(code, 1)])

        class Slow:
            """A database in which a later term sells between the new epoch and the purchases."""

            def __init__(self, connection: Session) -> None:
                self._connection = connection
                self.fetchrow = connection.fetchrow
                self.is_first = True

            async def fetch(self, sql: str, *args: object) -> list[Row]:
                if self.is_first:
                    self.is_first = False
                    later = await trio_asyncpg.connect(postgres, timeout_seconds=5, server_settings={})
                    await later.execute("UPDATE sales SET epoch = 3, sold = sold + 1 WHERE id = 1")
                    await later.execute(LATER_PURCHASE, other.checkout_id)
                    later.terminate()
                return await self._connection.fetch(sql, *args)

        class SlowDatabase(Postgres):
            def __init__(self, database: Postgres) -> None:
                self._database = database

            async def run(self, function: Any, *args: Any) -> Any:  # type: ignore[override]
                async def slowly(connection: Session) -> Any:
                    return await function(Slow(connection), *args)

                return await self._database.run(slowly)

        async with open_postgres(postgres, connections_max=1, timeout_seconds=5, name="slow") as database:
            slow = stores_of(SlowDatabase(database)).terms
            term, sale, purchases = await slow.begin_term(SaleId(1))
        assert (term.epoch, sale.sold, purchases) == (2, 1, [a_purchase(code, 1)])
        with pytest.raises(TermEnded):
            await stores.terms.sell(term, [a_purchase(other, 2)])


async def test_a_commit_is_all_or_nothing_even_against_a_bug(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        first, second = await issue(stores.checkouts, 1), await issue(stores.checkouts, 1, "bob")
        with pytest.raises(OutcomeUnknown, match="duplicate key value"):
            await stores.terms.sell(term, [a_purchase(first, 1), a_purchase(second, 1, "bob")])
        (row,) = await run_sql(postgres, "SELECT sold FROM sales WHERE id = 1")
        assert row["sold"] == 0


async def test_a_code_is_found_only_in_its_own_sale_and_expires_by_the_databases_clock(postgres: str) -> None:
    async with opened(postgres) as stores:
        code = await issue(stores.checkouts, 1)
        _, found = await stores.terms.find_checkouts(SaleId(1), [code.checkout_id, CheckoutId(999)])
        assert list(found) == [code.checkout_id]
        checkout = found[code.checkout_id]
        assert (checkout.secret, checkout.item_id, checkout.user_id, checkout.is_expired) == (
            code.secret,
            1,
            "ann",
            False,
        )
        assert (await stores.terms.find_checkouts(SaleId(2), [code.checkout_id]))[1] == {}
        await run_sql(postgres, "UPDATE checkouts SET attempted_at = now() - interval '1 h 1 s'")
        assert (await stores.terms.find_checkouts(SaleId(1), [code.checkout_id]))[1][code.checkout_id].is_expired
        (redemption,) = await stores.checkouts.find_redemptions([code])
        assert redemption.checkout is not None
        assert redemption.checkout.is_expired


async def test_a_term_of_a_sale_that_does_not_exist_does_not_begin(postgres: str) -> None:
    async with opened(postgres) as stores:
        with pytest.raises(TermEnded):
            await stores.terms.begin_term(SaleId(77))
        with pytest.raises(TermEnded):
            await stores.terms.sell(Term(SaleId(77), Epoch(1)), [a_purchase(await issue(stores.checkouts, 1), 1)])


async def test_a_term_begins_with_every_purchase_however_many_pages_they_fill(postgres: str) -> None:
    async with opened(postgres, page_rows=2) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        sold = [a_purchase(await issue(stores.checkouts, item, f"u{item}"), item, f"u{item}") for item in range(1, 8)]
        await stores.terms.sell(term, sold)
        _, sale, purchases = await stores.terms.begin_term(SaleId(1))
        assert sale.sold == 7
        assert purchases == sold


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
