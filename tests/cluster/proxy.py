"""A real HAProxy with the configuration that is shipped, in front of servers of a test."""

from __future__ import annotations

import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import trio

from flash.config import environment
from flash.processes.child import Child
from flash.testing.client import Client

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
PROXY_SETTINGS = {
    "PROXY_CHECK": "100ms",
    "PROXY_CONNECTIONS_MAX": "200",
    "PROXY_RETRIES": "0",  # nothing hides what one server does
}


@asynccontextmanager
async def haproxy(*servers: str, log: IO[bytes] | None = None) -> AsyncIterator[tuple[str, str]]:
    """The address of an HAProxy in front of two servers, and that of its statistics. `log`: where it logs to."""
    assert HAPROXY is not None
    with listener() as shop, listener() as statistics:
        settings = {
            "PROXY_BIND": f"fd@{shop.fileno()}",
            "PROXY_STATISTICS_BIND": f"fd@{statistics.fileno()}",
            **{f"PROXY_WEB_{n}": server.removeprefix("http://") for n, server in enumerate(servers, 1)},
        }
        proxy = Child(
            "haproxy",
            [HAPROXY, "-db", "-f", str(CONFIGURATION)],
            env=environment(**PROXY_SETTINGS, **settings),
            stdout=log,
            pass_fds=[shop.fileno(), statistics.fileno()],
        )
        try:
            yield address_of(shop), address_of(statistics)
        finally:
            proxy.kill()
            with trio.CancelScope(shield=True):
                await proxy.wait()


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def address_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def until_up(operator: Client, wanted: set[str]) -> None:
    """Wait until HAProxy sends requests to these servers and to no others."""
    with trio.fail_after(20):
        while True:
            lines = (await operator.get("/;csv")).body.decode().splitlines()
            fields = lines[0].removeprefix("# ").split(",")
            servers = [dict(zip(fields, line.split(","), strict=False)) for line in lines[1:]]
            up = {server["svname"] for server in servers if server["status"].startswith("UP")}
            if up - {"BACKEND"} == wanted:
                return
            await trio.sleep(0.02)
