"""What buyers were told, and whether it was true: the log of a test's calls and the checks of it on the database."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from flash import bridge
from flash.audit import audit
from flash.codes import Codes
from tests.client import Answer, Client, ConnectionLost


@dataclass
class History:
    """Every answer heard. Calls without an answer, and 503s, are unknown: they may have happened or not."""

    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Checkout attempts answered, by user and outcome."""
    codes: set[str] = field(default_factory=set)
    sold: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Receipts heard with a 200, by code."""
    refused: Counter[str] = field(default_factory=Counter)
    sold_out_heard: bool = False
    unknown: int = 0

    async def checkout(self, client: Client, user: str, item: int) -> str | None:
        """One attempt; the code, or None."""
        answer = await self._post(client, f"/checkout?user_id={user}&id={item}")
        if answer is None or answer.status == 503:
            return None
        if answer.status == 200:
            code: str = answer.json()["code"]
            assert code not in self.codes, "one code was issued twice"
            self.codes.add(code)
            self.attempts[user, "issued"] += 1
            return code
        self._refuse(answer)
        self.attempts[user, answer.json()["code"]] += 1
        return None

    async def purchase(self, client: Client, code: str, key: str | None = None) -> Answer | None:
        """One purchase; the answer, or None if the outcome is unknown."""
        headers = [(b"idempotency-key", key.encode())] if key else []
        answer = await self._post(client, f"/purchase?code={code}", headers)
        if answer is None or answer.status == 503:
            self.unknown += 1
            return None
        if answer.status == 200:
            receipt = answer.json()
            assert self.sold.setdefault(code, receipt) == receipt, "one purchase was told in two ways"
        else:
            self._refuse(answer)
        return answer

    async def _post(self, client: Client, target: str, headers: list[tuple[bytes, bytes]] | None = None) -> Answer | None:
        try:
            return await client.post(target, headers or [])
        except (ConnectionLost, OSError):
            return None

    def _refuse(self, answer: Answer) -> None:
        assert answer.status != 500, answer.body
        self.refused[answer.json()["code"]] += 1
        self.sold_out_heard |= answer.status == 410


async def verify(history: History, database_url: str, *, sold_out: bool) -> None:
    """Check `history` against the database: nothing that was heard is missing, nothing is there that was not asked.

    `sold_out`: demand was enough for sale 1 to sell all its items, and it must have.
    """
    async with bridge.open_loop():
        await bridge.cross(_verify, history, database_url, sold_out)


async def _verify(history: History, database_url: str, sold_out: bool) -> None:
    connection = await asyncpg.connect(database_url, ssl=False)
    try:
        report = await audit(connection)
        assert report.is_clean, report
        codes = Codes(await connection.fetchval("SELECT value FROM secrets WHERE name = 'code_key'"))
        purchases = {row["checkout_id"]: row for row in await connection.fetch("SELECT * FROM purchases")}
        heard = {codes.open(code): receipt for code, receipt in history.sold.items()}
        for code, receipt in heard.items():
            assert code is not None
            row = purchases.get(code.checkout_id)
            assert row is not None, f"an acknowledged purchase is missing: {receipt}"
            told = (receipt["item"]["id"], receipt["sale_id"], receipt["user_id"])
            assert told == (row["item_id"], row["sale_id"], row["user_id"])
        issued = {row["id"] for row in await connection.fetch("SELECT id FROM checkouts WHERE outcome = 'issued'")}
        for text in history.codes:
            code = codes.open(text)
            assert code is not None
            assert code.checkout_id in issued, "a code that was handed out has no row"
        assert len(purchases) <= len(heard) + history.unknown, "something was sold that nobody asked for"
        rows = await connection.fetch(
            "SELECT coalesce(user_id, '') AS user_id, outcome, count(*) AS n FROM checkouts GROUP BY 1, 2"
        )
        recorded = Counter({(row["user_id"], row["outcome"]): row["n"] for row in rows})
        missing = history.attempts - recorded
        assert not missing, f"attempts were answered and not recorded: {missing}"
        stock, sold = await connection.fetchrow("SELECT stock, sold FROM sales WHERE id = 1")
        if sold_out or history.sold_out_heard:
            assert sold == stock, f"{sold} of {stock} sold"
    finally:
        await connection.close()
