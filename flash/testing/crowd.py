"""Buyers who buy the whole of sale 1 while a test does whatever it likes to the cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from random import Random

import trio

from flash.testing.client import Client
from flash.testing.history import History


class Crowd:
    """Buyers who want every item of sale 1, two of them for each item. They repeat a call until it is answered.

    `finals` are the statuses that a purchase may end with. A repeated one carries the same Idempotency-Key and goes to
    the next of `addresses`.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        size: int,
        *,
        buyers: int = 24,
        think_seconds: float = 0.03,
        finals: Collection[int] = (200, 409, 410),
    ) -> None:
        self.history = History()
        self.size = size
        self.buyers = buyers
        self.addresses = addresses
        self._think_seconds = think_seconds
        self._finals = finals
        wanted = [*range(1, size + 1)] * 2
        Random(size).shuffle(wanted)
        self._wanted = deque(wanted)
        self._keys = 0
        self._more = trio.Event()

    @property
    def sold(self) -> int:
        """How many purchases were acknowledged."""
        return len(self.history.sold)

    def want_all_again(self) -> None:
        """Somebody wants each item once more: some were sold, and their sales are lost."""
        self._wanted.extend(range(1, self.size + 1))

    async def run(self) -> None:
        """Buy until every call is answered, which sells out the sale."""
        async with trio.open_nursery() as nursery:
            for number in range(self.buyers):
                nursery.start_soon(self._buy, number)

    def close(self) -> None:
        """Want nothing more: `run` ends as soon as every call that was made is answered."""
        self._wanted.clear()

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
        assert answer.status in self._finals, answer.body
        self._more.set()
        self._more = trio.Event()
        return answer.status == 200

    async def _turn(self, clients: list[Client]) -> None:
        await trio.sleep(0.1)
        clients.append(clients.pop(0))
