"""The baseline servers, which answer a constant: what a web process could do at most. A program.

`builtin` and `hypercorn` are the service's HTTP side under that FLASH_HTTP with everything behind it taken out. `stock`
is Hypercorn as it comes, with the smallest ASGI application there is. All answer as many bytes as a checkout does.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial

import hypercorn.trio
import trio
from hypercorn.config import Config as HypercornConfig

from flash.codes import CODE_CHARACTERS
from flash.config import Config
from flash.http.asgi import App
from flash.http.message import Request, Response, json_response
from flash.http.server import serve

RESPONSE = json_response(200, {"code": "x" * CODE_CHARACTERS})
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(RESPONSE.body))]

Message = MutableMapping[str, object]


async def _answer(request: Request) -> Response:
    return RESPONSE


async def ours(is_builtin: bool) -> None:
    """The service's own handler of connections and application: one route, no store."""
    limits = Config.from_env()
    app = App({("POST", "/checkout"): _answer}, body_seconds=limits.body_seconds)
    await serve(
        app, host="127.0.0.1", port=0, limits=limits, stop=trio.Event(), on_listening=_announce, is_builtin=is_builtin
    )


async def stock() -> None:
    """Hypercorn's trio worker with its defaults, as `hypercorn -k trio` runs it."""
    config = HypercornConfig()
    config.bind = ["127.0.0.1:0"]
    async with trio.open_nursery() as nursery:
        # mypy: Hypercorn's scopes are TypedDicts
        binds = await nursery.start(partial(hypercorn.trio.serve, _smallest, config))  # type: ignore[arg-type]
        _announce(binds[0])


async def _smallest(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    assert scope["type"] == "http"  # Hypercorn goes on without a lifespan
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": RESPONSE.body})


def _announce(address: str) -> None:
    print("listening on", address, flush=True)  # noqa: T201


if __name__ == "__main__":
    trio.run(stock) if sys.argv[1] == "stock" else trio.run(ours, sys.argv[1] == "builtin")
