"""A shop of fakes behind a real server, with either implementation of HTTP/1.1."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from flash.config import Config
from flash.http.server import serve
from flash.testing.client import Client
from tests.api.fakes import FakeShop


@asynccontextmanager
async def open_client(shop: FakeShop, *, is_builtin: bool) -> AsyncIterator[Client]:
    addresses: list[str] = []
    stop, listening = trio.Event(), trio.Event()

    def on_listening(address: str) -> None:
        addresses.append(address)
        listening.set()

    run = partial(serve, shop.app, host="127.0.0.1", port=0, limits=Config(), stop=stop)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run, on_listening=on_listening, is_builtin=is_builtin))
        await listening.wait()
        async with Client(addresses[0]) as client:
            yield client
        stop.set()
