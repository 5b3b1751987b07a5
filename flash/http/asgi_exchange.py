"""One request and its answer in ASGI 3 (HTTP 2.3), on a connection of the built-in server.

Needed for applications other than `App`. It has no socket: whoever owns one passes `write`, and
`wait_gone`, which returns when the client has left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from flash.http.asgi import Message
from flash.http.encoder import CLOSE_LINE, date_line, header_lines, status_line
from flash.http.message import BODILESS
from flash.http.parser import Incoming

Write = Callable[[bytes], Awaitable[None]]


class AsgiExchange:
    """An answer whose length is not known in advance is chunked, and is the last on its connection.

    `must_close()` says whether the connection has to close after this answer anyway.
    """

    def __init__(
        self,
        incoming: Incoming,
        write: Write,
        wait_gone: Callable[[], Awaitable[None]],
        must_close: Callable[[], bool],
    ) -> None:
        self.has_begun = False
        self.is_complete = False
        self.closes = False
        self._incoming = incoming
        self._is_head = incoming.request.method == "HEAD"
        self._write = write
        self._wait_gone = wait_gone
        self._must_close = must_close
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
            return {"type": "http.request", "body": self._incoming.request.body, "more_body": False}
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
        close = CLOSE_LINE if self.closes else b""
        return b"%b%b%b%b\r\n" % (status_line(status), date_line(), header_lines(headers), close)
