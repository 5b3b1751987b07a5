"""The only door between Trio and the asyncio libraries (asyncpg, redis-py). Nothing else imports trio_asyncio.

A crossing costs about 200 µs and works only in tasks born inside `open_loop`: so workers cross, handlers ask a
worker, and a whole conversation with a store is one asyncio function that is crossed once.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import trio
import trio_asyncio

from flash.errors import OperatorError

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@asynccontextmanager
async def open_loop() -> AsyncIterator[None]:
    """Run an asyncio loop on Trio for as long as the block lasts."""
    async with trio_asyncio.open_loop() as loop:
        # trio-asyncio's own handler was seen to hang or kill the process when a call is cancelled while
        # a pool connects: an error in a callback has no caller to hear it, so it is logged.
        loop.set_exception_handler(_log_callback_error)
        yield


async def call_asyncio(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call an asyncio function from a Trio task born inside `open_loop`, and wait for its result."""
    result: T = await trio_asyncio.aio_as_trio(function)(*args, **kwargs)
    return result


def run(function: Callable[..., Awaitable[None]], *args: object) -> None:
    """`trio.run`, but an `OperatorError` that is all that went wrong comes out bare, not in groups of groups."""
    try:
        trio.run(function, *args)
    except BaseExceptionGroup as group:
        operator_errors, others = group.split(OperatorError)
        if others is None and operator_errors is not None:
            raise _first(operator_errors) from group
        raise


def _first(group: BaseExceptionGroup[OperatorError]) -> OperatorError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, OperatorError)
    return error


def _log_callback_error(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if not isinstance(error, trio.Cancelled):
        log.warning("asyncio callback: %s", context.get("message"), exc_info=error)
