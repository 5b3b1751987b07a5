"""What both ends of the conversation need of Redis: `flash.stores.redis_link.RedisLink`, or its twin in tests."""

from __future__ import annotations

from typing import Any, Protocol

from flash.stores.redis_link import RedisCommand


class StreamLink(Protocol):
    async def execute(self, *commands: RedisCommand, block_seconds: float = 0.0) -> list[Any]:
        """Perform `commands` in order, at most once, and return their answers.

        Raises `Unavailable` if nothing was sent, and `OutcomeUnknown` if an answer was lost or is an error:
        `redis_link.WrongType` if a key is not of the type that a command expects.
        """
        ...
