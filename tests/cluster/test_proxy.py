"""What the shipped HAProxy keeps from the outside, and out of its log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from flash.config import Config
from flash.http.asgi import App
from flash.http.message import Request, Response
from flash.http.server import serve
from flash.testing.client import Client
from flash.testing.cluster import until
from tests.cluster.proxy import HAPROXY, haproxy, until_up

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not on this machine")

CODE = "as-good-as-money"


async def ok(request: Request) -> Response:
    return Response(200, b"{}")


async def failed(request: Request, code: str) -> Response:
    return Response(500, b"{}")


@asynccontextmanager
async def a_shop() -> AsyncIterator[str]:
    """The address of a server that has metrics, and fails when it is asked for a receipt."""
    routes = {("GET", "/metrics"): ok, ("GET", "/readyz"): ok}
    app = App(routes, {("GET", "/purchases/{code}"): failed}, body_seconds=1)
    send, receive = trio.open_memory_channel[str](1)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        start = partial(serve, app, host="127.0.0.1", port=0, limits=Config(), stop=stop, on_listening=send.send_nowait)
        nursery.start_soon(start)
        yield await receive.receive()
        stop.set()


@asynccontextmanager
async def behind_a_proxy(log: Path) -> AsyncIterator[Client]:
    with log.open("wb") as written:
        async with a_shop() as address, haproxy(address, address, log=written) as (proxy, statistics):
            async with Client(statistics) as operator:
                await until_up(operator, {"web-1", "web-2"})
            async with Client(proxy) as client:
                yield client


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/metric%73", "/metrics?name=x"])
async def test_nobody_outside_reads_the_metrics_however_they_spell_it(tmp_path: Path, path: str) -> None:
    async with behind_a_proxy(tmp_path / "log") as client:
        assert (await client.get(path)).status == 404


async def test_a_failed_request_for_a_receipt_is_logged_without_its_code(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with behind_a_proxy(log) as client:
        assert (await client.get(f"/purchases/{CODE}")).status == 500
        assert (await client.get(f"/%70urchases/{CODE}?code={CODE}")).status == 500
        await until(lambda: log.read_text().count(" 500 ") == 2)
    assert log.read_text().count("GET /purchases/***") == 2
    assert CODE not in log.read_text()
