"""Problems in the description: those of `problem_types.toml`, by the status that they have."""

from __future__ import annotations

from collections.abc import Iterable

from flash.api.openapi.headers import HEADERS
from flash.api.openapi.operation import Json, answer, ref, schema
from flash.api.openapi.schemas import RECEIPT_EXAMPLE
from flash.http.problem_types import PROBLEM_TYPES, ProblemType

COMMON = ("invalid_request", "body_too_slow", "body_too_large", "internal_error", "overloaded")
"""Any request may get these: from the server, whatever its path."""
HTTP_STATUSES = {
    414: "The target of the request is longer than is read.",
    431: "The headers are larger than is read.",
    501: "The method or the transfer coding is not known.",
    505: "Only HTTP/1.0, HTTP/1.1 and, with TLS, HTTP/2 are spoken.",
}
"""What else the server itself answers, with the code invalid_request. The connection is closed."""

_HEADERS = {
    "rate_limited": ("Retry-After", "RateLimit", "RateLimit-Policy"),
    "sale_not_open": ("Retry-After",),
    "overloaded": ("Retry-After",),
    "unavailable": ("Retry-After",),
    "outcome_unknown": ("Retry-After",),
    "paused": ("Retry-After",),
    "unsupported_media_type": ("Accept-Post",),
    "unauthorized": ("WWW-Authenticate", "Cache-Control"),
    "invalid_user_token": ("WWW-Authenticate",),
    "cross_origin": ("Cache-Control",),
    "not_purchased": ("Cache-Control",),
}


def problem_answers(codes: Iterable[str]) -> Json:
    """The answers for all of `codes`, by status."""
    by_status: dict[int, list[ProblemType]] = {}
    for code in PROBLEM_TYPES:
        if code in codes:
            by_status.setdefault(PROBLEM_TYPES[code].status, []).append(PROBLEM_TYPES[code])
    return {str(status): _one(status, types) for status, types in by_status.items()}


def http_answers() -> Json:
    """For `components`: what any request may get of the server before anybody looks at its path."""
    invalid = PROBLEM_TYPES["invalid_request"]
    return {f"Http{status}": _one(status, [invalid], text) for status, text in HTTP_STATUSES.items()}


def http_references() -> Json:
    return {str(status): ref("responses", f"Http{status}") for status in HTTP_STATUSES}


def _one(status: int, types: list[ProblemType], description: str = "") -> Json:
    lines = [f"`{kind.code}`: {kind.title}." for kind in types]
    codes = [kind.code for kind in types]
    content = {
        "application/problem+json": {
            "schema": {
                **schema("Problem"),
                "properties": {"status": {"const": status}, "code": {"type": "string", "enum": codes}},
            },
            "examples": {kind.code: {"summary": kind.title, "value": _example(kind, status)} for kind in types},
        }
    }
    return {**answer(description or "  \n".join(lines), content), **_headers_of(codes)}


def _headers_of(codes: list[str]) -> Json:
    """What all of the codes bring, and what only some do."""
    brought = [set(_HEADERS.get(code, ())) for code in codes]
    always = set.intersection(*brought)
    headers = {
        name: ref("headers", name) if name in always else {**HEADERS[name], "required": False}
        for name in sorted(set.union(*brought))
    }
    return {"headers": headers} if headers else {}


def _example(kind: ProblemType, status: int) -> Json:
    detail = kind.meaning.partition(". ")[0].rstrip(".") + "."
    found: Json = {"type": kind.path, "title": kind.title, "status": status, "detail": detail, "code": kind.code}
    return {**found, "purchase": RECEIPT_EXAMPLE} if kind.code == "code_already_used" else found
