"""The application: from a request to its handler's answer, with every error turned into a problem.

It knows no store and no sale. A handler is not cancelled when its client leaves, so whatever it has begun is
finished; only a `Stream` ends with its reader.

`App` speaks ASGI to any server. The built-in connections skip it and call `respond` themselves: building a scope and
two messages for every request would cost a tenth of what one core can serve.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Any

import trio

from flash.correlation import Correlation, fields_of, headers_of
from flash.errors import OutcomeUnknown, Overloaded, RateLimited, StorageFull, Unavailable
from flash.http import problems
from flash.http.body_parameters import UnsupportedMediaType
from flash.http.correlating import correlate
from flash.http.limits import BODY_MAX_BYTES, LINGER_SECONDS
from flash.http.message import BODILESS, Answer, Header, Request, Response, Stream
from flash.http.parameters import InvalidParameter
from flash.http.request_counts import RequestCounts
from flash.http.router import Handler, Patterns, Router, Routes
from flash.http.stream_readers import QueueReader

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Respond = Callable[[Request], Awaitable[Answer]]

BODY_PIECES_MAX = 2_048
"""64 KB in chunks of one byte would cost Hypercorn two seconds of CPU."""

_CLOSE: Header = (b"connection", b"close")

logger = logging.getLogger(__name__)


class App:
    """Answers requests with the handlers of `routes` and `patterns` (see `Router`).

    Once `draining` is set, streams end and every answer asks the client to close. `body_seconds` is how long a request
    body may take under a server that hands it over in pieces; the built-in connections read bodies themselves.
    `reads_peers`: a handler reads `Request.peer`, so connections have to find it out. `otherwise` answers for unknown
    paths, instead of a 404 in JSON.
    """

    def __init__(
        self,
        routes: Routes,
        patterns: Patterns = MappingProxyType({}),
        *,
        body_seconds: float,
        body_max_bytes: int = BODY_MAX_BYTES,
        reads_peers: bool = False,
        counts: RequestCounts | None = None,
        otherwise: Handler | None = None,
    ) -> None:
        self.draining = trio.Event()
        self.reads_peers = reads_peers
        self.counts = counts or RequestCounts()
        self.routes = (*routes, *patterns)
        """Method and path of all that is answered; `{…}` stands for a segment."""
        self._route = Router(routes, patterns, otherwise).route
        self.handle: Respond = self.respond
        self.on_rejected: Callable[[int, str, str | None, Correlation], None] | None = None
        """Hears of requests that could not be read: status, reason, peer, and what they are called."""
        self._body_seconds = body_seconds
        self._body_max_bytes = body_max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await _reject_websocket(receive, send)

    def observe(self, around: Callable[[Respond], Respond]) -> None:
        """Have every request handled by what `around` makes of its handling, such as a log of all requests."""
        self.handle = around(self.handle)

    async def respond(self, request: Request) -> Answer:
        """The answer to a request whose body has been dealt with. Raises nothing."""
        begun_at = perf_counter()
        answer: Answer
        try:
            answer = await self._route(request)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is answered, and logged unless it is expected)
            answer = _answer_of(error, request)
        self.counts.note(request, answer, perf_counter() - begun_at)
        return answer

    def opened(self, rejection: Response, target: bytes, headers: list[Header]) -> Response:
        """The answer to a request that is refused before `respond`, as pages of other sites may read it."""
        return rejection

    async def stream(self, stream: Stream, scope: Message, receive: Receive, send: Send) -> None:
        """Send what is written to `stream` until it ends, the client leaves, or the server stops."""
        headers = [(b"content-type", stream.content_type), *stream.headers]
        if scope["http_version"] != "2":
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] != "HEAD":
            await self._run_stream(stream, receive, send)
        # A client of HTTP/2 that allows no more bytes would keep its stream open, and the process from stopping.
        with trio.move_on_after(LINGER_SECONDS):
            await send({"type": "http.response.body", "body": b""})

    async def _run_stream(self, stream: Stream, receive: Receive, send: Send) -> None:
        async def end_after(wait: Callable[[], Awaitable[None]]) -> None:
            await wait()
            reader.end()

        try:
            async with trio.open_nursery() as nursery:
                reader = QueueReader(nursery.cancel_scope.cancel)
                nursery.start_soon(end_after, self.draining.wait)
                nursery.start_soon(end_after, partial(_disconnected, receive))
                try:
                    stream.join(reader)
                    while True:
                        await send({"type": "http.response.body", "body": await reader.take(), "more_body": True})
                finally:
                    stream.leave(reader)
        except* Exception:
            logger.exception("a stream broke off")

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        is_http1 = scope["http_version"] != "2"
        rejection = None
        request = Request(scope["method"], "", scope["raw_path"], scope["query_string"], headers)
        request.correlation = correlate(dict(headers))
        # The hot path, a request without a body, never calls `receive`. HTTP/2 need not announce a body.
        if _announces_body(headers) or not is_http1:
            rejection = await self._read_body(request, receive)
        if self.reads_peers and scope.get("client"):
            request.peer = scope["client"][0]
        answer = self.opened(rejection, scope["raw_path"], headers) if rejection else await self.handle(request)
        if isinstance(answer, Stream):
            await self.stream(replace(answer, headers=_told(answer, request)), scope, receive, send)
        else:
            closes = is_http1 and (self.draining.is_set() or rejection is not None)
            await _send(send, replace(answer, headers=_told(answer, request)), request.method, closes)

    async def _read_body(self, request: Request, receive: Receive) -> Response | None:
        """Read the body into `request`. Past a bound: the problem to answer with, before closing."""
        for name, value in request.headers:
            if name == b"content-length" and not (value.isdigit() and int(value) <= self._body_max_bytes):
                return problems.BODY_TOO_LARGE
        body = bytearray()
        with trio.move_on_after(self._body_seconds):
            for _ in range(BODY_PIECES_MAX):
                message = await receive()
                if message["type"] == "http.disconnect":
                    return problems.BODY_BROKEN  # nobody is left to read it
                body += message.get("body", b"")
                if len(body) > self._body_max_bytes:
                    return problems.BODY_TOO_LARGE
                if not message.get("more_body", False):
                    request.body = bytes(body)
                    return None
            return problems.BODY_TOO_LARGE
        return problems.BODY_TOO_SLOW


def _told(answer: Answer, request: Request) -> tuple[Header, ...]:
    """The headers of `answer`, and what logs and traces call its request."""
    return *answer.headers, *headers_of(request.correlation)


def _announces_body(headers: list[Header]) -> bool:
    for name, value in headers:
        if name == b"content-length":
            return value != b"0"
        if name == b"transfer-encoding":
            return True
    return False


async def _send(send: Send, response: Response, method: str, closes: bool) -> None:
    # No `X-Content-Type-Options` on JSON, which no browser sniffs. Pages and pictures bring their own headers.
    headers = list(response.headers)
    if response.status not in BODILESS:
        headers += (
            (b"content-type", response.content_type),
            (b"content-length", b"%d" % len(response.body)),
        )
    if closes:
        headers.append(_CLOSE)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _answer_of(error: Exception, request: Request) -> Answer:
    match error:
        case InvalidParameter():
            return problems.invalid_request(error.detail)
        case UnsupportedMediaType():
            return problems.unsupported_media_type(error.detail)
        case RateLimited():
            return problems.rate_limited(error.retry_after_seconds)
        case Overloaded():
            return problems.OVERLOADED.after(error.retry_after_seconds)
        case StorageFull():
            return problems.NO_ROOM.after(error.retry_after_seconds)
        case Unavailable():
            return problems.UNAVAILABLE.after(error.retry_after_seconds)
        case OutcomeUnknown():
            return problems.OUTCOME_UNKNOWN.after(error.retry_after_seconds)
    # Not the whole path: it may hold somebody's code.
    where, told_of = "/".join(request.path.split("/")[:2]), {"fields": fields_of(request.correlation)}
    logger.error("%s %s failed", request.method, where, exc_info=error, extra=told_of)
    return problems.INTERNAL_ERROR


async def _lifespan(receive: Receive, send: Send) -> None:
    """Agree to start and to stop. `flash.processes.web` starts and stops what the handlers need."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _reject_websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1000})
