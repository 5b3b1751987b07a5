"""Cross-origin requests (the CORS protocol of the Fetch standard): which other sites' pages may use this service.

A page of an origin that is listed may read answers and the headers that a client needs. It can send neither a cookie
nor the operator's token, and what is the operator's stays shut to it in any case. Without origins an application is a
plain `App` and pays nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from flash.http.asgi import App
from flash.http.message import JSON, Answer, Header, Request, Response
from flash.http.router import Patterns, Routes

ANY_ORIGIN = "*"
PREFLIGHT_SECONDS = 7_200
"""How long a browser may remember a preflight. Chromium caps it here, Firefox at a day."""

ALLOWED_METHODS = "GET, HEAD, POST"
ALLOWED_HEADERS = (
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "User-Token",
    "X-Request-ID",
    "traceparent",
    "tracestate",
)
EXPOSED_HEADERS = (
    "Age",
    "Allow",
    "ETag",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
    "traceparent",
)

_VARY: Header = (b"vary", b"origin")
_EXPOSE: Header = (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode())
_PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", ALLOWED_METHODS.encode()),
    (b"access-control-allow-headers", ", ".join(ALLOWED_HEADERS).encode()),
    (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
)


class CorsApp(App):
    """An application that pages of `origins` may use: `scheme://host[:port]` each, or `*` for all.

    `closed`: paths that stay our own pages' alone, with all that is below them.
    """

    def __init__(
        self, origins: Collection[str], closed: Collection[str], routes: Routes, patterns: Patterns, **bounds: Any
    ) -> None:
        super().__init__(routes, patterns, **bounds)
        self._is_open = ANY_ORIGIN in origins
        self._origins = frozenset(origin.encode() for origin in origins)
        self._closed = tuple(closed)

    async def respond(self, request: Request) -> Answer:
        answer = await super().respond(request)  # which finds out the path
        if _is_preflight(request) and isinstance(answer, Response) and answer.status == 405:
            allowed = () if self._is_closed(request.path) else self._allowed(request.header(b"origin"))
            if allowed:
                return Response(204, b"", JSON, (*allowed, *_PREFLIGHT))
        more = self._headers(request.path, request.header(b"origin"))
        return replace(answer, headers=(*answer.headers, *more)) if more else answer

    def opened(self, rejection: Response, target: bytes, headers: list[Header]) -> Response:
        origin = next((value for name, value in headers if name == b"origin"), None)
        more = self._headers(target.partition(b"?")[0].decode("latin-1"), origin)
        return replace(rejection, headers=(*rejection.headers, *more))

    def _headers(self, path: str, origin: bytes | None) -> tuple[Header, ...]:
        if self._is_closed(path):
            return ()
        allowed = self._allowed(origin)
        # Without them, a cache must not give the answer, which no other page may read, to a page that may.
        return (*allowed, _EXPOSE) if allowed else (_VARY,)

    def _is_closed(self, path: str) -> bool:
        return any(path == closed or path.startswith(closed + "/") for closed in self._closed)

    def _allowed(self, origin: bytes | None) -> tuple[Header, ...]:
        """The headers that let a page of `origin` read an answer; none for a page that may not."""
        if self._is_open:
            return ((b"access-control-allow-origin", b"*"),)
        if origin is None or origin not in self._origins:
            return ()
        return (b"access-control-allow-origin", origin), _VARY


def _is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and request.header(b"access-control-request-method") is not None


def origins_of(text: str) -> frozenset[str]:
    """The origins in a comma-separated list."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())
