"""Reads streams through one link and makes sure that it leads to a primary, whose time it knows.

A demoted Redis goes on answering reads, so a reader would stay with it and never notice. Therefore it now and then
makes a write that changes nothing, and which a replica refuses. In the same round trip it asks Redis's clock, which is
carried on with Trio's in between: it is for the age of entries, and no host's wall clock is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import trio

from flash.errors import FlashError
from flash.purchase_rpc.stream_link import StreamLink
from flash.purchase_rpc.wrong_types import move_aside
from flash.stores.redis_link import Entries, RedisCommand, WrongType, ms_of, streams_of

_CHECK_SECONDS = 0.5


class PrimaryReader:
    """`key` is a stream of ours, for the write that changes nothing."""

    def __init__(self, link: StreamLink, key: str) -> None:
        self._link = link
        self._no_op: RedisCommand = ("XDEL", key, "0-1")
        self.heard_at = math.inf
        """Trio time of Redis's last answer, or of the first attempt to read."""
        self._checked_at = -math.inf
        self._offset_ms: float | None = None

    async def read(
        self, positions: Mapping[str, bytes], *before: RedisCommand, entries_max: int, block_ms: int
    ) -> list[tuple[bytes, Entries]]:
        """Up to `entries_max` entries of each stream after its position; the commands `before` are performed first.

        Waits up to `block_ms` for the first one. Raises `Unavailable` or `OutcomeUnknown`.
        """
        keys: RedisCommand = (*positions, *positions.values())
        xread: RedisCommand = ("XREAD", "COUNT", entries_max, "BLOCK", block_ms, "STREAMS", *keys)
        self.heard_at = min(self.heard_at, trio.current_time())
        try:
            if trio.current_time() - self._checked_at >= _CHECK_SECONDS:
                await self._check()
            *_, answer = await self._link.execute(*before, xread, block_seconds=block_ms / 1000)
        except WrongType:
            await move_aside(self._link, positions)
            return []
        except FlashError:
            # The next read may meet another server.
            self._checked_at, self._offset_ms = -math.inf, None
            raise
        self.heard_at = trio.current_time()
        return streams_of(answer)

    async def _check(self) -> None:
        _, answer = await self._link.execute(self._no_op, ("TIME",))
        self.heard_at = self._checked_at = trio.current_time()
        self._offset_ms = ms_of(answer) - self._checked_at * 1e3

    def redis_ms(self) -> float | None:
        """Redis's time in milliseconds, late by as long as its answer was under way. None if it is not known now."""
        return None if self._offset_ms is None else trio.current_time() * 1e3 + self._offset_ms
