"""A server that answers a constant: the ceiling of what a web process could do. A program: builtin, hypercorn or stock.

The first two are the service's HTTP side under that FLASH_HTTP with everything behind it taken out; the third is
Hypercorn as it comes, with the smallest ASGI application there is. All answer with as many bytes as a checkout does.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

import hypercorn.trio
import trio
from hypercorn.config import Config as HypercornConfig

from flash.codes import CODE_CHARACTERS
from flash.config import Config
from flash.http.asgi import App
from flash.http.message import Request, Response, json_response
from flash.http.server import serve

ANSWER = json_response(200, {"code": "x" * CODE_CHARACTERS})
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER.body))]

Message = MutableMapping[str, Any]
Server = Callable[[trio.Event], Awaitable[None]]


async def service(stop: trio.Event, is_builtin: bool = True) -> None:
    """The service's handler and application, one route, no store."""

    async def answer(request: Request) -> Response:
        return ANSWER

    config = Config.from_env()
    app = App({("POST", "/checkout"): answer}, body_seconds=config.body_seconds)
    await serve(app, host="127.0.0.1", port=0, limits=config, stop=stop, on_listening=_announce, is_builtin=is_builtin)


async def stock(stop: trio.Event) -> None:
    """Hypercorn's trio worker with its defaults, as `hypercorn -k trio` runs it."""
    config = HypercornConfig()
    config.bind = ["127.0.0.1:0"]
    # mypy: Hypercorn's scopes are TypedDicts
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(_serve_stock, config, stop)
        _announce(binds[0])


async def _serve_stock(
    config: HypercornConfig, stop: trio.Event, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    await hypercorn.trio.serve(_tiny, config, shutdown_trigger=stop.wait, task_status=task_status)  # type: ignore[arg-type]


async def _tiny(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": ANSWER.body})


def _announce(address: str) -> None:
    sys.stderr.write(f"listening on {address}\n")
    sys.stderr.flush()


async def main(server: Server) -> None:
    stop = trio.Event()

    async def wait_for_signal(signals: AsyncIterator[int]) -> None:
        async for _ in signals:
            stop.set()
            return

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_signal, signals)
            await server(stop)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    servers: dict[str, Server] = {"builtin": service, "hypercorn": partial(service, is_builtin=False), "stock": stock}
    trio.run(main, servers[sys.argv[1]])
