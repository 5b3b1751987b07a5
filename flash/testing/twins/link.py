"""A link to a Redis in memory, with the promises of `RedisLink`. Its `faults` decide what is lost on the way."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from flash.errors import OutcomeUnknown, Unavailable
from flash.stores.redis_link import RedisCommand, refusal
from flash.testing.twins.faults import Faults
from flash.testing.twins.redis import CommandRefused, RedisTwin


class RedisLinkTwin:
    """One call at a time, bounded like the real link's. A frozen Redis is a `faults.on_before` that waits."""

    def __init__(self, redis: RedisTwin, *, timeout_seconds: float = 5.0) -> None:
        self.faults = Faults()
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._turn = trio.Lock()

    async def execute(self, *commands: RedisCommand, block_seconds: float = 0.0) -> list[Any]:
        async with self._my_turn():
            try:
                with trio.fail_after(self._timeout_seconds + block_seconds):
                    await self.faults.before("execute", *commands)
                    answers = [await self._perform(command) for command in commands]
                    await self.faults.after("execute", *commands)
            except trio.TooSlowError as error:
                raise OutcomeUnknown("Redis did not answer: time-out") from error
        for answer in answers:
            if isinstance(answer, CommandRefused):
                raise refusal(str(answer))
        return answers

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        try:
            with trio.fail_after(self._timeout_seconds):
                await self._turn.acquire()
        except trio.TooSlowError as error:
            raise Unavailable("Redis is too slow for all who ask it") from error
        try:
            yield
        finally:
            self._turn.release()

    async def _perform(self, command: RedisCommand) -> Any:
        try:
            return await perform(self._redis, command)
        except CommandRefused as refused:
            return refused


async def perform(redis: RedisTwin, command: RedisCommand) -> Any:
    """The answer to one command, which is waited for if it blocks. Raises `CommandRefused`."""
    answer = redis.perform(command)
    if answer is None and (block_seconds := _block_seconds(command)):
        with trio.move_on_after(block_seconds):
            while answer is None:
                await redis.changed.wait()
                answer = redis.perform(command)
    return answer


def _block_seconds(command: RedisCommand) -> float:
    """How long an XREAD may wait for its first entry; 0 for every other command."""
    if command[0] != "XREAD" or "BLOCK" not in command[: command.index("STREAMS")]:
        return 0.0
    return int(command[command.index("BLOCK") + 1]) / 1000 or math.inf
