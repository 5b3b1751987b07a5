"""What a restore may leave in PostgreSQL that the service cannot work with."""

from __future__ import annotations

import pytest

from flash.actors.sales_view import SalesView
from flash.domain import SaleId
from flash.errors import OperatorError, OutcomeUnknown, Unavailable
from flash.stores.keys import read_secrets
from flash.stores.readiness import _RULES, COUNT_RULES, check_readiness
from tests.stores.database import opened, run_sql


@pytest.mark.parametrize("time", ["10000-01-01", "4713-01-01 BC"])
async def test_a_time_that_python_cannot_hold_is_a_failed_look_and_no_crash(postgres: str, time: str) -> None:
    async with opened(postgres) as stores:
        await run_sql(postgres, f"UPDATE sales SET starts_at = '{time}' WHERE id = 1")
        with pytest.raises(Unavailable, match="holds what cannot be read here"):
            await stores.sales.look()
        with pytest.raises(OutcomeUnknown, match="holds what cannot be read here"):
            await stores.terms.begin_term(SaleId(1))
        await run_sql(postgres, "UPDATE sales SET starts_at = '2026-01-01' WHERE id = 1")
        assert 1 in (await stores.sales.look()).sales


_NAMES = "SELECT conname FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype <> 'n'"


@pytest.mark.parametrize(
    ("table", "constraint"),
    [("purchases", "purchases_pkey"), ("purchases", "purchases_checkout_id_key"), ("sales", "sales_stock_check")],
)
async def test_tables_that_enforce_less_than_was_promised_are_not_served(
    postgres: str, table: str, constraint: str
) -> None:
    async with opened(postgres) as stores:
        await check_readiness(stores.database)
        names = await run_sql(postgres, _NAMES, table)
        assert constraint in {name for (name,) in names}
        await run_sql(postgres, f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
        with pytest.raises(OperatorError, match=f"does not enforce the rules of {table}: constraints are missing"):
            await check_readiness(stores.database)


async def test_every_constraint_of_the_schema_is_among_those_that_are_asked_for(postgres: str) -> None:
    async with opened(postgres):
        rows = await run_sql(postgres, f"SELECT * FROM ({COUNT_RULES}) AS r WHERE kind <> 'n'")
    assert {(place, kind): rules for place, kind, rules in rows} == _RULES


async def test_an_id_that_no_sequence_reaches_is_reported_and_not_drawn_to(postgres: str) -> None:
    async with opened(postgres) as stores:
        far = 10**14
        await run_sql(
            postgres, f"INSERT INTO checkouts (id, outcome) OVERRIDING SYSTEM VALUE VALUES ({far}, 'sold_out')"
        )
        with pytest.raises(OperatorError, match="100,000,000,000,000 beyond the sequence"):
            await check_readiness(stores.database)
        await run_sql(postgres, f"DELETE FROM checkouts WHERE id = {far}")
        await check_readiness(stores.database)


async def test_a_secret_of_another_length_is_not_used(postgres: str) -> None:
    async with opened(postgres) as stores:
        await read_secrets(stores.database)
        await run_sql(postgres, "UPDATE secrets SET value = '' WHERE name = 'message_key'")
        with pytest.raises(OperatorError, match="message_key has another length"):
            await read_secrets(stores.database)


async def test_a_sale_with_the_largest_id_hides_no_other(postgres: str) -> None:
    async with opened(postgres) as stores:
        await run_sql(
            postgres,
            "INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit, sold, sold_out_at)"
            " VALUES (9223372036854775807, '2020-01-01', 1000, 1, 1, 1, '2020-01-01')",
        )
        view = SalesView(stores.sales)
        await view.refresh()
        current = await view.current_sale()
        assert current is not None
        assert current.id == 1
