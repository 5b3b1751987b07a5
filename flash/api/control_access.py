"""Who may see and use the control room: whoever has the operator's token, or a cookie that was given for it.

The token is compared in constant time, and an address that gave a wrong one waits before the next is looked at. The
cookie does not contain the token: it is an expiry and a MAC of it, so any web process can check it, nothing is stored,
and another token ends all sessions. A change is made only for a request that names the token itself or that a browser
sent from one of our own pages, so another site cannot have an operator's browser make it.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Concatenate, ParamSpec

import trio

from flash.errors import RateLimited
from flash.http.message import JSON, Answer, Header, Request, Response
from flash.http.problems import problem
from flash.http.rate_limit import RateLimit
from flash.telemetry import ThrottledLogger

P = ParamSpec("P")
Guarded = Callable[Concatenate[Request, P], Awaitable[Answer]]

SESSION_SECONDS = 12 * 3600
"""How long a browser stays logged in: a shift. It is counted by the web processes' own clocks."""
_WRONG_PER_SECOND = 0.5
"""Wrong tokens of one address that are looked at: nobody guesses 16 characters at that rate."""

_COOKIE = b"flash_control"
_NO_STORE: Header = (b"cache-control", b"no-store")
UNAUTHORIZED = problem(
    401,
    "unauthorized",
    "This needs the operator's token: log in at /control, or send it as Authorization: Bearer",
    headers=((b"www-authenticate", b'Bearer realm="flash control"'), _NO_STORE),
)
CROSS_ORIGIN = problem(
    403,
    "cross_origin",
    "With a login cookie, a change is taken only from this service's own pages",
    headers=(_NO_STORE,),
)

_warn = ThrottledLogger(logging.getLogger(__name__))


class ControlAccess:
    """`address_of` says whose request it is. `is_tls`: cookies are for encrypted connections only."""

    def __init__(
        self,
        token: str,
        address_of: Callable[[Request], str],
        *,
        is_tls: bool,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._token = token.encode()
        self._session_key = hmac.digest(self._token, b"flash control session", "sha256")
        self._address_of = address_of
        self._is_tls = is_tls
        self._wall_clock = wall_clock
        self._wrong = RateLimit(_WRONG_PER_SECOND)

    def reading(self, handler: Guarded[P]) -> Guarded[P]:
        """`handler` for operators only."""

        async def guarded(request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
            return self.refusal(request) or await handler(request, *args, **kwargs)

        return guarded

    def changing(self, handler: Guarded[P]) -> Guarded[P]:
        """`handler`, which changes something, for operators only, and not on behalf of another site."""

        async def guarded(request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
            return self.refusal(request, changes=True) or await handler(request, *args, **kwargs)

        return guarded

    def refusal(self, request: Request, *, changes: bool = False) -> Response | None:
        """The answer for whoever may not; None for an operator. Raises `RateLimited` after a wrong token."""
        if request.header(b"authorization") is not None:
            return None if self._has_token(request) else UNAUTHORIZED
        if not any(self._is_session(cookie) for cookie in _cookies(request)):
            return UNAUTHORIZED
        return CROSS_ORIGIN if changes and not _is_same_origin(request) else None

    async def log_in(self, request: Request) -> Response:
        """Exchange the token for a cookie."""
        if not self._has_token(request):
            return UNAUTHORIZED
        expiry = b"%d" % (self._wall_clock() + SESSION_SECONDS)
        return self._with_cookie(request, b"%b.%b" % (expiry, self._mac(expiry)), SESSION_SECONDS)

    async def log_out(self, request: Request) -> Response:
        """Have the browser forget its cookie."""
        return self._with_cookie(request, b"", 0) if _is_same_origin(request) else CROSS_ORIGIN

    def _has_token(self, request: Request) -> bool:
        """Raises `RateLimited` if this address has just given a wrong token, whatever it gives now."""
        address, now = self._address_of(request), trio.current_time()
        seconds = self._wrong.wait(address, now)
        if seconds:
            raise RateLimited("a wrong token was given from this address", retry_after_seconds=seconds)
        given = request.header_values(b"authorization")
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token):
            return True
        if given:
            self._wrong.take(address, now)
            _warn("a wrong control token was given from %s", address)
        return False

    def _mac(self, expiry: bytes) -> bytes:
        return hmac.digest(self._session_key, expiry, "sha256").hex().encode()

    def _is_session(self, cookie: bytes) -> bool:
        expiry, _, mac = cookie.partition(b".")
        return hmac.compare_digest(mac, self._mac(expiry)) and int(expiry) > self._wall_clock()

    def _with_cookie(self, request: Request, value: bytes, seconds: int) -> Response:
        # A proxy may have ended TLS before us: then the page's own origin says so.
        is_secure = self._is_tls or (request.header(b"origin") or b"").startswith(b"https://")
        secure = b"; Secure" if is_secure else b""
        cookie = b"%b=%b; Path=/control; Max-Age=%d; HttpOnly; SameSite=Strict%b" % (_COOKIE, value, seconds, secure)
        return Response(204, b"", JSON, ((b"set-cookie", cookie), _NO_STORE))


def _cookies(request: Request) -> Iterator[bytes]:
    for header in request.header_values(b"cookie"):
        for pair in header.split(b";"):
            name, _, value = pair.strip().partition(b"=")
            if name == _COOKIE:
                yield value


def _is_same_origin(request: Request) -> bool:
    """Whether one of our pages sent it. Browsers add one of the two headers to every POST, and no page can set them."""
    site = request.header(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    _, slashes, host = (request.header(b"origin") or b"").partition(b"://")
    return bool(slashes) and host.lower() == (request.header(b"host") or b"").lower()
