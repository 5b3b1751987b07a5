"""Buyers over HTTP who repeat a call until it is answered, each purchase under the same key, at the next web process.

A few give up instead, ask for their receipt in the end, buy once more with a used code, or repeat what was answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random

import trio

from drill.shelves import Shelves
from flash.testing.client import Answer, Client, ConnectionLost
from flash.testing.history import History

_PATIENCE_SECONDS = 6.0
_PAUSE_SECONDS = 0.1
_GIVES_UP = 0.03
_REPEATS = 0.03
_LOOK_SECONDS = 0.25
_USER_LIMIT_STATUS = 429
KEY = "drill-buyer-"
"""Every Idempotency-Key begins with it."""


@dataclass
class Heard(History):
    """A history that notes a contradiction as evidence and goes on."""

    contradictions: list[str] = field(default_factory=list)

    def protest(self, text: str) -> None:
        self.contradictions.append(text)


class Crowd:
    """Everybody who buys. `addresses` are those of the web processes, which keep them when they are replaced."""

    def __init__(self, addresses: Sequence[str], seed: int, buyers: int, think_seconds: float) -> None:
        self.addresses = list(addresses)
        self.heard = Heard(patience_seconds=_PATIENCE_SECONDS)
        self.shelves = Shelves(Random(f"{seed} shelves"))
        self.idle_at: list[float] = []
        """When a buyer found nothing that anybody wanted."""
        self.unanswered: list[str] = []
        """Codes whose receipt could not be asked for in the end."""
        self.missing: set[str] = set()
        """Codes that bought nothing, as their receipt said in the end."""
        self._seed, self._buyers, self._think_seconds = seed, buyers, think_seconds
        self._is_closed = False
        self._sale = trio.Event()

    async def run(self) -> None:
        """Buy until `close`, and then until every call is answered."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_at_sales)
            for number in range(self._buyers):
                nursery.start_soon(_Buyer(self, number, Random(f"{self._seed} buyer {number}")).run)

    def close(self) -> None:
        self._is_closed = True

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def think_seconds(self) -> float:
        return self._think_seconds

    def note_sale(self) -> None:
        """A purchase was acknowledged."""
        self._sale.set()
        self._sale = trio.Event()

    async def wait_sale(self, since: float, seconds: float) -> float | None:
        """When a purchase that was asked for after `since` was acknowledged; None if none is within `seconds`."""
        calls = self.heard.calls
        with trio.move_on_after(seconds):
            while True:
                sale = self._sale
                for call in reversed(calls):
                    if call.ended < since:
                        break
                    if call.kind == "purchase" and call.outcome == "ok" and call.began >= since:
                        return call.ended
                await sale.wait()
        return None

    async def ask_receipts(self) -> None:
        """Ask what became of each purchase that was never answered. Nothing is broken any more."""
        async with Client(self.addresses[0], reconnects=True) as client:
            for code in sorted(self.heard.open_codes):
                answer = await _patiently(client, f"/purchases/{code}")
                if answer is None:
                    self.unanswered.append(code)
                elif answer.status == 200:
                    receipt = {"message": "Purchase successful", **answer.json()}
                    if self.heard.sold.setdefault(code, receipt) != receipt:
                        self.heard.protest(f"a receipt says {receipt}, its buyer was told {self.heard.sold[code]}")
                elif answer.json()["code"] == "not_purchased":
                    self.missing.add(code)
                else:
                    self.heard.protest(f"the receipt of {code}: {answer.status} {answer.body!r}")

    async def _look_at_sales(self) -> None:
        turn = 0
        while not self._is_closed:
            turn += 1
            async with Client(self.addresses[turn % len(self.addresses)]) as client:
                answer = await _ask(client, "/sales")
            if answer is not None and answer.status == 200:
                for sale in answer.json()["sales"]:
                    if sale["status"] == "open":
                        self.shelves.offer(sale["id"], sale["first_item_id"], sale["stock"])
            await trio.sleep(_LOOK_SECONDS)


class _Buyer:
    def __init__(self, crowd: Crowd, number: int, random: Random) -> None:
        self._crowd, self._heard, self._random = crowd, crowd.heard, random
        self._number, self._life, self._keys = number, 0, 0
        self._clients: list[Client] = []

    @property
    def _user(self) -> str:
        return f"user-{self._number}-{self._life}"

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            for address in self._crowd.addresses:
                self._clients.append(await stack.enter_async_context(Client(address, reconnects=True)))
            while not self._crowd.is_closed:
                wanted = self._crowd.shelves.take()
                if wanted is None:
                    self._crowd.idle_at.append(trio.current_time())
                    await trio.sleep(_PAUSE_SECONDS)
                    continue
                if not await self._buy(*wanted):
                    self._crowd.shelves.put_back(*wanted)
                await trio.sleep(self._crowd.think_seconds * self._random.uniform(0.5, 1.5))

    async def _buy(self, sale_id: int, item: int) -> bool:
        """Whether the item is gone: bought by us or by somebody else."""
        while (attempt := await self._heard.attempt(self._clients[0], self._user, item)) is None:
            if self._crowd.is_closed:
                return False
            await self._turn()
        if attempt.status != 200:
            return True
        code = attempt.json()["code"]
        self._keys += 1
        key = f"{KEY}{self._number}-{self._keys}"
        while (answer := await self._heard.purchase(self._clients[0], code, key)) is None:
            if self._random.random() < _GIVES_UP:
                return False
            await self._turn()
        if answer.status == _USER_LIMIT_STATUS:
            self._life += 1
            return False
        if answer.status == 200:
            self._crowd.note_sale()
            await self._repeat(code, key)
        return True

    async def _repeat(self, code: str, key: str) -> None:
        luck = self._random.random()
        if luck < _REPEATS:
            await self._heard.purchase(self._clients[0], code, key)
        elif luck < 2 * _REPEATS:
            await self._heard.purchase(self._clients[0], code, f"{key}-again")

    async def _turn(self) -> None:
        await trio.sleep(_PAUSE_SECONDS * self._random.uniform(0.5, 1.5))
        self._clients.append(self._clients.pop(0))


async def _ask(client: Client, target: str) -> Answer | None:
    with trio.move_on_after(_PATIENCE_SECONDS):
        try:
            return await client.get(target)
        except (ConnectionLost, OSError):
            pass
    await client.aclose()
    return None


async def _patiently(client: Client, target: str) -> Answer | None:
    """The answer, asked for until there is one that is no 503; None after as long as a buyer would wait."""
    with trio.move_on_after(_PATIENCE_SECONDS):
        while True:
            answer = await _ask(client, target)
            if answer is not None and answer.status != 503:
                return answer
            await trio.sleep(_PAUSE_SECONDS)
    return None
