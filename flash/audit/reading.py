"""Reads one snapshot and runs the checks on it. The only file of the audit that knows asyncpg.

Everything is read in one read-only transaction, so an audit may run beside a live service and changes nothing.
"""

from __future__ import annotations

from collections import defaultdict

import asyncpg

from flash import bridge
from flash.audit.checks import CHECKS, Check
from flash.audit.report import CheckResult, Report, SaleSummary
from flash.config import mask
from flash.errors import OperatorError, Unavailable, reason_of
from flash.stores.drivers import connect

ROWS_MAX = 20
"""How many offending rows of one check are shown; all of them are counted."""


async def read(url: str, sale_id: int | None) -> Report:
    """Connect to `url` and audit it.

    Raises `OperatorError` if the database cannot be reached, lacks the tables or breaks off.
    """
    return await bridge.call_asyncio(_connect_and_audit, url, sale_id)


async def _connect_and_audit(url: str, sale_id: int | None) -> Report:
    try:
        connection = await connect(url, **CONNECTION_OPTIONS)
    except Unavailable as error:
        raise OperatorError(f"{mask(url)}: {error}") from error
    try:
        return await audit(connection, sale_id)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        message = f"the database at {mask(url)} does not have this version's tables ({error}): run `flash migrate`"
        raise OperatorError(message) from error
    except OverflowError as error:
        message = f"{mask(url)} holds a time before the year 1 or after 9999, which no row of this service has: {error}"
        raise OperatorError(message) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise OperatorError(f"the audit of {mask(url)} could not be finished: {reason_of(error)}") from error
    finally:
        connection.terminate()


async def audit(connection: asyncpg.Connection[asyncpg.Record], sale_id: int | None = None) -> Report:
    """Read and judge one snapshot of all sales, or of `sale_id` alone. Call it on the asyncio side of the bridge."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        taken_at = await connection.fetchval("SELECT now()")
        attempts: dict[int | None, dict[str, int]] = defaultdict(dict)
        for row in await connection.fetch(ATTEMPTS, sale_id):
            attempts[row["sale_id"]][row["outcome"]] = row["attempts"]
        return Report(
            taken_at,
            tuple(SaleSummary(**row, attempts=attempts[row["id"]]) for row in await connection.fetch(SALES, sale_id)),
            attempts[None],
            tuple([await _run(connection, check, sale_id) for check in CHECKS]),
        )


async def _run(connection: asyncpg.Connection[asyncpg.Record], check: Check, sale_id: int | None) -> CheckResult:
    rows = [dict(row) for row in await connection.fetch(_FIRST_ROWS.format(check.sql), sale_id)]
    broken = max((row.pop("broken") for row in rows), default=0)
    return CheckResult(check.name, check.promise, broken, tuple(rows))


CONNECTION_OPTIONS = {
    "timeout": 10.0,
    "command_timeout": 660.0,
    "server_settings": {
        "application_name": "flash audit",
        "statement_timeout": "600s",
        "lock_timeout": "60s",
        "idle_in_transaction_session_timeout": "60s",
        "work_mem": "64MB",
        "jit": "off",
    },
}
"""More patient than the service: the checks sort a million purchases several times."""


SALES = """
WITH buyer AS (
    SELECT sale_id, user_id, count(*) AS bought FROM purchases
    WHERE $1::bigint IS NULL OR sale_id = $1 GROUP BY sale_id, user_id
), total AS (
    SELECT sale_id, sum(bought)::bigint AS purchases, count(*) AS buyers, max(bought) AS most
    FROM buyer GROUP BY sale_id
)
SELECT s.id, s.starts_at, s.first_item_id, s.stock, s.user_limit, s.sold, coalesce(t.purchases, 0) AS purchases,
       coalesce(t.buyers, 0) AS buyers, coalesce(t.most, 0) AS most_by_one_user, s.epoch, s.sold_out_at
FROM sales s LEFT JOIN total t ON t.sale_id = s.id
WHERE $1::bigint IS NULL OR s.id = $1
ORDER BY s.starts_at, s.id
"""

# An attempt on a sale that was withdrawn before it opened counts as an attempt on no sale.
ATTEMPTS = """
SELECT s.id AS sale_id, a.outcome, sum(a.attempts)::bigint AS attempts
FROM (SELECT sale_id, outcome, count(*) AS attempts FROM checkouts
      WHERE $1::bigint IS NULL OR sale_id = $1 GROUP BY sale_id, outcome) a
LEFT JOIN (SELECT DISTINCT id FROM sales) s ON s.id = a.sale_id
GROUP BY s.id, a.outcome ORDER BY s.id, a.outcome
"""

_FIRST_ROWS = f"SELECT *, count(*) OVER () AS broken FROM ({{}}) AS offender ORDER BY 1, 2 LIMIT {ROWS_MAX}"
