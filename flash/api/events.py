"""GET /events: what becomes of a sale, told as it happens to whoever listens (server-sent events)."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from flash.api.problems import SALE_NOT_FOUND
from flash.domain import SaleId
from flash.http import parameters
from flash.http.message import Reader, Request, Response, Stream
from flash.http.problems import TryLater

_TOO_MANY = TryLater("overloaded", "As many people are watching as this process serves; buying goes on")
_RETRY_SECONDS = 10.0
# The second header keeps proxies such as nginx from collecting what should arrive at once.
_HEADERS = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))


class Events(Protocol):
    @property
    def is_full(self) -> bool: ...
    async def find(self, sale_id: SaleId | None) -> SaleId | None:
        """The sale that is asked for, or the current one; None if there is no such sale.

        Raises `Unavailable`, and `Overloaded` if too many others are watched.
        """

    def join(self, reader: Reader, sale_id: SaleId, last_id: bytes | None, *, follows: bool) -> None: ...
    def leave(self, reader: Reader) -> None: ...


class EventHandlers:
    def __init__(self, events: Events) -> None:
        self._events = events

    async def events(self, request: Request) -> Response | Stream:
        (sale,) = parameters.read_optional(request.query, ("sale",))
        sale_id = None if sale is None else SaleId(parameters.item_id(sale, "sale"))
        if self._events.is_full:
            return _TOO_MANY.after(_RETRY_SECONDS)
        found = await self._events.find(sale_id)
        if found is None:
            return SALE_NOT_FOUND
        last_id = request.header(b"last-event-id")
        join = partial(self._events.join, sale_id=found, last_id=last_id, follows=sale_id is None)
        return Stream(join, self._events.leave, b"text/event-stream", _HEADERS)
