"""Looks at both stores once a second, so that whoever asks about them is answered from memory.

It knows no SQL and no Redis. What it saw some seconds ago says nothing any more: a monitor that is stuck, be it in a
store that is silent or in a loop that is too busy, reports both stores as away. One slow look says nothing yet, or one
pause of PostgreSQL would have a load balancer take out every web process at once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

from flash.errors import FlashError
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
FRESH_SECONDS = 5.0
"""For how long after it began a look counts: long enough for one slow look after it, and a next one."""


class HealthMonitor:
    """`look_at_database` says whether the current sale exists, and raises unless PostgreSQL takes writes.

    `write_redis` raises unless Redis takes writes. Each must end by itself. A store that is silent delays its own look
    only.
    """

    def __init__(
        self, look_at_database: Callable[[], Awaitable[bool]], write_redis: Callable[[], Awaitable[None]]
    ) -> None:
        self._write_redis = write_redis
        self._database = _Look("PostgreSQL", look_at_database)
        self._redis = _Look("Redis", self._is_redis_written)

    @property
    def is_database_up(self) -> bool:
        return self._database.result is not None

    @property
    def has_current_sale(self) -> bool:
        """Whether there is a sale that has begun. False while PostgreSQL is away."""
        return self._database.result is True

    @property
    def is_redis_up(self) -> bool:
        return self._redis.result is not None

    @property
    def database_error(self) -> str | None:
        """What was wrong with PostgreSQL at the last look; None if nothing was."""
        return self._database.error

    @property
    def redis_error(self) -> str | None:
        return self._redis.error

    async def look(self) -> None:
        """Look at both stores once, for a process that starts."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._database.refresh)
            nursery.start_soon(self._redis.refresh)

    async def run(self) -> None:
        """Run until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._database.keep_fresh)
            nursery.start_soon(self._redis.keep_fresh)

    async def _is_redis_written(self) -> bool:
        await self._write_redis()
        return True


class _Look(Generic[T]):
    """What `attempt` returned last. `result` is None if it failed, or if that is too long ago."""

    def __init__(self, name: str, attempt: Callable[[], Awaitable[T]]) -> None:
        self._name = name
        self._attempt = attempt
        self._seen: T | None = None
        self._error: str | None = None
        self._fresh_until = 0.0
        self._warn = ThrottledLogger(log)

    @property
    def result(self) -> T | None:
        return self._seen if trio.current_time() < self._fresh_until else None

    @property
    def error(self) -> str | None:
        return self._error if trio.current_time() < self._fresh_until else "it does not answer"

    async def keep_fresh(self) -> None:
        begun_at = trio.current_time()
        while True:
            # From one beginning to the next: a look that took long must not put off the one that follows.
            await trio.sleep_until(max(begun_at + LOOK_SECONDS, trio.current_time() + _PAUSE_SECONDS))
            begun_at = trio.current_time()
            await self.refresh()

    async def refresh(self) -> None:
        begun_at = trio.current_time()
        try:
            self._seen, self._error = await self._attempt(), None
        except FlashError as error:
            self._warn("%s cannot be used: %s", self._name, error)
            if trio.current_time() - begun_at >= LOOK_SECONDS:
                return  # a time-out: what was seen before it counts until it is too old
            self._seen, self._error = None, str(error)
        self._fresh_until = begun_at + FRESH_SECONDS
