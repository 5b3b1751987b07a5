"""A plain HTTP/1.1 connection: one task that reads a request, asks the application, and answers, in turn.

It works on the bare socket, because Trio's streams would add a third to what a request costs here. Nothing is read
while a handler works, so a client that leaves disturbs nobody. While the client is waited for, `deadline` is set, and
`ConnectionSet.sweep` ends the wait. Whatever goes wrong on a connection stays on that connection.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio
from trio.lowlevel import checkpoint, wait_readable, wait_writable

from flash.http.asgi import App, Message, Receive, Send
from flash.http.asgi_exchange import AsgiExchange
from flash.http.connection_set import ConnectionSet
from flash.http.correlating import correlate
from flash.http.encoder import encode, encode_head
from flash.http.limits import BODY_MAX_BYTES, DRAIN_GRACE_SECONDS, LINGER_SECONDS
from flash.http.message import Stream
from flash.http.parser import READ_BYTES, Incoming, Phase, Rejection, RequestParser
from flash.http.problems import INTERNAL_ERROR, rejection_problem
from flash.http.stream_readers import SocketReader

Application = Callable[[Message, Receive, Send], Awaitable[None]]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

logger = logging.getLogger(__name__)


class Connection:
    """One connection. Any ASGI application will do; an `App` is called directly, without scope and messages."""

    def __init__(self, app: Application, connections: ConnectionSet, sock: socket.socket) -> None:
        self.deadline = math.inf
        self._app = app
        self._direct = app if isinstance(app, App) else None
        self._connections = connections
        self._limits = connections.limits
        self._sock = sock
        self._fd = sock.fileno()
        self._is_expired = False
        self._waiting = trio.CancelScope()
        self._reader: SocketReader | None = None
        self._peer = _peer_of(sock) if self._direct is not None and self._direct.reads_peers else None
        self._parser = RequestParser(BODY_MAX_BYTES)

    @classmethod
    async def serve(cls, app: Application, connections: ConnectionSet, sock: socket.socket) -> None:
        """Serve one connection to its end, and close it. Raises nothing but `trio.Cancelled`."""
        try:
            sock.setblocking(False)
            connection = cls(app, connections, sock)
            with connections.tracking(connection):
                await connection._run()
        except* OSError:
            pass  # the client has gone
        except* Exception:
            logger.exception("a connection was closed by an unexpected error")
        finally:
            trio.lowlevel.notify_closing(sock)
            sock.close()

    def drain(self) -> None:
        if self._reader is not None:
            self._reader.end()
        elif self.deadline < math.inf:
            self.deadline = min(self.deadline, trio.current_time() + DRAIN_GRACE_SECONDS)

    def expire(self) -> None:
        self._is_expired = True
        self._waiting.cancel()

    async def _run(self) -> None:
        with self._waiting:
            await self._serve_requests()
        if self._is_expired and self._parser.phase is Phase.BODY:
            self._parser.rejection = Rejection(408, "the body did not arrive in time")
        if self._parser.rejection is not None:
            await self._reject(self._parser.rejection)
        elif not self._is_expired:
            await self._finish(bool(self._parser.ready))

    async def _serve_requests(self) -> None:
        parser = self._parser
        while parser.ready or await self._receive():
            self.deadline = math.inf
            if self._is_expired:
                return  # it expired in the instant the request came: begin nothing that would be cancelled at once
            if await self._answer(parser.ready.popleft()):
                parser.rejection = None  # of what came after the last request
                return
            if parser.ready:
                await checkpoint()  # a client that pipelines must not keep everybody else waiting

    async def _receive(self) -> bool:
        """Read until a request is ready. Return False if none will come."""
        parser, phase = self._parser, None
        while not parser.ready:
            if parser.rejection is not None:
                return False
            if parser.phase is not phase:
                phase = parser.phase
                self.deadline = trio.current_time() + self._wait_seconds(phase)
                if parser.awaits_continue:
                    await self._send(_CONTINUE)
            await wait_readable(self._fd)
            try:
                data = self._sock.recv(READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                return False
            parser.feed(data)
        return True

    def _wait_seconds(self, phase: Phase) -> float:
        if self._connections.is_draining:
            return DRAIN_GRACE_SECONDS
        if phase is Phase.IDLE:
            return self._limits.idle_seconds
        return self._limits.head_seconds if phase is Phase.HEAD else self._limits.body_seconds

    async def _answer(self, incoming: Incoming) -> bool:
        """Answer one request. True: that was the last answer on this connection."""
        if self._direct is None:
            return await self._answer_in_asgi(incoming, self._app)
        if self._peer is not None:
            incoming.request.peer = self._peer
        request = incoming.request
        answer = await self._direct.handle(request)
        if isinstance(answer, Stream):
            await self._stream(answer, encode_head(answer, request.correlation), is_head=request.method == "HEAD")
            return True
        closes = incoming.is_last or self._connections.is_draining
        is_head = request.method == "HEAD"
        await self._send(encode(answer, is_head=is_head, closes=closes, correlation=request.correlation))
        return closes

    async def _stream(self, stream: Stream, head: bytes, *, is_head: bool) -> None:
        if is_head or self._connections.is_draining:
            return await self._send(head)
        self._reader = reader = SocketReader(self._sock)
        reader.write_nowait(head)
        try:
            stream.join(reader)
            await reader.serve(self._limits.send_seconds)
        finally:
            stream.leave(reader)

    async def _answer_in_asgi(self, incoming: Incoming, application: Application) -> bool:
        """Answer one request in ASGI. Only `receive` reports that the client has left; sending then does nothing."""
        lost = trio.Event()

        async def write(data: bytes) -> None:
            with suppress(OSError):
                if not lost.is_set():
                    return await self._send(data)
            lost.set()
            return None

        exchange = AsgiExchange(
            incoming, write, partial(self._wait_gone, lost), lambda: incoming.is_last or self._connections.is_draining
        )
        try:
            await application(exchange.scope(), exchange.receive, exchange.send)
        except Exception:
            logger.exception("the application failed")
        if not exchange.has_begun:
            request = incoming.request
            is_head = request.method == "HEAD"
            await write(encode(INTERNAL_ERROR, is_head=is_head, closes=True, correlation=request.correlation))
        return exchange.closes or not exchange.is_complete or lost.is_set()

    async def _wait_gone(self, lost: trio.Event) -> None:
        """Return when the client has closed or does not read. If it sends more, only a write can find out."""
        while True:
            await wait_readable(self._fd)
            with suppress(BlockingIOError):
                if self._has_input():
                    await lost.wait()
                return

    async def _send(self, data: bytes) -> None:
        """Raises OSError if the client has gone, or does not read all of `data` in time."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:])

    async def _send_rest(self, rest: memoryview) -> None:
        with trio.move_on_after(self._limits.send_seconds):
            while rest:
                await wait_writable(self._fd)
                with suppress(BlockingIOError):
                    rest = rest[self._sock.send(rest) :]
            return
        self._sock.shutdown(socket.SHUT_RDWR)  # what was sent may end anywhere: nothing may follow it
        raise TimeoutError("the client does not read")

    async def _reject(self, rejection: Rejection) -> None:
        self._connections.rejected += 1
        response = rejection_problem(rejection.status, rejection.reason)
        correlation = correlate(dict(self._parser.headers))
        if self._direct is not None:
            response = self._direct.opened(response, self._parser.target, self._parser.headers)
        if self._direct is not None and self._direct.on_rejected is not None:
            self._direct.on_rejected(rejection.status, rejection.reason, self._peer, correlation)
        await self._send(encode(response, is_head=False, closes=True, correlation=correlation))
        await self._finish(True)

    def _has_input(self) -> bool:
        """False at the end of the input. Raises BlockingIOError if nothing has come, not even the end."""
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except ConnectionError:
            return False

    async def _finish(self, is_unread: bool) -> None:
        """Let the last answer arrive before closing: with input left unread, the kernel would reset the connection."""
        self._sock.shutdown(socket.SHUT_WR)
        with suppress(BlockingIOError):
            is_unread = self._has_input() or is_unread
        with trio.move_on_after(LINGER_SECONDS):
            while is_unread:
                await wait_readable(self._fd)
                is_unread = bool(self._sock.recv(READ_BYTES))


def _peer_of(sock: socket.socket) -> str | None:
    """The address at the other end; None for a unix socket, and for a client that has gone already."""
    with suppress(OSError):
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            return str(sock.getpeername()[0])
    return None
