"""Answers as bytes: a whole `Response` in one piece, and one request and its answer spoken in ASGI 3 (HTTP 2.3).

No socket: whoever owns one passes `write`, and `wait_gone` to hear that the client has left.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

from flash.http.asgi import Message
from flash.http.message import BODILESS, TITLES, Header, Response, Write
from flash.http.parser import Incoming

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = b"connection: close\r\n"


def encode(response: Response, *, is_head: bool, closes: bool) -> bytes:
    """The whole answer. Sent in one piece: a second send would cost a system call and a packet."""
    head = _LINES.get(response.status) or _line(response.status)
    extra = _lines(response.headers) if response.headers else b""
    close = _CLOSE if closes else b""
    if response.status in BODILESS:
        return b"%b%b%b%b\r\n" % (head, _date(), extra, close)
    body = b"" if is_head else response.body
    return b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n%b" % (
        head,
        _date(),
        response.content_type,
        len(response.body),
        extra,
        close,
        body,
    )


def _line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {TITLES.get(status, '')}\r\n".encode()


_LINES = {status: _line(status) for status in TITLES}


def _lines(headers: Iterable[Header]) -> bytes:
    lines = [b"%b: %b" % header for header in headers]
    assert not any(b"\r" in line or b"\n" in line for line in lines), "a header must not end its line"
    return b"".join([line + b"\r\n" for line in lines])


_dated = (0, b"")


def _date() -> bytes:
    """The Date header (RFC 9110, 6.6.1), made once a second."""
    global _dated
    second = int(time.time())
    if _dated[0] != second:
        _dated = second, f"date: {formatdate(second, usegmt=True)}\r\n".encode()
    return _dated[1]


class Exchange:
    """One request and its answer in ASGI. An answer of unknown length is chunked, and the last on its connection."""

    def __init__(
        self, incoming: Incoming, write: Write, wait_gone: Callable[[], Awaitable[None]], closes: Callable[[], bool]
    ) -> None:
        self.has_begun = False
        self.is_complete = False
        self.closes = False
        self._incoming = incoming
        self._is_head = incoming.request.method == "HEAD"
        self._write = write
        self._wait_gone = wait_gone
        self._must_close = closes
        self._is_chunked = False
        self._is_body_read = False
        self._start: Message = {}

    def scope(self) -> Message:
        request = self._incoming.request
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self._incoming.version,
            "method": request.method,
            "scheme": "http",
            "path": unquote(request.raw_path.decode("ascii")),
            "raw_path": request.raw_path,
            "query_string": request.query,
            "root_path": "",
            "headers": request.headers,
            "client": None,
            "server": None,
        }

    async def receive(self) -> Message:
        """The whole body at once, then nothing until the client leaves."""
        if not self._is_body_read:
            self._is_body_read = True
            return {"type": "http.request", "body": self._incoming.body, "more_body": False}
        if not self.is_complete:
            await self._wait_gone()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        piece, more = message.get("body", b""), message.get("more_body", False)
        head = b"" if self.has_begun else self._head(piece, more)
        self.has_begun = True
        self.is_complete = not more
        if self._is_head:
            piece = b""
        elif self._is_chunked:
            piece = (b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"") + (b"" if more else b"0\r\n\r\n")
        await self._write(head + piece)

    def _head(self, piece: bytes, more: bool) -> bytes:
        status: int = self._start["status"]
        headers: list[Any] = [(name, value) for name, value in self._start["headers"] if name != b"connection"]
        self.closes = self._must_close() or len(headers) != len(self._start["headers"])
        if not any(name == b"content-length" for name, _ in headers) and status not in BODILESS:
            if not more:
                headers += [(b"content-length", b"%d" % len(piece))] * (not self._is_head)
            else:
                self.closes = True
                self._is_chunked = self._incoming.version == "1.1"
                headers += [(b"transfer-encoding", b"chunked")] * self._is_chunked
        return b"%b%b%b%b\r\n" % (_line(status), _date(), _lines(headers), _CLOSE if self.closes else b"")
