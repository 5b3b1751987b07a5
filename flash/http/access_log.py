"""A log of requests: a sample of them, one line each, without what is somebody's own.

The path and the query are those of this service, so what may be shown is listed: numbers, plain words and the
parameters that say what was asked for. Everything else (codes, users' ids, what nobody expected) becomes `***`. No
header is logged, so no idempotency key and no token is.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable
from time import perf_counter

from flash.correlation import Correlation, fields_of, logged
from flash.http.asgi import Respond
from flash.http.message import Answer, Request

_HIDDEN = "***"
_SHOWN = frozenset({"id", "sale", "limit", "before", "after", "available", "sold_out"})
"""Parameters that say what was asked for, and not by whom."""
_PLAIN_VALUE = re.compile(r"[a-z0-9]{0,20}")
_PLAIN_SEGMENT = re.compile(r"[a-z0-9._-]{0,40}")
"""A code has more characters, and capitals."""
_BEHIND = "/purchases/"
"""What follows is a code, or was meant to be one."""
_PARAMETERS_MAX = 8

log = logging.getLogger(__name__)


class AccessLog:
    """Logs a share of all requests, `sample` from 0 to 1. `client_of` says who asks; `draw` gives numbers below 1."""

    def __init__(
        self, sample: float, client_of: Callable[[Request], str], draw: Callable[[], float] = random.random
    ) -> None:
        self._sample = sample
        self._client_of = client_of
        self._draw = draw
        log.setLevel(logging.INFO)  # whoever asks for this log wants it at any FLASH_LOG_LEVEL

    def around(self, respond: Respond) -> Respond:
        async def logging_some(request: Request) -> Answer:
            if self._draw() >= self._sample:
                return await respond(request)
            request.correlation = logged(request.correlation)
            began_at = perf_counter()
            answer = await respond(request)
            self._log(request, answer, perf_counter() - began_at)
            return answer

        return logging_some

    def log_rejected(self, status: int, reason: str, peer: str | None, correlation: Correlation) -> None:
        """A request that could not be read, for `reason`, which quotes nothing of it. Its client is whoever sent it."""
        if self._draw() < self._sample:
            fields = {"status": status, "reason": reason, "client": peer or "unix", **fields_of(correlation)}
            log.info("unreadable request", extra={"fields": fields})

    def _log(self, request: Request, answer: Answer, seconds: float) -> None:
        fields = {
            "method": request.method,
            "path": redacted(request.raw_path, request.query),
            "status": answer.status,
            "duration_ms": round(seconds * 1e3, 3),
            "client": self._client_of(request),
            **fields_of(request.correlation),
        }
        log.info("request", extra={"fields": fields})


def redacted(raw_path: bytes, query: bytes) -> str:
    """A target as a log may show it."""
    path = raw_path.decode("latin-1")
    if path.startswith(_BEHIND):
        path = _BEHIND + _HIDDEN
    else:
        path = "/".join(part if _PLAIN_SEGMENT.fullmatch(part) else _HIDDEN for part in path[:400].split("/"))
    if not query:
        return path
    parameters = query.decode("latin-1").split("&", _PARAMETERS_MAX)
    return f"{path}?{'&'.join(map(_redacted_parameter, parameters))}"


def _redacted_parameter(text: str) -> str:
    name, equals, value = text.partition("=")
    if not _PLAIN_SEGMENT.fullmatch(name):
        return _HIDDEN
    return f"{name}{equals}{value if name in _SHOWN and _PLAIN_VALUE.fullmatch(value) else _HIDDEN}" if equals else name
