"""A real server on a free port in the test's own process, with either implementation of HTTP/1.1."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import pytest
import trio

from flash.config import Config
from flash.http.asgi import App
from flash.http.limits import Limits
from flash.http.message import Reader, Request, Response, Stream, json_response
from flash.http.server import Tls, serve
from flash.testing.client import Client

GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
SECOND = b"GET /second HTTP/1.1\r\nHost: h\r\n\r\n"
BIG = 32 * 2**20


def limits(**changes: Any) -> Limits:
    """The default limits with `changes`, which are named like the fields of `Config`."""
    return replace(Config(), **changes)


class Site:
    """A small application. Its slow handler waits for the test, and it remembers what reached a handler."""

    def __init__(self, body_seconds: float) -> None:
        self.calls: list[str] = []
        self.slow_began = trio.Event()
        self.slow_may_end = trio.Event()
        self.slow_ended = trio.Event()
        self.listeners: list[Reader] = []
        self.app = App(
            {
                ("GET", "/"): self.hello,
                ("POST", "/"): self.hello,
                ("GET", "/second"): self.hello,
                ("POST", "/echo"): self.echo,
                ("GET", "/slow"): self.slow,
                ("GET", "/big"): self.big,
                ("GET", "/events"): self.events,
            },
            body_seconds=body_seconds,
        )

    async def hello(self, request: Request) -> Response:
        self.calls.append(request.path)
        return json_response(200, {"n": len(self.calls)})

    async def echo(self, request: Request) -> Response:
        return json_response(200, request.query.decode("ascii"))

    async def slow(self, request: Request) -> Response:
        self.slow_began.set()
        await self.slow_may_end.wait()
        self.slow_ended.set()
        return json_response(200, "slow")

    async def events(self, request: Request) -> Stream:
        return Stream(self._join, self.listeners.remove, b"text/event-stream", ((b"cache-control", b"no-store"),))

    def _join(self, reader: Reader) -> None:
        self.listeners.append(reader)
        reader.write_nowait(b"data: hello\n\n")

    def tell(self, piece: bytes) -> None:
        for reader in list(self.listeners):
            reader.write_nowait(piece)

    def end_events(self) -> None:
        for reader in list(self.listeners):
            reader.end()

    async def big(self, request: Request) -> Response:
        return Response(200, b"x" * BIG)


class Running:
    """A server in the test's own process; `ended` is set when `serve` has returned."""

    def __init__(self, bounds: Limits, *, is_builtin: bool) -> None:
        self.site = Site(bounds.body_seconds)
        self.is_builtin = is_builtin
        self.address = ""
        self.listening = trio.Event()
        self.stop = trio.Event()
        self.ended = trio.Event()

    def hear(self, address: str) -> None:
        self.address = address
        self.listening.set()

    async def run(self, bounds: Limits, tls: Tls | None) -> None:
        await serve(
            self.site.app,
            host="127.0.0.1",
            port=0,
            limits=bounds,
            stop=self.stop,
            on_listening=self.hear,
            tls=tls,
            is_builtin=self.is_builtin,
        )
        self.ended.set()

    async def assert_answers(self) -> None:
        async with Client(self.address) as client:
            assert (await client.get("/")).status == 200


class Serving(Protocol):
    """Starts a server. At the end it must still be running, or have been told to stop."""

    def __call__(
        self, bounds: Limits | None = None, *, tls: Tls | None = None
    ) -> AbstractAsyncContextManager[Running]: ...


@pytest.fixture(params=["builtin", "hypercorn"])
def serving(request: pytest.FixtureRequest) -> Serving:
    """A server with built-in connections, and one with Hypercorn's behind the guard."""
    return partial(serving_on, request.param == "builtin")


@asynccontextmanager
async def serving_on(
    is_builtin: bool, bounds: Limits | None = None, *, tls: Tls | None = None
) -> AsyncIterator[Running]:
    bounds = bounds or limits(drain_seconds=0.3)
    running = Running(bounds, is_builtin=is_builtin)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.run, bounds, tls)
        await running.listening.wait()
        yield running
        assert running.stop.is_set() or not running.ended.is_set(), "the server stopped by itself"
        running.stop.set()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """The block must finish within `seconds`, not merely some time."""
    with trio.fail_after(seconds):
        yield


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(3):
        while not condition():  # noqa: ASYNC110 - descriptors set no event
            await trio.sleep(0.002)


def descriptors() -> int:
    """How many files this process has open."""
    return len(os.listdir("/dev/fd"))
