"""What became of requests, by route and outcome. It runs for every request, so it does nothing but count.

No text of a client gets into it: a path that is no route, and a method that a route does not answer, count as `other`.
"""

from __future__ import annotations

from flash.http.message import Answer, Request
from flash.metrics.counts import SECONDS_BOUNDS, Histogram

OTHER = "other"

RequestKind = tuple[str, str, int, str]
"""Method, route as it is listed (with `{…}` for what varies), status, and the problem's code or nothing."""


class RequestCounts:
    """How long requests of each kind took until their answer was ready to be sent."""

    __slots__ = ("by_kind",)

    def __init__(self) -> None:
        self.by_kind: dict[RequestKind, Histogram] = {}

    def note(self, request: Request, answer: Answer, seconds: float) -> None:
        kind = (request.method, request.route, answer.status, answer.code)
        (self.by_kind.get(kind) or self._of(request, answer)).observe(seconds)

    def _of(self, request: Request, answer: Answer) -> Histogram:
        kind = (request.method, request.route, answer.status, answer.code)
        if not request.route:
            kind = (OTHER, OTHER, answer.status, answer.code)
        return self.by_kind.setdefault(kind, Histogram(SECONDS_BOUNDS))
