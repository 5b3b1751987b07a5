"""People: they check out, buy, repeat what was not answered, send things twice, leave, and ask for their receipts."""

from __future__ import annotations

from random import Random
from typing import Protocol

import trio

from flash.domain import ItemId, UserId
from flash.http.message import Request, Response
from tests.simulation.history import MAYBE, NOTHING_STARTED, Call, History

_CLIENT_SECONDS = 20.0
_TRIES = 12


class Site(Protocol):
    """Where buyers send their requests."""

    async def ask(self, which: int, request: Request) -> tuple[str, Response | None]:
        """The name of the web process that was asked, and its answer, or None if the connection broke."""
        ...

    def on_offer(self) -> tuple[list[ItemId], list[ItemId]]:
        """The unsold items of the sales that have begun and are not sold out, and all their items."""
        ...


class Buyer:
    """Wants as much as it may have, until nothing is on offer."""

    def __init__(self, user: str, site: Site, history: History, random: Random, think_seconds: float) -> None:
        self.user = UserId(user)
        self._site = site
        self._history = history
        self._random = random
        self._think_seconds = think_seconds
        self._keys = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(self._think_seconds * self._random.uniform(0.1, 1.5))
            unsold, all_items = self._site.on_offer()
            if unsold:
                # Most people look first, and some look at an old page.
                await self._want(self._random.choice(unsold if self._random.random() < 0.8 else all_items))

    async def _want(self, item: ItemId) -> None:
        text = await self._check_out(item)
        if text is None:
            return
        key = None
        if self._random.random() < 0.8:
            self._keys += 1
            key = f"{self.user}-{self._keys}"
        manner = self._random.random()
        if manner < 0.1:
            await self._leave_early(text, item, key)
        if manner > 0.85:
            async with trio.open_nursery() as twice:  # a double click, or two tabs
                twice.start_soon(self._buy, text, item, key)
                await self._buy(text, item, key)
        else:
            await self._buy(text, item, key)

    async def _check_out(self, item: ItemId) -> str | None:
        query = b"user_id=%s&id=%d" % (self.user.encode(), item)
        for _ in range(_TRIES):
            call = await self._call("checkout", item, Request("POST", "", b"/checkout", query, []))
            if call.said == "ok":
                call.text = call.body["code"]
                return call.text
            if call.retry_after == 0 and call.said != "lost":
                return None
            await self._pause(call)
        return None

    async def _leave_early(self, text: str, item: ItemId, key: str | None) -> None:
        with trio.move_on_after(self._random.uniform(0.0, 0.2)):
            await self._purchase(text, item, key)

    async def _buy(self, text: str, item: ItemId, key: str | None) -> None:
        """Until the buyer knows, or has had enough."""
        for _ in range(_TRIES):
            call = await self._purchase(text, item, key)
            if call.said not in MAYBE | NOTHING_STARTED | {"lost"}:
                return
            if call.said in NOTHING_STARTED and self._random.random() < 0.3:
                return
            if call.said in MAYBE and self._random.random() < 0.5 and await self._ask_for_receipt(call):
                return
            await self._pause(call)

    async def _purchase(self, text: str, item: ItemId, key: str | None) -> Call:
        headers = [] if key is None else [(b"idempotency-key", key.encode())]
        request = Request("POST", "", b"/purchase", b"code=" + text.encode(), headers)
        return await self._call("purchase", item, request, text, key)

    async def _ask_for_receipt(self, unknown: Call) -> bool:
        """Whether the buyer knows now. After Retry-After the answer is final, if no other call is under way."""
        await trio.sleep(unknown.retry_after)
        calls = [c for c in self._history.purchases().get(unknown.text, ()) if c is not unknown]
        is_alone = all(c.said in NOTHING_STARTED or (c.said in MAYBE and c.ends <= unknown.ends) for c in calls)
        request = Request("GET", "", b"/purchases/" + unknown.text.encode(), b"", [])
        call = await self._call("receipt", unknown.item, request, unknown.text)
        if call.said == "not_purchased" and is_alone and not self._has_more(unknown, calls):
            self._history.final[unknown.text] = call.begins
            return True
        return call.said == "ok"

    def _has_more(self, unknown: Call, known: list[Call]) -> bool:
        return len(self._history.purchases()[unknown.text]) > len(known) + 1

    async def _call(self, kind: str, item: ItemId, request: Request, text: str = "", key: str | None = None) -> Call:
        call = Call(kind, self.user, item, trio.current_time(), text, key)
        self._history.calls.append(call)
        with trio.move_on_after(_CLIENT_SECONDS):
            call.host, response = await self._site.ask(self._random.randrange(6), request)
            if response is not None:
                call.answered(response, trio.current_time())
        return call

    async def _pause(self, call: Call) -> None:
        await trio.sleep(self._random.uniform(0.05, 0.5) if call.said == "lost" else min(call.retry_after, 2.0))
