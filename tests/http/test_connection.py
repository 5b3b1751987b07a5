"""The built-in connections with an application that speaks nothing but ASGI, over a pair of sockets."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from flash.http.asgi import Message, Receive, Send
from flash.http.connection import Connection
from flash.http.connection_set import ConnectionSet
from flash.http.parser import RequestParser
from tests.http.site import GET, POST, at_most, limits

CLOSE = GET + b"Connection: close\r\n\r\n"


class Plain:
    """An application such as a framework provides. It remembers its scopes and how it was told that a client left."""

    def __init__(self) -> None:
        self.scopes: list[Message] = []
        self.told: list[Message] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["path"] == "/breaks":
            raise ZeroDivisionError
        body = await receive()
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x", b"y")]})
        if scope["path"] == "/breaks/late":
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            raise ZeroDivisionError
        if scope["path"] == "/waits":
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            self.told.append(await receive())
        await send({"type": "http.response.body", "body": body["body"]})


@asynccontextmanager
async def connected(app: Plain) -> AsyncIterator[trio.SocketStream]:
    """The client's end."""
    ours_end, theirs = socket.socketpair()
    theirs.setblocking(False)
    ours = trio.SocketStream(trio.socket.from_stdlib_socket(ours_end))
    connections = ConnectionSet(limits())
    async with trio.open_nursery() as nursery, ours:
        nursery.start_soon(Connection.serve, app, connections, theirs)
        yield ours
        with at_most(2):
            while await ours.receive_some():
                pass
    assert not connections.members


async def hear(stream: trio.SocketStream) -> bytes:
    heard = b""
    with at_most(2):
        while piece := await stream.receive_some():
            heard += piece
    return heard


async def test_the_application_is_called_in_asgi_and_gets_the_whole_body() -> None:
    app = Plain()
    async with connected(app) as stream:
        await stream.send_all(b"POST /a%20b?c=%64 HTTP/1.1\r\nHost: h\r\nX: y\r\nContent-Length: 3\r\n\r\nabc" + CLOSE)
        heard = await hear(stream)
    first, second = heard.split(b"HTTP/1.1 201 Created\r\n")[1:]
    assert b"\r\ncontent-length: 3\r\n" in first
    assert first.endswith(b"\r\n\r\nabc")
    assert b"\r\nconnection: close\r\n" in second
    scope = app.scopes[0]
    assert (scope["type"], scope["http_version"], scope["method"]) == ("http", "1.1", "POST")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"c=%64")
    assert scope["headers"] == [(b"host", b"h"), (b"x", b"y"), (b"content-length", b"3")]


@pytest.mark.parametrize("path", [b"/breaks", b"/breaks/late"])
async def test_an_application_that_fails_is_logged_and_costs_only_its_connection(
    path: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(Plain()) as stream:
        await stream.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n" + CLOSE)
        heard = await hear(stream)
    assert heard.count(b"HTTP/1.1 ") == 1
    assert heard.startswith(b"HTTP/1.1 500 " if path == b"/breaks" else b"HTTP/1.1 201 ")
    assert not heard.endswith(b"0\r\n\r\n")
    (record,) = caplog.records
    assert (record.levelno, record.message) == (logging.ERROR, "the application failed")


async def test_the_application_is_told_when_its_client_has_left() -> None:
    app = Plain()
    async with connected(app) as stream:
        await stream.send_all(b"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n")
        with at_most(2):
            assert (await stream.receive_some()).endswith(b"1\r\na\r\n")
        await stream.send_eof()
    assert app.told == [{"type": "http.disconnect"}]


async def test_nothing_begins_when_a_deadline_passes_in_the_instant_a_request_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Plain()
    connections = ConnectionSet(limits())
    feed = RequestParser.feed

    def feed_too_late(parser: RequestParser, data: bytes) -> None:
        feed(parser, data)
        for connection in connections.members:
            connection.expire()

    monkeypatch.setattr(RequestParser, "feed", feed_too_late)
    ours_end, theirs = socket.socketpair()
    theirs.setblocking(False)
    ours = trio.SocketStream(trio.socket.from_stdlib_socket(ours_end))
    async with trio.open_nursery() as nursery, ours:
        nursery.start_soon(Connection.serve, app, connections, theirs)
        await ours.send_all(POST + b"\r\n")
        assert await hear(ours) == b""
    assert not app.scopes
