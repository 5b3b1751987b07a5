"""The SQL that makes sales, one for each period by the database's clock. Opening one takes no statement at all."""

from __future__ import annotations

from flash.domain import SaleId
from flash.stores.postgres import Postgres, Session

_SCHEDULE_LOCK = 0x666C6174
"""The advisory lock held while sales are made. `stores.migration` uses the number before it."""

_KEEP_SECONDS = 10.0
"""A prepared sale that opens sooner than this is kept, whatever the settings say now."""

# A prepared sale that was made with other settings makes way for one with the present ones.
DISCARD_OUTDATED = """
DELETE FROM sales WHERE starts_at > now() + $4 * interval '1 s' AND epoch = 0 AND sold = 0
AND (stock <> $2 OR user_limit <> $3 OR extract(epoch FROM starts_at)::bigint % $1 <> 0)
"""

PREPARE_SALE = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit)
SELECT coalesce(max(id), 0) + 1,
       to_timestamp((floor(extract(epoch FROM now()) / $1) + $4) * $1),
       coalesce(max(first_item_id + stock), 1), $2, $3
FROM sales
ON CONFLICT (starts_at) DO NOTHING
RETURNING id
"""

NEXT_BOUNDARY = """
SELECT ((floor(extract(epoch FROM now()) / $1) + 1) * $1 - extract(epoch FROM clock_timestamp()))::float8
"""


class SaleSchedule:
    """Makes the current sale and the next one."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]:
        """Make sure that the current period's sale and the next one exist.

        Returns the sales that were made and the seconds until the next boundary. Raises `Unavailable` or
        `OutcomeUnknown`.
        """
        return await self._database.run(_prepare_sales, period_seconds, size, user_limit)


async def _prepare_sales(
    session: Session, period_seconds: int, size: int, user_limit: int
) -> tuple[list[SaleId], float]:
    made: list[SaleId] = []
    async with session.transaction():
        # ids and item ranges follow from the largest ones, so only one process at a time may look and insert
        await session.execute("SELECT pg_advisory_xact_lock($1)", _SCHEDULE_LOCK)
        await session.execute(DISCARD_OUTDATED, period_seconds, size, user_limit, _KEEP_SECONDS)
        for periods_ahead in (0, 1):
            rows = await session.fetch(PREPARE_SALE, period_seconds, size, user_limit, periods_ahead)
            made += [row["id"] for row in rows]
        seconds: float = await session.fetchval(NEXT_BOUNDARY, period_seconds)
    return made, seconds
