"""Problems (RFC 9457): how an error looks on the wire, and the problems that any request may meet.

Problems that belong to the shop are in `flash.api`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from types import MappingProxyType

from flash.http.body_parameters import FORM, JSON
from flash.http.message import Header, Response, encode_json
from flash.http.problem_types import PROBLEM_TYPES

PROBLEM_JSON = b"application/problem+json"

RETRY_AFTER_MAX = 60
"""In seconds, before the jitter. A longer wait cannot be estimated, and nobody would wait for it."""
OUTCOME_SECONDS_MAX = 300
"""The longest life of a command and the longest time-outs of both stores: a shorter Retry-After would be untrue."""

_NOTHING: Mapping[str, object] = MappingProxyType({})


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    extra: Mapping[str, object] = _NOTHING,
    headers: tuple[Header, ...] = (),
) -> Response:
    """A problem. Clients switch on `code`, which is in `problem_types.toml`; `detail` is a sentence for a person.

    `title` belongs to the type and is always the same; `detail` may say more of this one answer. `extra` adds members.
    """
    kind = PROBLEM_TYPES.get(code)
    assert kind is not None, f"{code} has no entry in flash/http/problem_types.toml, so nobody could look it up"
    members = {
        "type": kind.path,
        "title": kind.title,
        "status": status,
        "detail": detail,
        "code": code,
        **extra,
    }
    return Response(status, encode_json(members), PROBLEM_JSON, headers, code)


def retry_after(seconds: float) -> Header:
    """The header Retry-After in whole seconds, rounded up and at least 1: 0 would invite an endless loop."""
    return b"retry-after", b"%d" % max(1, math.ceil(seconds))


def invalid_request(detail: str) -> Response:
    """400. `detail` names the parameter and the rule."""
    return problem(400, "invalid_request", detail)


def unsupported_media_type(detail: str) -> Response:
    """415, with what would be read (RFC 9110, 15.5.16)."""
    return problem(415, "unsupported_media_type", detail, headers=((b"accept-post", f"{FORM}, {JSON}".encode()),))


def rate_limited(seconds: float | None) -> Response:
    """429, with the seconds after which the client may ask again."""
    return problem(
        429, "rate_limited", "Too many requests; nothing was started or stored", headers=(retry_after(seconds or 1),)
    )


def method_not_allowed(methods: Mapping[str, object]) -> Response:
    """405 for a path that answers `methods`. HEAD is allowed wherever GET is."""
    allowed = sorted({*methods, "HEAD"} if "GET" in methods else methods)
    return problem(
        405,
        "method_not_allowed",
        f"This path answers {', '.join(allowed)} only",
        headers=((b"allow", ", ".join(allowed).encode()),),
    )


def rejection_problem(status: int, reason: str) -> Response:
    """What a client gets whose request could not be parsed, or did not arrive in time."""
    return problem(status, {408: "body_too_slow", 413: "body_too_large"}.get(status, "invalid_request"), reason)


class TryLater:
    """A 503 with a jittered Retry-After, or clients refused together would come back together.

    The usual answers are made at import, so a storm of them costs no more than any constant answer.
    """

    def __init__(self, code: str, detail: str, seconds_max: int = RETRY_AFTER_MAX) -> None:
        body = problem(503, code, detail).body
        self._seconds_max = seconds_max
        self._by_seconds = [
            Response(503, body, PROBLEM_JSON, (retry_after(seconds),), code) for seconds in range(2 * seconds_max + 1)
        ]

    def after(self, seconds: float | None) -> Response:
        """`seconds` is the wait that was estimated, if any. The header says that much, to half as much again."""
        least = 1 if seconds is None else min(max(1, math.ceil(seconds)), self._seconds_max)
        return self._by_seconds[least + int(random.random() * (2 + least // 2))]


NOT_FOUND = problem(404, "not_found", "There is nothing at this path")
BODY_TOO_LARGE = problem(413, "body_too_large", "The request body is larger than this service reads")
BODY_TOO_SLOW = problem(408, "body_too_slow", "The request body did not arrive in time")
BODY_BROKEN = invalid_request("The request body is not well formed")
INTERNAL_ERROR = problem(500, "internal_error", "Something went wrong here; it has been logged")
OVERLOADED = TryLater("overloaded", "Too many requests are waiting; nothing was started")
NO_ROOM = TryLater("unavailable", "Nothing new is recorded for now, because the disk runs low; try again later")
UNAVAILABLE = TryLater("unavailable", "A store could not be reached; try again")
OUTCOME_UNKNOWN = TryLater(
    "outcome_unknown",
    "It may have happened or not: ask for the receipt, or repeat with the same Idempotency-Key",
    OUTCOME_SECONDS_MAX,
)
