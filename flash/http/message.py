"""What handlers get and give: a request and a response in plain values, JSON, and RFC 9457 problems.

Nothing here knows ASGI or a socket. A `Response` never changes once made, so constant answers are encoded
once, at import, and sent again and again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

import orjson

Header = tuple[bytes, bytes]

JSON = b"application/json"
PROBLEM_JSON = b"application/problem+json"

# RFC 9110's phrases, spelled out where Python's differ from one version to the next.
TITLES = {int(status): status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    422: "Unprocessable Content",
}

BODILESS = frozenset({204, 304})
"""Statuses whose answers have no body and no length."""

_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(slots=True)
class Request:
    """One request, its body already read and dropped.

    `path` has its percent-escapes undone, `raw_path` and `query` are as received, header names in lower case.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: list[Header]

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header `name` (lower case), None if there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def header_values(self, name: bytes) -> list[bytes]:
        """Every value of the header `name` (lower case), in order: for those that may not be repeated."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `headers` holds no Content-Type, Content-Length or Connection: `App` adds those."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()


Write = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stream:
    """A 200 whose body is written piece by piece, such as server-sent events, and whose connection then ends.

    `run` is cancelled when the client leaves or the server stops, so it must hold nothing that has to be finished.
    """

    run: Callable[[Write], Awaitable[None]]
    content_type: bytes
    headers: tuple[Header, ...] = ()


Answer = Response | Stream


def json_response(status: int, value: object, headers: tuple[Header, ...] = ()) -> Response:
    """`value` as compact JSON; datetimes, which must be aware and in UTC, end in Z."""
    return Response(status, encode_json(value), JSON, headers)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    extra: Mapping[str, object] = _NOTHING,
    headers: tuple[Header, ...] = (),
) -> Response:
    """An RFC 9457 problem. `code` is what a client switches on, `detail` a sentence for a person.

    `type` is a relative reference made from the code: stable, and another one for every code, which
    `about:blank` ("no more to say than the status") would not be.
    """
    members = {
        "type": f"/problems/{code}",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
        "code": code,
        **extra,
    }
    return Response(status, encode_json(members), PROBLEM_JSON, headers)


def retry_after(seconds: float) -> Header:
    """The header Retry-After in whole seconds, rounded up and at least 1: 0 would invite an endless loop."""
    return b"retry-after", b"%d" % max(1, math.ceil(seconds))


def encode_json(value: object) -> bytes:
    """Compact JSON, members in the order given."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
