"""What handlers get and give, in plain values: a request, a response, a stream.

Nothing here knows ASGI or a socket. A `Response` never changes once it is made, so constant answers are encoded
once, at import, and sent again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import ClassVar, Protocol

import orjson

from flash.correlation import UNCORRELATED, Correlation

Header = tuple[bytes, bytes]

JSON = b"application/json"

# RFC 9110's phrases, spelled out where Python's differ from one version to the next.
TITLES = {int(status): status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    422: "Unprocessable Content",
}

BODILESS = frozenset({204, 304})
"""Statuses whose answers have no body and no length."""


@dataclass(slots=True)
class Request:
    """One request, with its whole body. Only the handlers that take parameters from a body look at it.

    `path` has its percent-escapes undone. `raw_path` and `query` are as received. Header names are in lower case.
    `peer` is the address at the other end of the connection, if the application reads it and it is no unix socket.
    `route` is how the route that answers it is listed, once it has been found; empty if there is none.
    `correlation` is what logs, traces and the answer's headers call it.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: list[Header]
    peer: str | None = None
    body: bytes = b""
    route: str = ""
    correlation: Correlation = field(default=UNCORRELATED, compare=False)

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header `name` (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def header_values(self, name: bytes) -> list[bytes]:
        """All values of the header `name` (lower case) in order, for headers that must not be repeated."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `headers` holds no Content-Type, Content-Length or Connection: those are added when it is sent.

    `code` is that of a problem, which its body says as well: for whoever counts answers.
    """

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()
    code: str = field(default="", compare=False)


class Reader(Protocol):
    """One client that follows a `Stream`."""

    def write_nowait(self, piece: bytes) -> None:
        """Send `piece`, or keep it until the client takes it. A client that is too far behind is cut loose."""

    def end(self) -> None:
        """End the stream for this client, who may come back."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A 200 whose body is written piece by piece to all who follow it, such as server-sent events.

    `join` may write at once; `leave` is called whatever ends the stream. Its connection closes with it.
    """

    status: ClassVar[int] = 200
    code: ClassVar[str] = ""

    join: Callable[[Reader], None]
    leave: Callable[[Reader], None]
    content_type: bytes
    headers: tuple[Header, ...] = ()


Answer = Response | Stream


def json_response(status: int, value: object, headers: tuple[Header, ...] = ()) -> Response:
    """`value` as compact JSON. Datetimes must be aware and in UTC; they end in Z."""
    return Response(status, encode_json(value), JSON, headers)


def encode_json(value: object) -> bytes:
    """Compact JSON, members in the order given."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
