"""Turns bytes into requests, without a socket or a clock: llhttp's grammar, plus checks that it leaves to its user.

llhttp rejects ambiguous framing, bare line feeds and folded lines. It accepts any number and size of headers, any
version, no Host or several, every transfer coding that ends in `chunked`, and a fragment in the target: those are
rejected here. It also rejects bytes beyond ASCII in the target, which are escaped before it sees them. Its leniency
switches stay off. A body is kept whole, since it is small. What becomes of a request never depends on how it is cut
into packets.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum
from http import HTTPMethod

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from flash.http.correlating import correlate
from flash.http.limits import HEAD_MAX_BYTES, HEADERS_MAX, URL_MAX_BYTES
from flash.http.message import Header, Request
from flash.http.raw_targets import escaped, runs

READ_BYTES = 4_096
"""Feed at most this much at once, and nothing while a request is ready. That keeps at most 151 pipelined requests in
memory."""

_WIRE_PER_BODY_BYTE = 6
"""A chunk of one byte takes six on the wire. Anything more is chunk extensions, which nobody needs."""
_METHODS = {method.value.encode(): method.value for method in HTTPMethod}
"""The methods of RFC 9110, and PATCH. llhttp also knows some of WebDAV, RTSP and others."""
_TARGET = re.compile(rb"[!\"$-~]+")
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:\[\]%-]*")
_OTHER_VERSION = frozenset({"Invalid HTTP version", "Pause on PRI/Upgrade"})


class Phase(Enum):
    """What the next byte belongs to."""

    IDLE = "a request that has not begun"
    HEAD = "a request line or a header"
    BODY = "a body"


@dataclass(slots=True)
class Incoming:
    """A request that has arrived in full. `is_last`: nothing after it is answered on this connection."""

    request: Request
    version: str
    is_last: bool


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why nothing more will be read from a connection. `status` is the answer that the client gets."""

    status: int
    reason: str


class _Rejected(Exception):
    """Leaves a callback of llhttp. The reason is in `RequestParser.rejection`."""


class RequestParser:
    """The parser of one connection.

    Its user answers what is `ready` in order, then sends the `rejection`, if there is one, and closes.
    """

    def __init__(self, body_max_bytes: int) -> None:
        self.ready: deque[Incoming] = deque()
        self.rejection: Rejection | None = None
        self.phase = Phase.IDLE
        self.awaits_continue = False
        self._body_max_bytes = body_max_bytes
        self._llhttp = HttpRequestParser(self)
        self._target = b""
        self._is_in_target = False
        self._headers: list[Header] = []
        self._incoming: Incoming

    @property
    def headers(self) -> list[Header]:
        """Those of the request that is arriving, as far as they are here."""
        return self._headers

    @property
    def target(self) -> bytes:
        """That of the same request, as far as it is here."""
        return self._target

    def feed(self, data: bytes) -> None:
        """Take at most `READ_BYTES`. Bad input raises nothing: it sets `rejection`."""
        try:
            if data.endswith(b"\n") and data.isascii():
                self._is_in_target = False
                self._parse(data)
            else:
                self._parse_runs(data)
        except _Rejected:
            pass
        except HttpParserError as error:
            self._give_up(error)

    def _parse_runs(self, data: bytes) -> None:
        """Parse what may hold bytes beyond ASCII, or end where the next ones would belong to a target.

        Only llhttp knows what a byte belongs to, and it tells of a target only at the end of what it is fed. So the
        byte before a run is fed alone: if the target grows by it, the run belongs to the target as well.
        """
        for run in runs(data):
            if run.isascii():
                self._parse(run[:-1])
                size = len(self._target)
                self._parse(run[-1:])
                self._is_in_target = len(self._target) > size
            else:
                self._parse(escaped(run) if self._is_in_target else run)

    def _parse(self, data: bytes) -> None:
        while data:
            data = self._parse_to_upgrade(data)

    def _parse_to_upgrade(self, data: bytes) -> bytes:
        try:
            self._llhttp.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return data[upgrade.args[0] :]  # ignored: what follows is HTTP/1.1 again
        if self.phase is not Phase.IDLE:
            self._unfinished += len(data)
            self._bound_unfinished()
        return b""

    def _give_up(self, error: HttpParserError) -> None:
        if self.rejection is not None or (self.ready and self.ready[-1].is_last):
            return
        if error.__context__ is not None:
            raise error  # one of our callbacks failed: not the client's fault
        reason = str(error)
        self.rejection = Rejection(505 if reason in _OTHER_VERSION else 400, reason)

    def _reject(self, status: int, reason: str) -> None:
        self.rejection = Rejection(status, reason)
        raise _Rejected

    def _bound_unfinished(self) -> None:
        """Bound what llhttp holds back: an endless header name, chunk extensions, trailers."""
        if self.phase is Phase.HEAD and self._unfinished > URL_MAX_BYTES + HEAD_MAX_BYTES + READ_BYTES:
            self._reject(431, "head too large")
        if self.phase is Phase.BODY and self._unfinished > _WIRE_PER_BODY_BYTE * self._body_max_bytes + READ_BYTES:
            self._reject(413, "body too large")

    # --- llhttp calls these, in this order; trailers come through `on_header` as well ---

    def on_message_begin(self) -> None:
        self.phase = Phase.HEAD
        self._target = b""
        self._headers = []
        self._headers_size = self._headers_count = self._unfinished = 0

    def on_url(self, piece: bytes) -> None:
        self._target += piece
        if len(self._target) > URL_MAX_BYTES:
            self._reject(414, "target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_size += len(name) + len(value) + 4
        self._headers_count += 1
        if self._headers_size > HEAD_MAX_BYTES or self._headers_count > HEADERS_MAX:
            self._reject(431, "head too large")
        if self.phase is Phase.HEAD:
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        llhttp = self._llhttp
        version = llhttp.get_http_version()
        method = _METHODS.get(llhttp.get_method())
        fields = dict(self._headers)
        self._check_head(version, method, fields)
        assert method is not None
        path, _, query = self._target.partition(b"?")
        self._incoming = Incoming(
            Request(method, "", path, query, self._headers, correlation=correlate(fields)),
            version,
            version == "1.0" or not llhttp.should_keep_alive(),
        )
        self.phase = Phase.BODY
        self._unfinished = self._body_size = 0
        self._pieces: list[bytes] = []
        if b"content-length" in fields or b"transfer-encoding" in fields:
            self._expect_body(version, fields)

    def on_body(self, piece: bytes) -> None:
        self._body_size += len(piece)
        if self._body_size > self._body_max_bytes:
            self._reject(413, "body too large")
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._pieces:
            self._incoming.request.body = b"".join(self._pieces)
        self.ready.append(self._incoming)
        self.phase = Phase.IDLE
        self._headers = []
        self.awaits_continue = False

    def _check_head(self, version: str, method: str | None, fields: dict[bytes, bytes]) -> None:
        if version not in ("1.1", "1.0"):
            self._reject(505, "not HTTP/1")  # a request line without a version is HTTP/0.9
        if method is None:
            self._reject(501, "unknown method")
        if not _TARGET.fullmatch(self._target):
            self._reject(400, "malformed target")
        host = fields.get(b"host")
        if (host is None and version == "1.1") or not _HOST.fullmatch(host or b""):
            self._reject(400, "no Host, or a malformed one")
        if len(fields) != len(self._headers) and self._is_repeated(b"host", b"transfer-encoding"):
            self._reject(400, "repeated Host or Transfer-Encoding")

    def _is_repeated(self, *names: bytes) -> bool:
        given = [name for name, _ in self._headers if name in names]
        return len(given) != len(set(given))

    def _expect_body(self, version: str, fields: dict[bytes, bytes]) -> None:
        coding = fields.get(b"transfer-encoding")
        if coding is not None and version == "1.0":
            self._reject(400, "Transfer-Encoding in HTTP/1.0")
        if coding is not None and coding.lower() != b"chunked":
            self._reject(501, "unknown transfer coding")
        length = int(fields.get(b"content-length", b"0"))
        if length > self._body_max_bytes:
            self._reject(413, "body too large")
        if self._llhttp.should_upgrade() and (coding or length):
            self._reject(400, "a body with CONNECT or Upgrade")  # llhttp would read it as the next request
        self.awaits_continue = version == "1.1" and fields.get(b"expect", b"").lower() == b"100-continue"
