"""A log of what buyers were told, and the checks that compare it with the database.

A `Crowd` buys a whole sale while a test does whatever it likes to the cluster.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg
import trio

from flash import bridge
from flash.audit import audit
from flash.codes import CodeKeys, Codes
from flash.testing.client import Answer, Client, ConnectionLost


@dataclass
class History:
    """Every answer that a client received. A call without an answer, or with a 503, may have taken effect."""

    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Checkout attempts answered, by user and outcome."""
    codes: set[str] = field(default_factory=set)
    sold: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Receipts received with a 200, by code."""
    refused: Counter[str] = field(default_factory=Counter)
    sold_out_heard: bool = False
    unknown: int = 0
    paused: int = 0
    """Purchases that were refused because the sale was paused."""
    open_codes: set[str] = field(default_factory=set)
    """Codes whose last purchase call has no answer yet: they may or may not have bought."""
    lost: int = 0
    """Requests that were sent and never answered."""

    async def attempt(self, client: Client, user: str, item: int) -> Answer | None:
        """One checkout attempt; the answer, or None if the outcome is unknown."""
        answer = await self._post(client, f"/checkout?user_id={user}&id={item}")
        if answer is None or answer.status == 503:
            return None
        if answer.status == 200:
            code: str = answer.json()["code"]
            assert code not in self.codes, "one code was issued twice"
            self.codes.add(code)
            self.attempts[user, "issued"] += 1
        else:
            self._refuse(answer)
            self.attempts[user, answer.json()["code"]] += 1
        return answer

    async def checkout(self, client: Client, user: str, item: int) -> str | None:
        """One attempt; the code, or None."""
        answer = await self.attempt(client, user, item)
        return answer.json()["code"] if answer is not None and answer.status == 200 else None

    async def purchase(self, client: Client, code: str, key: str | None = None) -> Answer | None:
        """One purchase; the answer, or None if the outcome is unknown."""
        headers = [(b"idempotency-key", key.encode())] if key else []
        self.open_codes.add(code)
        answer = await self._post(client, f"/purchase?code={code}", headers)
        if answer is None or answer.status == 503:
            self.unknown += 1
            return None
        if answer.json().get("code") != "code_already_used":  # another call with this code may have bought
            self.open_codes.discard(code)
        if answer.status == 200:
            receipt = answer.json()
            assert self.sold.setdefault(code, receipt) == receipt, "one purchase was reported in two ways"
        else:
            self._refuse(answer)
        return answer

    async def _post(
        self, client: Client, target: str, headers: list[tuple[bytes, bytes]] | None = None
    ) -> Answer | None:
        try:
            answer = await client.post(target, headers or [])
        except ConnectionLost:
            self.lost += 1
            return None
        except OSError:  # never sent: nobody is listening
            return None
        if answer.status == 503:
            assert answer.header(b"retry-after") is not None
            code = answer.json()["code"]
            assert code in ("overloaded", "unavailable", "outcome_unknown", "paused")
            self.paused += code == "paused"
        return answer

    def _refuse(self, answer: Answer) -> None:
        assert answer.status != 500, answer.body
        self.refused[answer.json()["code"]] += 1
        self.sold_out_heard |= answer.status == 410


class Crowd:
    """Buyers who want every item of sale 1, two of them for each item. They repeat a call until it is answered.

    A repeated purchase carries the same Idempotency-Key and goes to the next of `addresses`.
    """

    def __init__(self, addresses: Sequence[str], size: int, *, buyers: int = 24, think_seconds: float = 0.03) -> None:
        self.history = History()
        self.size = size
        self.buyers = buyers
        self.addresses = addresses
        self._think_seconds = think_seconds
        wanted = [*range(1, size + 1)] * 2
        Random(size).shuffle(wanted)
        self._wanted = deque(wanted)
        self._keys = 0
        self._more = trio.Event()

    @property
    def sold(self) -> int:
        """How many purchases were acknowledged."""
        return len(self.history.sold)

    async def run(self) -> None:
        """Buy until every call is answered, which sells out the sale."""
        async with trio.open_nursery() as nursery:
            for number in range(self.buyers):
                nursery.start_soon(self._buy, number)

    async def wait_sold(self, count: int, *, seconds: float = 30.0) -> None:
        """Wait until at least `count` purchases are acknowledged."""
        with trio.move_on_after(seconds):
            while self.sold < count:
                await self._more.wait()
            return
        raise AssertionError(f"{self.sold} of {count} purchases were acknowledged within {seconds} s")

    async def wait_fresh_sales(self, *, seconds: float) -> None:
        """Wait for more purchases than can be in flight now, so that some began after this call."""
        await self.wait_sold(min(self.sold + self.buyers + 1, self.size), seconds=seconds)

    async def _buy(self, number: int) -> None:
        bought = 0
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(address, reconnects=True)) for address in self.addresses]
            clients = clients[number % len(clients) :] + clients[: number % len(clients)]
            while self._wanted:
                bought += await self._buy_item(clients, f"user-{number}-{bought // 10}", self._wanted.popleft())
                await trio.sleep(self._think_seconds)

    async def _buy_item(self, clients: list[Client], user: str, item: int) -> bool:
        while (recorded := await self.history.attempt(clients[0], user, item)) is None:
            await self._turn(clients)
        if recorded.status != 200:
            return False
        code = recorded.json()["code"]
        self._keys += 1
        key = f"crowd-{self._keys}"
        while (answer := await self.history.purchase(clients[0], code, key)) is None:
            await self._turn(clients)
        assert answer.status in (200, 409, 410), answer.body
        self._more.set()
        self._more = trio.Event()
        return answer.status == 200

    async def _turn(self, clients: list[Client]) -> None:
        await trio.sleep(0.1)
        clients.append(clients.pop(0))


async def rows(database_url: str, sql: str) -> list[tuple[Any, ...]]:
    """The rows that `sql` selects."""

    async def fetch() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(database_url, ssl=False)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async with bridge.open_loop():
        return await bridge.call_asyncio(fetch)


async def verify(history: History, database_url: str, *, sold_out: bool) -> None:
    """Check `history` against the database: nothing acknowledged is missing, nothing is there that nobody asked for.

    `sold_out`: there was enough demand, so sale 1 must have sold all its items.
    """
    async with bridge.open_loop():
        await bridge.call_asyncio(_verify, history, database_url, sold_out)


async def _verify(history: History, database_url: str, sold_out: bool) -> None:
    connection = await asyncpg.connect(database_url, ssl=False)
    try:
        report = await audit(connection)
        assert report.is_clean, report
        codes = Codes(CodeKeys({1: await connection.fetchval("SELECT value FROM code_keys")}, 1))
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
            assert code.checkout_id in issued, "a code was handed out but has no row"
        in_doubt = {codes.open(text) for text in history.open_codes}
        asked = {code.checkout_id for code in heard.keys() | in_doubt if code is not None}
        assert purchases.keys() <= asked, (
            "something was sold that nobody asked for, or whose buyer was told something else"
        )
        rows = await connection.fetch(
            "SELECT coalesce(user_id, '') AS user_id, outcome, count(*) AS n FROM checkouts GROUP BY 1, 2"
        )
        recorded = Counter({(row["user_id"], row["outcome"]): row["n"] for row in rows})
        missing = history.attempts - recorded
        assert not missing, f"attempts were answered but not recorded: {missing}"
        left = await connection.fetchval("SELECT stock - sold FROM sales WHERE id = 1")
        if sold_out or history.sold_out_heard:
            assert left == 0, f"{left} items are left"
    finally:
        await connection.close()
