"""What the database holds in the end, as plain values: the truth that a history is compared with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flash import bridge
from flash.audit import audit
from flash.audit.report import Report
from flash.codes import CodeKeys, Codes
from flash.domain import Code
from flash.stores.drivers import connect


@dataclass(frozen=True, slots=True)
class PurchaseRow:
    """One row of `purchases`."""

    checkout_id: int
    sale_id: int
    item_id: int
    user_id: str
    epoch: int
    request_id: str
    purchased_at: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """`purchases` by checkout id; `attempts` counts rows of `checkouts` by user and outcome."""

    report: Report
    codes: Codes
    purchases: dict[int, PurchaseRow]
    issued: set[int]
    attempts: Counter[tuple[str, str]]

    def open(self, text: str) -> Code:
        """What a code says that the service has handed out."""
        code = self.codes.open(text)
        assert isinstance(code, Code), f"no code of this database: {text}"
        return code

    def purchase_of(self, text: str) -> PurchaseRow | None:
        """What this code has bought."""
        return self.purchases.get(self.open(text).checkout_id)


async def read_stored(database_url: str) -> Stored:
    """Everything, once nobody writes any more. The database has the one key of codes that it began with."""
    async with bridge.open_loop():
        return await bridge.call_asyncio(_read, database_url)


async def rows(database_url: str, sql: str) -> list[tuple[Any, ...]]:
    """The rows that `sql` selects."""
    async with bridge.open_loop():
        return await bridge.call_asyncio(_fetch, database_url, sql)


async def _fetch(database_url: str, sql: str) -> list[tuple[Any, ...]]:
    connection = await connect(database_url)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def _read(database_url: str) -> Stored:
    connection = await connect(database_url)
    try:
        purchases = [PurchaseRow(*row) for row in await connection.fetch(_PURCHASES)]
        return Stored(
            await audit(connection),
            Codes(CodeKeys({1: await connection.fetchval("SELECT value FROM code_keys")}, 1)),
            {row.checkout_id: row for row in purchases},
            {row["id"] for row in await connection.fetch("SELECT id FROM checkouts WHERE outcome = 'issued'")},
            Counter({(row["user_id"], row["outcome"]): row["n"] for row in await connection.fetch(_ATTEMPTS)}),
        )
    finally:
        await connection.close()


_PURCHASES = "SELECT checkout_id, sale_id, item_id, user_id, epoch, request_id, purchased_at FROM purchases"
_ATTEMPTS = "SELECT coalesce(user_id, '') AS user_id, outcome, count(*) AS n FROM checkouts GROUP BY 1, 2"
