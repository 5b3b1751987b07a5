"""GET /health, /livez and /readyz: for people and load balancers. 200 from /health means that a buyer could buy now.

All three answer from memory: thousands of them at once cost no store anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flash.http.message import Request, Response, json_response
from flash.http.problems import retry_after

_OK = json_response(200, {"status": "ok"})
_NOT_READY = json_response(503, {"status": "error"}, (retry_after(1),))


class StoreHealth(Protocol):
    """What was seen of the stores a moment ago."""

    @property
    def is_database_up(self) -> bool: ...
    @property
    def has_current_sale(self) -> bool: ...
    @property
    def is_redis_up(self) -> bool: ...


class DiskHealth(Protocol):
    @property
    def is_low(self) -> bool:
        """Whether new checkouts are refused, or were a moment ago, because the database has no room for them."""


class HealthHandlers:
    """`is_draining()`: this process is stopping."""

    def __init__(self, stores: StoreHealth, disk: DiskHealth, is_draining: Callable[[], bool]) -> None:
        self._stores = stores
        self._disk = disk
        self._is_draining = is_draining

    async def health(self, request: Request) -> Response:
        """Whether both stores take writes, have room, and the current sale exists.

        A failing part says "error", "missing" or "low".
        """
        stores = self._stores
        parts = {
            "database": "ok" if stores.is_database_up else "error",
            "redis": "ok" if stores.is_redis_up else "error",
        }
        if stores.is_database_up and not stores.has_current_sale:
            parts["sale"] = "missing"
        if self._disk.is_low:
            parts["disk"] = "low"
        is_ok = set(parts.values()) == {"ok"}
        return json_response(200 if is_ok else 503, {"status": "ok" if is_ok else "error", **parts})

    async def livez(self, request: Request) -> Response:
        """Whether this process answers at all."""
        return _OK

    async def readyz(self, request: Request) -> Response:
        """Whether to send requests here. Without Redis checkouts are served, and on a low disk purchases are."""
        return _NOT_READY if self._is_draining() or not self._stores.has_current_sale else _OK
