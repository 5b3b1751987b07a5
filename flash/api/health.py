"""GET /health, /livez and /readyz: for people and load balancers. 200 from /health means that a buyer could buy now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from flash.domain import Sale
from flash.errors import FlashError
from flash.http.message import Request, Response, json_response
from flash.http.problems import retry_after

_OK = json_response(200, {"status": "ok"})
_NOT_READY = json_response(503, {"status": "error"}, (retry_after(1),))


class HealthHandlers:
    """`find_current_sale` asks PostgreSQL, `ping_redis` asks Redis. `is_draining()`: this process is stopping."""

    def __init__(
        self,
        find_current_sale: Callable[[], Awaitable[Sale | None]],
        ping_redis: Callable[[], Awaitable[None]],
        is_draining: Callable[[], bool],
    ) -> None:
        self._find_current_sale = find_current_sale
        self._ping_redis = ping_redis
        self._is_draining = is_draining

    async def health(self, request: Request) -> Response:
        """Whether both stores answer now and the current sale exists. A failing part says "error" or "missing"."""
        parts = {"database": "ok", "redis": "ok"}
        try:
            if await self._find_current_sale() is None:
                parts["sale"] = "missing"
        except FlashError:
            parts["database"] = "error"
        try:
            await self._ping_redis()
        except FlashError:
            parts["redis"] = "error"
        is_ok = set(parts.values()) == {"ok"}
        return json_response(200 if is_ok else 503, {"status": "ok" if is_ok else "error", **parts})

    async def livez(self, request: Request) -> Response:
        """Whether this process answers at all. No I/O."""
        return _OK

    async def readyz(self, request: Request) -> Response:
        """Whether to send requests here. Redis does not count: checkouts need only PostgreSQL."""
        if self._is_draining():
            return _NOT_READY
        try:
            return _NOT_READY if await self._find_current_sale() is None else _OK
        except FlashError:
            return _NOT_READY
