"""Looks into the database while things break: at every moment, what is sold is what is stored, and never too much."""

from __future__ import annotations

import trio

from flash import bridge
from flash.errors import Unavailable
from flash.stores.drivers import connect
from flash.stores.postgres_errors import StatementError

EVERY_SECONDS = 1.0
_CONNECT_SECONDS = 2.0
_SQL = """
SELECT s.id, s.stock, s.sold, count(p.item_id) AS purchases
FROM sales s LEFT JOIN purchases p ON p.sale_id = s.id GROUP BY s.id
HAVING s.sold > s.stock OR s.sold <> count(p.item_id)
"""


class Sampler:
    """`taken` looks found an answer; `wrong` says what they found."""

    def __init__(self, database_url: str) -> None:
        self.taken = 0
        self.wrong: list[str] = []
        self._url = database_url

    async def run(self) -> None:
        """Look until cancelled. A database that is away is no finding here."""
        async with bridge.open_loop():
            while True:
                try:
                    self.wrong += await bridge.call_asyncio(_look, self._url)
                    self.taken += 1
                except (Unavailable, StatementError, OSError, TimeoutError):
                    pass
                await trio.sleep(EVERY_SECONDS)


async def _look(url: str) -> list[str]:
    connection = await connect(url, timeout=_CONNECT_SECONDS, command_timeout=_CONNECT_SECONDS)
    try:
        return [f"at one moment: {dict(row)}" for row in await connection.fetch(_SQL)]
    finally:
        connection.terminate()
