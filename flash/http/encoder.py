"""A whole `Response` as the bytes of HTTP/1.1. No socket; the only clock is the one behind the Date header."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate

from flash.correlation import Correlation, lines_of
from flash.http.message import BODILESS, TITLES, Header, Response, Stream

CLOSE_LINE = b"connection: close\r\n"


def encode(response: Response, *, is_head: bool, closes: bool, correlation: Correlation) -> bytes:
    """The whole answer in one piece: a second send would cost a system call and a packet."""
    status = _STATUS_LINES.get(response.status) or status_line(response.status)
    extra = header_lines(response.headers) if response.headers else b""
    last = lines_of(correlation) + CLOSE_LINE if closes else lines_of(correlation)
    if response.status in BODILESS:
        return b"%b%b%b%b\r\n" % (status, date_line(), extra, last)
    body = b"" if is_head else response.body
    return b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n%b" % (
        status,
        date_line(),
        response.content_type,
        len(response.body),
        extra,
        last,
        body,
    )


def encode_head(stream: Stream, correlation: Correlation) -> bytes:
    """The head of a stream, whose body ends with the connection. Chunks would have to be made, and a process that dies
    in the middle would leave a broken answer: browsers report those as errors."""
    extra = header_lines(stream.headers)
    return b"%b%bcontent-type: %b\r\n%b%b\r\n" % (
        status_line(200),
        date_line(),
        stream.content_type,
        extra,
        lines_of(correlation) + CLOSE_LINE,
    )


def status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {TITLES.get(status, '')}\r\n".encode()


_STATUS_LINES = {status: status_line(status) for status in TITLES}


def header_lines(headers: Iterable[Header]) -> bytes:
    lines = [b"%b: %b" % header for header in headers]
    assert not any(b"\r" in line or b"\n" in line for line in lines), "a header must not end its line"
    return b"".join([line + b"\r\n" for line in lines])


_dated = (0, b"")


def date_line() -> bytes:
    """The Date header (RFC 9110, 6.6.1), made once a second."""
    global _dated
    second = int(time.time())
    if _dated[0] != second:
        _dated = second, f"date: {formatdate(second, usegmt=True)}\r\n".encode()
    return _dated[1]
