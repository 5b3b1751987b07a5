"""The ASGI application: from a scope to one handler and back, with every error turned into a problem.

It knows no store and no sale; handlers get plain values and ask workers. No handler is cancelled because its client
left, so whatever it has begun is finished; only a `Stream` ends with its reader.

ASGI is the interface for any server. `flash.http.connection` calls `respond`, which ASGI calls go through as well, by
itself: a scope and two messages for every request would cost a tenth of what one core can serve.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any

import trio

from flash.errors import OutcomeUnknown, Overloaded, Unavailable
from flash.http.message import BODILESS, Answer, Header, Request, Response, Stream, problem, retry_after
from flash.http.parameters import InvalidParameter, ascii_text, percent_decoded

Handler = Callable[[Request], Awaitable[Answer]]
SegmentHandler = Callable[[Request, str], Awaitable[Answer]]

Shape = tuple[str | None, ...]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_MAX_BYTES = 65_536
BODY_SECONDS = 10.0
BODY_PIECES_MAX = 2_048
"""64 KB in chunks of one byte would cost Hypercorn two seconds of CPU."""

logger = logging.getLogger(__name__)


def _try_later(code: str, detail: str) -> Response:
    return problem(503, code, detail, headers=(retry_after(1),))


NOT_FOUND = problem(404, "not_found", "There is nothing at this path")
BODY_TOO_LARGE = problem(413, "body_too_large", "The request body is larger than this service reads")
BODY_TOO_SLOW = problem(408, "body_too_slow", "The request body did not arrive in time")
BODY_BROKEN = problem(400, "invalid_request", "The request body is not well formed")
INTERNAL_ERROR = problem(500, "internal_error", "Something went wrong here; it has been logged")
OVERLOADED = _try_later("overloaded", "Too many requests are waiting; nothing was started")
UNAVAILABLE = _try_later("unavailable", "A store could not be reached; try again")
OUTCOME_UNKNOWN = _try_later(
    "outcome_unknown",
    "It may have happened or not: ask for the receipt, or repeat with the same Idempotency-Key",
)

_CLOSE: Header = (b"connection", b"close")


class App:
    """Routes requests to handlers. Once `draining` is set, streams end and every answer asks the client to close.

    `routes` maps (method, path), `patterns` (method, path with one `{…}` segment, passed on with its escapes
    undone). A path in `routes` wins over a pattern; GET answers HEAD as well.
    """

    def __init__(
        self,
        routes: Mapping[tuple[str, str], Handler],
        patterns: Mapping[tuple[str, str], SegmentHandler] | None = None,
        *,
        body_max_bytes: int = BODY_MAX_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.draining = trio.Event()
        self._body_max_bytes = body_max_bytes
        self._body_seconds = body_seconds
        self._exact: dict[str, dict[str, Handler]] = {}
        self._patterns: dict[Shape, dict[str, SegmentHandler]] = {}
        for (method, path), handler in routes.items():
            self._exact.setdefault(path, {})[method] = handler
        for (method, path), segment_handler in (patterns or {}).items():
            self._patterns.setdefault(_shape(path), {})[method] = segment_handler
        self._places = {shape.index(None) for shape in self._patterns}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await _refuse_websocket(receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        is_http1 = scope["http_version"] != "2"
        refusal = None
        # The hot path, a request without a body, never calls `receive`. HTTP/2 need not announce a body.
        if _announces_body(headers) or not is_http1:
            refusal = await self._drain(headers, receive)
        request = Request(scope["method"], "", scope["raw_path"], scope["query_string"], headers)
        answer = refusal or await self.respond(request)
        if isinstance(answer, Stream):
            await self.stream(answer, scope, receive, send)
        else:
            closes = is_http1 and (self.draining.is_set() or refusal is not None)
            await _send(send, answer, request.method, closes)

    async def _drain(self, headers: list[Header], receive: Receive) -> Response | None:
        """Read the request body and drop it. Whoever exceeds a bound is refused, and the connection closed."""
        for name, value in headers:
            if name == b"content-length" and not (value.isdigit() and int(value) <= self._body_max_bytes):
                return BODY_TOO_LARGE
        size = 0
        with trio.move_on_after(self._body_seconds):
            for _ in range(BODY_PIECES_MAX):
                message = await receive()
                if message["type"] == "http.disconnect":
                    return BODY_BROKEN  # nobody is left to read it
                size += len(message.get("body", b""))
                if size > self._body_max_bytes:
                    return BODY_TOO_LARGE
                if not message.get("more_body", False):
                    return None
            return BODY_TOO_LARGE
        return BODY_TOO_SLOW

    async def respond(self, request: Request) -> Answer:
        """The answer to a request whose body has been dealt with. Raises nothing."""
        try:
            return await self._route(request)
        except InvalidParameter as error:
            return problem(400, "invalid_request", error.detail)
        except Overloaded:
            return OVERLOADED
        except Unavailable:
            return UNAVAILABLE
        except OutcomeUnknown:
            return OUTCOME_UNKNOWN
        except Exception:
            # Not the whole path: it may hold somebody's code.
            logger.exception("%s %s failed", request.method, "/".join(request.path.split("/")[:2]))
            return INTERNAL_ERROR

    async def stream(self, stream: Stream, scope: Message, receive: Receive, send: Send) -> None:
        """Send what `stream` writes until it ends, the client leaves, or the server stops."""

        headers = [(b"content-type", stream.content_type), *stream.headers]
        if scope["http_version"] != "2":
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] != "HEAD":
            await self._run_stream(stream, receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def _run_stream(self, stream: Stream, receive: Receive, send: Send) -> None:
        async def write(piece: bytes) -> None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

        async def end_after(wait: Callable[[], Awaitable[None]]) -> None:
            await wait()
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_after, self.draining.wait)
                nursery.start_soon(end_after, partial(_disconnected, receive))
                await stream.run(write)
                nursery.cancel_scope.cancel()
        except* Exception:
            logger.exception("a stream broke off")

    def _route(self, request: Request) -> Awaitable[Answer]:
        request.path = path = ascii_text(_origin_form(request.raw_path), "the path")
        segments: tuple[str, ...] = ()
        if "%" in path:
            # Undone per segment: an encoded slash is part of a segment and matches no route.
            segments = tuple(percent_decoded(segment, "the path") for segment in path.split("/"))
            request.path = path = "/".join(segments)
        exact = self._exact.get(path)
        if exact is not None:
            handler = exact.get(request.method) or exact.get(_same_as(request.method))
            return handler(request) if handler else _constant(_method_not_allowed(exact))
        return self._route_pattern(request, segments or tuple(path.split("/")))

    def _route_pattern(self, request: Request, segments: tuple[str, ...]) -> Awaitable[Answer]:
        for place in self._places:
            if place < len(segments) and segments[place] and "/" not in segments[place]:
                methods = self._patterns.get((*segments[:place], None, *segments[place + 1 :]))
                if methods is not None:
                    handler = methods.get(_same_as(request.method))
                    if handler is None:
                        return _constant(_method_not_allowed(methods))
                    return handler(request, segments[place])
        return _constant(NOT_FOUND)


def _shape(path: str) -> Shape:
    """The segments of a pattern; None stands for the variable one."""
    shape = tuple(None if part.startswith("{") else part for part in path.split("/"))
    assert shape.count(None) == 1, f"{path} must have exactly one variable segment"
    return shape


def _origin_form(raw_path: bytes) -> bytes:
    """The path of a target that may be a whole URL, as servers must accept it (RFC 9112, 3.2.2)."""
    if raw_path.startswith(b"/"):
        return raw_path
    _, mark, rest = raw_path.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if mark else raw_path


def _same_as(method: str) -> str:
    return "GET" if method == "HEAD" else method


def _method_not_allowed(methods: Mapping[str, object]) -> Response:
    allowed = sorted({*methods, "HEAD"} if "GET" in methods else methods)
    return problem(
        405,
        "method_not_allowed",
        f"This path answers {', '.join(allowed)} only",
        headers=((b"allow", ", ".join(allowed).encode()),),
    )


async def _constant(response: Response) -> Response:
    return response


def _announces_body(headers: list[Header]) -> bool:
    for name, value in headers:
        if name == b"content-length":
            return value != b"0"
        if name == b"transfer-encoding":
            return True
    return False


async def _send(send: Send, response: Response, method: str, closes: bool) -> None:
    # No `X-Content-Type-Options` on JSON, which no browser sniffs; pages and pictures bring their own headers.
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


async def _lifespan(receive: Receive, send: Send) -> None:
    """Agree to start and to stop; what must be started and stopped is in the hands of `flash.processes.app`."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1000})
