"""What PostgreSQL may do that nobody expects: each costs its own batch, is logged loudly, and ends no process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trio

from flash.actors.batcher import Batcher
from flash.domain import SaleId
from flash.errors import FlashError, OutcomeUnknown, Unavailable
from flash.local.embedded import EmbeddedPostgres
from flash.stores import postgres_errors as module
from flash.stores.migration import migrate
from flash.stores.postgres import Session, open_postgres
from flash.stores.postgres_errors import PermissionDenied, StatementError
from flash.testing.stores import psql
from tests.codes import approve
from tests.stores.database import an_attempt, issue, opened, run_sql, sell, stores_of


@pytest.fixture(autouse=True)
def unthrottled() -> None:
    """What an earlier test has logged must not silence this one."""
    module._loudly.clear()


@pytest.fixture
def service_role(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A role that may log in and nothing else. Ask for it before a database: that goes first."""
    psql(postgres_server, "CREATE ROLE flash_surprised LOGIN")
    yield "flash_surprised"
    psql(postgres_server, "DROP ROLE flash_surprised")


SURPRISES = {
    "23505 a key that exists already, although no id is drawn twice": (
        "CREATE UNIQUE INDEX one_each ON checkouts (outcome) WHERE id >= 9",
        "DROP INDEX one_each",
    ),
    "42P01 a table that is gone": (
        "ALTER TABLE checkouts RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO checkouts",
    ),
    "42703 a column that is gone": (
        "ALTER TABLE sales RENAME stock TO amount",
        "ALTER TABLE sales RENAME amount TO stock",
    ),
    "42P01 an index's sequence that is gone": (
        "ALTER SEQUENCE checkouts_id_seq RENAME TO elsewhere",
        "ALTER SEQUENCE elsewhere RENAME TO checkouts_id_seq",
    ),
}


@pytest.mark.parametrize("surprise", SURPRISES)
async def test_a_surprise_is_the_unknown_outcome_of_its_own_batch(
    postgres: str, surprise: str, caplog: pytest.LogCaptureFixture
) -> None:
    sqlstate, (breaks, repairs) = surprise[:5], SURPRISES[surprise]
    async with opened(postgres) as stores:
        for _ in range(9):
            await issue(stores.checkouts, 1)
        await run_sql(postgres, breaks)
        for _ in range(2):
            with pytest.raises(OutcomeUnknown, match="PostgreSQL failed"):
                await stores.checkouts.record_attempts([an_attempt(1)])
        await run_sql(postgres, repairs)
        await issue(stores.checkouts, 1, "bob")
    loud = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(loud) == 1, "throttled"
    assert f"({sqlstate})" in loud[0]


@pytest.mark.parametrize("sql", ["DISCARD ALL", "DEALLOCATE ALL"])
async def test_a_session_that_was_reset_meanwhile_costs_one_batch(postgres: str, sql: str) -> None:
    """As a pooler in between may do it: 26000 on every statement that asyncpg believes to be prepared."""

    async def reset(session: Session) -> None:
        await session.execute(sql)

    async with (
        opened(postgres) as stores,
        open_postgres(postgres, connections_max=1, timeout_seconds=5, name="test") as database,
    ):
        reset_stores = stores_of(database)
        await issue(reset_stores.checkouts, 1)
        await database.run(reset)
        with pytest.raises(OutcomeUnknown, match=r"prepared statement .* does not exist"):
            await reset_stores.checkouts.record_attempts([an_attempt(1)])
        await issue(reset_stores.checkouts, 1, "bob")
        assert await stores.sales.find_sale(SaleId(1)) is not None


async def test_a_right_that_was_revoked_costs_batches_and_reads_until_it_is_granted_again(
    service_role: str, postgres: str
) -> None:
    async with opened(postgres) as stores:
        await migrate(postgres, grant_to=service_role)
        url = postgres.replace("flash@", f"{service_role}@")
        async with open_postgres(url, connections_max=2, timeout_seconds=5, name="test") as database:
            ours = stores_of(database)
            code = await issue(ours.checkouts, 1)
            await run_sql(postgres, f"REVOKE ALL ON checkouts, sales, purchases FROM {service_role}")
            with pytest.raises(OutcomeUnknown, match="permission denied"):
                await ours.checkouts.record_attempts([an_attempt(1)])
            with pytest.raises(Unavailable, match="permission denied"):
                await ours.sales.find_sale(SaleId(1))
            with pytest.raises(OutcomeUnknown, match="permission denied"):
                await ours.terms.begin_term(SaleId(1))
            await migrate(postgres, grant_to=service_role)
            term, _, _ = await ours.terms.begin_term(SaleId(1))
            await sell(ours.terms, term, approve(code))
        assert await stores.sales.find_sale(SaleId(1)) is not None


async def test_whoever_administers_sees_what_postgresql_said(postgres: str) -> None:
    async def ask(session: Session, sql: str) -> None:
        await session.execute(sql)

    async with opened(postgres) as stores:
        for sql, error in (
            ("SELECT 1 / 0", StatementError),
            ("SELECT nonsense", StatementError),
            ("SET ROLE pg_nobody", StatementError),
            ("BEGIN READ ONLY; UPDATE sales SET epoch = 0", Unavailable),
            ("SELECT pg_terminate_backend(pg_backend_pid())", OutcomeUnknown),
        ):
            with pytest.raises(error):
                await stores.database.administer(ask, sql)
        assert issubclass(PermissionDenied, StatementError)
        with pytest.raises(OutcomeUnknown, match="division by zero"):
            await stores.database.run(ask, "SELECT 1 / 0")


async def test_our_own_bugs_are_not_taken_for_surprises(postgres: str) -> None:
    async def buggy(session: Session, error: Exception) -> None:
        raise error

    async with opened(postgres) as stores:
        for error in (AssertionError("bug"), TypeError("bug"), KeyError("bug")):
            with pytest.raises(type(error), match="bug"):
                await stores.database.run(buggy, error)


async def test_a_batcher_goes_on_after_a_surprise(postgres: str) -> None:
    async with opened(postgres) as stores:
        batcher = Batcher("checkouts", stores.checkouts.record_attempts, waiting_max=9, batch_max=9, workers=1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(batcher.run)
            await run_sql(postgres, "ALTER TABLE checkouts RENAME TO elsewhere")
            with pytest.raises(FlashError):
                await batcher.ask(an_attempt(1))
            await run_sql(postgres, "ALTER TABLE elsewhere RENAME TO checkouts")
            assert (await batcher.ask(an_attempt(1))).code is not None
            nursery.cancel_scope.cancel()
