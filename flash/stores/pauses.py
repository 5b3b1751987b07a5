"""The SQL with which an operator pauses a sale and resumes it.

A pause holds the sale's row until it is committed, and so does every statement that sells: what was sold before is
counted in `paused_sold`, and nothing is sold after it. Both are recorded with who did it, when and why; the row of the
sale says how it is now.
"""

from __future__ import annotations

from collections.abc import Collection

from flash.domain import Pause, RecordedPause, SaleId
from flash.stores.postgres import Postgres, Session

# Two statements, so that the time is read when nobody can sell any more: purchases of before have an earlier one.
LOCK_SALE = "SELECT sold, paused_by, paused_at FROM sales WHERE id = $1 FOR UPDATE"
PAUSE = """
UPDATE sales SET paused_at = clock_timestamp(), paused_by = $2, paused_sold = sold WHERE id = $1
RETURNING paused_by, paused_at
"""
RESUME = """
UPDATE sales SET paused_at = NULL, paused_by = NULL, paused_sold = NULL WHERE id = $1 RETURNING clock_timestamp()
"""
LIST = "SELECT id, paused_by, paused_at FROM sales WHERE id = ANY($1) AND paused_at IS NOT NULL"
RECORD = "INSERT INTO sale_pauses (sale_id, action, at, by, reason, sold) VALUES ($1, $2, $3, $4, $5, $6)"
RECORDED = "SELECT sale_id, action, at, by, reason, sold FROM sale_pauses ORDER BY id DESC LIMIT $1"


class Pauses:
    """Repeating a pause or its end changes and records nothing. All raise `Unavailable`; those two `OutcomeUnknown`."""

    def __init__(self, database: Postgres) -> None:
        self._database = database

    async def pause(self, sale_id: SaleId, by: str, reason: str) -> Pause | None:
        """Sell nothing of the sale from now on. The pause that is in force; None if there is no such sale."""
        return await self._database.run(_pause, sale_id, by, reason)

    async def resume(self, sale_id: SaleId, by: str, reason: str) -> bool:
        """Sell again. Returns whether there is such a sale."""
        return await self._database.run(_resume, sale_id, by, reason)

    async def list_paused(self, sale_ids: Collection[SaleId]) -> dict[SaleId, Pause]:
        """Those of the sales that are paused now."""
        rows = await self._database.fetch(LIST, list(sale_ids))
        return {SaleId(row["id"]): Pause(row["paused_by"], row["paused_at"]) for row in rows}

    async def recorded(self, limit: int) -> list[RecordedPause]:
        """The latest pauses and their ends, newest first."""
        return [RecordedPause(*row) for row in await self._database.fetch(RECORDED, limit)]


async def _pause(session: Session, sale_id: SaleId, by: str, reason: str) -> Pause | None:
    async with session.transaction():
        sale = await session.fetchrow(LOCK_SALE, sale_id)
        if sale is None:
            return None
        if sale["paused_at"] is None:
            sold = sale["sold"]
            sale = await session.fetchrow(PAUSE, sale_id, by)
            assert sale is not None
            await session.execute(RECORD, sale_id, "pause", sale["paused_at"], by, reason, sold)
        return Pause(sale["paused_by"], sale["paused_at"])


async def _resume(session: Session, sale_id: SaleId, by: str, reason: str) -> bool:
    async with session.transaction():
        sale = await session.fetchrow(LOCK_SALE, sale_id)
        if sale is not None and sale["paused_at"] is not None:
            at = await session.fetchval(RESUME, sale_id)
            await session.execute(RECORD, sale_id, "resume", at, by, reason, sale["sold"])
        return sale is not None
