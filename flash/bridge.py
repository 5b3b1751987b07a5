"""The only way from Trio to the asyncio libraries (asyncpg, redis-py). Nothing else imports trio_asyncio.

A call across costs about 200 µs and works only in tasks started inside `open_loop`. So workers call across, request
handlers ask a worker, and everything that one use of a store needs is one asyncio function, called across once.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import trio
import trio_asyncio

from flash.errors import FlashError, first_of

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@asynccontextmanager
async def open_loop() -> AsyncIterator[None]:
    """Run an asyncio loop on Trio until the block ends."""
    async with trio_asyncio.open_loop() as loop:
        # trio-asyncio's own handler was seen to hang or kill the process when a call was cancelled while a pool was
        # connecting. An error in a callback has no caller to raise it in, so it is logged.
        loop.set_exception_handler(_log_callback_error)
        yield


async def call_asyncio(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call an asyncio function from a Trio task started inside `open_loop`, and return its result."""
    result: T = await trio_asyncio.aio_as_trio(function)(*args, **kwargs)
    return result


async def call_trio(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """The way back: call a Trio function from the asyncio side of `call_asyncio`, and return its result."""
    result: T = await trio_asyncio.trio_as_aio(function)(*args, **kwargs)
    return result


def run(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """`trio.run`, but if only our own errors were raised, the first of them is raised bare, not in a group."""
    try:
        return trio.run(function, *args)
    except BaseExceptionGroup as group:
        ours, others = group.split(FlashError)
        if others is None and ours is not None:
            error = first_of(ours)
            raise error from error.__cause__  # not from the group: it would replace what the error came from
        raise


def run_in_loop(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `run`, with an asyncio loop around `function`: for a command that only asks one store one question."""

    async def in_loop() -> T:
        async with open_loop():
            return await function(*args, **kwargs)

    return run(in_loop)


def _log_callback_error(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if not isinstance(error, trio.Cancelled):
        log.warning("asyncio callback: %s", context.get("message"), exc_info=error)
