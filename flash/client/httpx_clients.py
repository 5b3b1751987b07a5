"""The two clients, over httpx: one that blocks, and one for asyncio and Trio. They differ in how they wait, no more."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, TypeVar

import anyio
import httpx

from flash.client.conversations import Conversations
from flash.client.messages import Answer, Conversation, Lost, Send, Wait
from flash.client.results import Item, ItemPage, Receipt, Sale
from flash.client.retries import Retries

T = TypeVar("T")

TIMEOUT_SECONDS = 10.0
"""Longer than the service lets a purchase wait (FLASH_REQUEST_TIMEOUT), so its answer is heard."""

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class FlashClient:
    """Buys at `base_url`, from any number of threads. Close it, or use it in a `with` block.

    `user_key` signs the buyers, if the service asks for that. `http` is a client of your own, with your certificates,
    proxies and limits; it is closed with this one.
    """

    def __init__(
        self,
        base_url: str,
        *,
        retries: Retries | None = None,
        user_key: str | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._conversations = Conversations(retries or Retries(), user_key)
        self._base_url = base_url.rstrip("/")
        self._http = http or httpx.Client(timeout=TIMEOUT_SECONDS)

    def __enter__(self) -> FlashClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def check_out(self, user_id: str, item_id: int) -> str:
        """A code for the item. It reserves nothing: the first purchase wins."""
        return self._run(self._conversations.check_out(user_id, item_id))

    def purchase(self, code: str, *, idempotency_key: str | None = None) -> Receipt:
        """Buy what the code is for. Repeated with the same key, it is the same purchase."""
        return self._run(self._conversations.purchase(code, idempotency_key))

    def buy(self, user_id: str, item_id: int | None = None) -> Receipt:
        """Check out and purchase: the item, or else any free one of an open sale."""
        return self._run(self._conversations.buy(user_id, item_id))

    def receipt(self, code: str) -> Receipt | None:
        """The receipt of a code; None if nothing was bought with it."""
        return self._run(self._conversations.receipt(code))

    def sales(self) -> tuple[Sale, ...]:
        """The open sales and the next one, newest first."""
        return self._run(self._conversations.sales())

    def current_sale(self) -> Sale:
        return self._run(self._conversations.current_sale())

    def sale(self, sale_id: int) -> Sale:
        return self._run(self._conversations.sale(sale_id))

    def items(
        self, sale_id: int, *, available: bool | None = None, after: int | None = None, limit: int | None = None
    ) -> ItemPage:
        """One page of a sale's items; `available=True` leaves out the sold ones."""
        return self._run(self._conversations.items(sale_id, available=available, after=after, limit=limit))

    def iter_items(self, sale_id: int, *, available: bool | None = None) -> Iterator[Item]:
        """All items of a sale, page by page."""
        after: int | None = None
        while True:
            page = self.items(sale_id, available=available, after=after)
            yield from page.items
            if (after := page.next) is None:
                return

    def item(self, item_id: int) -> Item:
        return self._run(self._conversations.item(item_id))

    def health(self) -> dict[str, Any]:
        """What `GET /health` says, also if that is bad news."""
        return self._run(self._conversations.health())

    def _run(self, conversation: Conversation[T]) -> T:
        heard: Answer | Lost | None = None
        while True:
            try:
                wanted = conversation.send(heard)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(wanted, Wait):
                time.sleep(wanted.seconds)
                heard = None
            else:
                heard = self._send(wanted)

    def _send(self, request: Send) -> Answer | Lost:
        try:
            response = self._http.request(request.method, self._base_url + request.target, headers=request.headers)
        except httpx.TransportError as error:
            return _lost(error)
        return _answer(response)


class AsyncFlashClient:
    """Buys at `base_url`, from any number of tasks, under asyncio or Trio. See `FlashClient`."""

    def __init__(
        self,
        base_url: str,
        *,
        retries: Retries | None = None,
        user_key: str | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._conversations = Conversations(retries or Retries(), user_key)
        self._base_url = base_url.rstrip("/")
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT_SECONDS)

    async def __aenter__(self) -> AsyncFlashClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def check_out(self, user_id: str, item_id: int) -> str:
        """A code for the item. It reserves nothing: the first purchase wins."""
        return await self._run(self._conversations.check_out(user_id, item_id))

    async def purchase(self, code: str, *, idempotency_key: str | None = None) -> Receipt:
        """Buy what the code is for. Repeated with the same key, it is the same purchase."""
        return await self._run(self._conversations.purchase(code, idempotency_key))

    async def buy(self, user_id: str, item_id: int | None = None) -> Receipt:
        """Check out and purchase: the item, or else any free one of an open sale."""
        return await self._run(self._conversations.buy(user_id, item_id))

    async def receipt(self, code: str) -> Receipt | None:
        """The receipt of a code; None if nothing was bought with it."""
        return await self._run(self._conversations.receipt(code))

    async def sales(self) -> tuple[Sale, ...]:
        """The open sales and the next one, newest first."""
        return await self._run(self._conversations.sales())

    async def current_sale(self) -> Sale:
        return await self._run(self._conversations.current_sale())

    async def sale(self, sale_id: int) -> Sale:
        return await self._run(self._conversations.sale(sale_id))

    async def items(
        self, sale_id: int, *, available: bool | None = None, after: int | None = None, limit: int | None = None
    ) -> ItemPage:
        """One page of a sale's items; `available=True` leaves out the sold ones."""
        return await self._run(self._conversations.items(sale_id, available=available, after=after, limit=limit))

    async def iter_items(self, sale_id: int, *, available: bool | None = None) -> AsyncIterator[Item]:
        """All items of a sale, page by page."""
        after: int | None = None
        while True:
            page = await self.items(sale_id, available=available, after=after)
            for item in page.items:
                yield item
            if (after := page.next) is None:
                return

    async def item(self, item_id: int) -> Item:
        return await self._run(self._conversations.item(item_id))

    async def health(self) -> dict[str, Any]:
        """What `GET /health` says, also if that is bad news."""
        return await self._run(self._conversations.health())

    async def _run(self, conversation: Conversation[T]) -> T:
        heard: Answer | Lost | None = None
        while True:
            try:
                wanted = conversation.send(heard)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(wanted, Wait):
                await anyio.sleep(wanted.seconds)
                heard = None
            else:
                heard = await self._send(wanted)

    async def _send(self, request: Send) -> Answer | Lost:
        try:
            response = await self._http.request(
                request.method, self._base_url + request.target, headers=request.headers
            )
        except httpx.TransportError as error:
            return _lost(error)
        return _answer(response)


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)


def _lost(error: httpx.TransportError) -> Lost:
    return Lost(str(error) or type(error).__name__, not isinstance(error, _NEVER_SENT))
