"""h11 without what it forgives. Used where Hypercorn speaks HTTP/1.1: under TLS, and with FLASH_HTTP=hypercorn.

h11 repairs bare line feeds, folded lines and repeated framing headers, and leaves versions and hosts to its user. An
intermediary may read such a request differently, so it is rejected here. The built-in parser has rules of its own.
Only targets with bytes beyond ASCII are understood here and not by h11.
"""

from __future__ import annotations

import re
from typing import Any

import h11

from flash.http.limits import HEAD_MAX_BYTES, HEADERS_MAX, URL_MAX_BYTES
from flash.http.raw_targets import escaped

_BARE_LF_OR_FOLD = re.compile(rb"(?<!\r)\n|\n[ \t]")
_FRAMING = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)
_TARGET = re.compile(rb"[A-Z]+ ((?:/|[a-z]+://)[^ \r\n]*)")
"""The target of a request line, or as much of it as has arrived."""
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:\[\]%-]*")


class StrictH11(h11.Connection):
    """Rejects bare LF, folded lines, repeated framing headers, odd versions and malformed hosts."""

    def __init__(self, role: type[h11.SERVER]) -> None:
        super().__init__(role, max_incomplete_event_size=4 * HEAD_MAX_BYTES)
        self.has_rejected = False

    def next_event(self) -> Any:
        try:
            if self.their_state is h11.IDLE:
                self._escape_target()
                _check_head(self.trailing_data[0])
            event = super().next_event()
            if isinstance(event, h11.Request):
                _check_request(event)
        except h11.RemoteProtocolError:
            self.has_rejected = True
            raise
        return event

    def _escape_target(self) -> None:
        """Rewrite what h11 has received and not looked at yet. Nothing public does that, and h11 is pinned."""
        received = self._receive_buffer._data
        target = None if received.isascii() else _TARGET.match(received)
        if target and not target[1].isascii():
            received[target.start(1) : target.end(1)] = escaped(target[1])


def _check_head(received: bytes) -> None:
    """Check a head, or as much of it as has arrived, as bytes: h11 only shows it after repairs."""
    end = received.find(b"\r\n\r\n")
    head = received if end < 0 else received[: end + 2]
    line = head.find(b"\n") + 1 or len(head)
    if line > URL_MAX_BYTES + 64:
        raise h11.RemoteProtocolError("request line too long", error_status_hint=414)
    if len(head) - line > HEAD_MAX_BYTES or head.count(b"\n") > HEADERS_MAX + 1:
        raise h11.RemoteProtocolError("head too large", error_status_hint=431)
    if _BARE_LF_OR_FOLD.search(head):
        raise h11.RemoteProtocolError("bare LF or folded line")
    if len(_FRAMING.findall(head)) > 1:
        raise h11.RemoteProtocolError("more than one Content-Length or Transfer-Encoding")


def _check_request(request: h11.Request) -> None:
    if len(request.target) > URL_MAX_BYTES:
        raise h11.RemoteProtocolError("target too long", error_status_hint=414)
    if request.http_version not in (b"1.1", b"1.0"):
        raise h11.RemoteProtocolError("not HTTP/1", error_status_hint=505)
    if b"#" in request.target:
        raise h11.RemoteProtocolError("fragment in the target")
    for name, value in request.headers:
        if name == b"host" and not _HOST.fullmatch(value):
            raise h11.RemoteProtocolError("malformed Host")
        if name == b"transfer-encoding" and request.http_version == b"1.0":
            raise h11.RemoteProtocolError("Transfer-Encoding in HTTP/1.0")
