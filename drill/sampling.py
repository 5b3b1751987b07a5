"""Looks into the database while things break: at every moment, what is sold is what is stored, and never too much."""

from __future__ import annotations

from dataclasses import dataclass

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
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look found of one sale, by one statement. Times are Trio's; `purchases` counts rows."""

    began: float
    ended: float
    sale_id: int
    stock: int
    sold: int
    purchases: int


class Sampler:
    """`taken` looks found an answer, `samples` are what they found, `wrong` what of it contradicts the promises."""

    def __init__(self, database_url: str) -> None:
        self.taken = 0
        self.samples: list[Sample] = []
        self.wrong: list[str] = []
        self._url = database_url

    async def run(self) -> None:
        """Look until cancelled. A database that is away is no finding here."""
        async with bridge.open_loop():
            while True:
                try:
                    began = trio.current_time()
                    self._note(began, await bridge.call_asyncio(_look, self._url))
                except (Unavailable, StatementError, OSError, TimeoutError):
                    pass
                await trio.sleep(EVERY_SECONDS)

    def _note(self, began: float, found: list[tuple[int, int, int, int]]) -> None:
        self.taken += 1
        samples = [Sample(began, trio.current_time(), *row) for row in found]
        self.samples += samples
        self.wrong += [f"{one}" for one in samples if one.sold > one.stock or one.sold != one.purchases]


async def _look(url: str) -> list[tuple[int, int, int, int]]:
    connection = await connect(url, timeout=_CONNECT_SECONDS, command_timeout=_CONNECT_SECONDS)
    try:
        return [(row[0], row[1], row[2], row[3]) for row in await connection.fetch(_SQL)]
    finally:
        connection.terminate()
