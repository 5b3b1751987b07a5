"""Raw requests and what each must get: the table that the parser, both servers and the fuzzers start from."""

from __future__ import annotations

from dataclasses import dataclass

GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """`status` None: the request is accepted. `unlike_h11` says why h11's verdict differs."""

    data: bytes
    status: int | None = None
    body: bytes = b""
    unlike_h11: str = ""


OLD_WORDS = "RFC 9112, 3: a line may be parsed by its words, and llhttp does"
FORGIVING = "h11 repairs what RFC 9112 lets a server reject, and an intermediary might read it differently"
BOUND = "one of our own bounds"
UNKNOWN = "RFC 9110, 15.6.2: 501 for what nobody implements; h11 takes any word"
RAW = "clients send it, so bytes beyond ASCII in a target count as percent-encoded"
VERSION = "h11 leaves the version to its user"

ACCEPTED = [
    Case(GET + b"\r\n"),
    Case(b"\r\n" + GET + b"\r\n", unlike_h11="RFC 9112, 2.2: an empty line before a request should be ignored"),
    Case(b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", unlike_h11=OLD_WORDS),
    Case(b"HEAD /a?b=c&d=%20 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
    Case(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
    Case(b"GET http://h/?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"),
    Case(b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    Case(b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
    Case(b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", unlike_h11=RAW),
    Case(b"GET /?a=jos\xc3\xa9&b=\xff\x80c HTTP/1.1\r\nHost: h\r\nX: \xc3\xa9\r\n\r\n", unlike_h11=RAW),
    Case(b"POST /?\xff HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n/\xff \x80", body=b"/\xff \x80", unlike_h11=RAW),
    Case(GET + b"X:\t a \t\r\nY:\r\nZ: \xe4 b\r\n\r\n"),
    Case(GET + b"X: a\r\nX: b\r\n\r\n"),
    Case(GET + b"Connection: keep-alive\r\n\r\n"),
    Case(GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    Case(b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
    Case(GET + b"Upgrade: websocket\r\nContent-Length: 2\r\n\r\nab", body=b"ab"),
    Case(POST + b"Content-Length: 0\r\n\r\n"),
    Case(POST + b"Content-Length: 4\r\n\r\na\nb\n", body=b"a\nb\n"),
    Case(POST + b"Content-Length: 04\r\n\r\nabcd", body=b"abcd"),
    Case(CHUNKED + b"0\r\n\r\n"),
    Case(CHUNKED + b"4\r\nabcd\r\n0A\r\n0123456789\r\n0\r\n\r\n", body=b"abcd0123456789"),
    Case(CHUNKED + b"1;a=b\r\nx\r\n000\r\nTrailer: y\r\nHost: other\r\n\r\n", body=b"x"),
    Case(b"GET /?" + b"a" * 8_190 + b" HTTP/1.1\r\nHost: h\r\n\r\n"),
    Case(GET + b"X: a\r\n" * 99 + b"\r\n"),
    Case(GET + b"X: " + b"a" * 16_000 + b"\r\n\r\n"),
    Case(POST + b"Content-Length: 8192\r\n\r\n" + b"x" * 8_192, body=b"x" * 8_192),
]
LAST = [
    Case(b"GET / HTTP/1.0\r\n\r\n"),
    Case(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"),
    Case(GET + b"Connection: close\r\n\r\n"),
    Case(GET + b"Connection: x, Close\r\n\r\n"),
]
"""Accepted, and the last request on their connections."""

REJECTED = [
    Case(b"GET / HTTP/1.1\r\n\r\n", 400),
    Case(GET + b"Host: h\r\n\r\n", 400),
    Case(b"GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", 400),
    Case(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, unlike_h11="h11 does not look into Host"),
    Case(b"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", 400, unlike_h11="h11 does not look into Host"),
    Case(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", 400, unlike_h11="h11 does not look into Host"),
    Case(b"GET /\r\n\r\n", 505),
    Case(b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505, unlike_h11=VERSION),
    Case(b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505, unlike_h11=VERSION),
    Case(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505, unlike_h11=VERSION),
    Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, unlike_h11=VERSION),
    Case(b"GET / HTTP/11\r\nHost: h\r\n\r\n", 400),
    Case(b"GET / http/1.1\r\nHost: h\r\n\r\n", 400),
    Case(b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400),
    Case(b"get / HTTP/1.1\r\nHost: h\r\n\r\n", 400, unlike_h11=UNKNOWN),
    Case(b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 400, unlike_h11=UNKNOWN),
    Case(b"PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\n", 501, unlike_h11=UNKNOWN),
    Case(b"SOURCE / HTTP/1.1\r\nHost: h\r\n\r\n", 501, unlike_h11=UNKNOWN),
    Case(b"SETUP / RTSP/1.0\r\nHost: h\r\n\r\n", 501),
    Case(b"GET /#x HTTP/1.1\r\nHost: h\r\n\r\n", 400, unlike_h11="h11 does not look into the target"),
    Case(b"GET \xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    Case(b"GET\xff / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    Case(b"GET / HTTP/1.1\xff\r\nHost: h\r\n\r\n", 400),
    Case(b"GET /1 HTTP/1\xff.1\r\nHost: h\r\n\r\n", 400),
    Case(b"GET htt\xff://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    Case(b"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    Case(b"GET h HTTP/1.1\r\nHost: h\r\n\r\n", 400, unlike_h11="h11 does not look into the target"),
    Case(b"GET / HTTP/1.1\nHost: h\n\n", 400, unlike_h11=FORGIVING),
    Case(GET + b"X: a\n\r\n", 400, unlike_h11=FORGIVING),
    Case(GET + b"X: a\r\n b\r\n\r\n", 400, unlike_h11=FORGIVING),
    Case(GET + b"X: a\rb\r\n\r\n", 400),
    Case(GET + b"X: \x00\r\n\r\n", 400),
    Case(GET + b"X : a\r\n\r\n", 400),
    Case(GET + b": a\r\n\r\n", 400),
    Case(GET + b" X: a\r\n\r\n", 400, unlike_h11=FORGIVING),
    Case(GET + b"no colon\r\n\r\n", 400),
    Case(POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, unlike_h11=FORGIVING),
    Case(POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400, unlike_h11=FORGIVING),
    Case(POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400, unlike_h11=FORGIVING),
    Case(POST + b"Content-Length: 4\r\ncontent-length: 5\r\n\r\nabcd", 400),
    Case(POST + b"Content-Length: 4, 4\r\n\r\nabcd", 400, unlike_h11=FORGIVING),
    Case(POST + b"Content-Length: +4\r\n\r\nabcd", 400),
    Case(POST + b"Content-Length: 4x\r\n\r\nabcd", 400),
    Case(POST + b"Content-Length:\r\n\r\n", 400),
    Case(POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400, unlike_h11=BOUND),
    Case(POST + b"Content-Length: 8193\r\n\r\n", 413, unlike_h11=BOUND),
    Case(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    Case(POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    Case(POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    Case(POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    Case(POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    Case(
        b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        unlike_h11="RFC 9112, 6.1: faulty, and close; h11 reads the chunks",
    ),
    Case(
        GET + b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 4\r\n\r\nabcd",
        400,
        unlike_h11="llhttp leaves out a body before a tunnel, so that what follows would be ambiguous",
    ),
    Case(CHUNKED + b"x\r\n", 400),
    Case(CHUNKED + b"-1\r\n", 400),
    Case(CHUNKED + b"1\r\nxy\r\n", 400),
    Case(CHUNKED + b"1\nx\r\n", 400),
    Case(CHUNKED + b"0\r\nContent-Length: 4\r\n\r\n", 400, unlike_h11="llhttp takes trailers for headers here"),
    Case(CHUNKED + b"2001\r\n" + b"x" * 8_193, 413, unlike_h11=BOUND),
    Case(CHUNKED + b"1;" + b"x" * 500_000, 413),
    Case(CHUNKED + b"0\r\n" + b"X: a\r\n" * 99 + b"\r\n", 431, unlike_h11=BOUND),
    Case(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    Case(b"\x00\xff" * 100, 400),
    Case(b"HTTP/1.1 200 OK\r\nHost: h\r\n\r\n", 400),
    Case(b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414, unlike_h11=BOUND),
    Case(b"GET /" + b"a" * 100_000, 414, unlike_h11=BOUND),
    Case(b"GET /" + b"\xff" * 2_731 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
    Case(GET + b"X: a\r\n" * 100 + b"\r\n", 431, unlike_h11=BOUND),
    Case(GET + b"X: " + b"a" * 16_384 + b"\r\n\r\n", 431, unlike_h11=BOUND),
    Case(GET + b"X: " + b"a" * 100_000, 431, unlike_h11=BOUND),
    Case(GET + b"x" * 100_000, 431, unlike_h11=BOUND),
]
