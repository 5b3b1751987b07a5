"""Hypercorn's connection object made safe: whatever one connection does, only that connection suffers.

Stock Hypercorn runs connections in the server's nursery and catches only OSError, so one malformed request can stop
the process. The guard replaces one name, `hypercorn.trio.run.TCPServer`, which is why Hypercorn is pinned. Every wait
on a client has an absolute deadline and nothing is shielded, so a stuck reader cannot delay a shutdown. Plain
connections speak HTTP/1.1 and nothing else; HTTP/2 exists only where TLS has negotiated it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import h11
import hypercorn.trio.run
import trio
from h2.events import RequestReceived
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, H11SendableEvent, LifespanState
from hypercorn.utils import parse_socket_addr

from flash.correlation import headers_of
from flash.http.connection_set import ConnectionSet
from flash.http.correlating import make_correlation
from flash.http.limits import DRAIN_GRACE_SECONDS, LINGER_SECONDS
from flash.http.raw_targets import escaped
from flash.http.strict_h11 import StrictH11

_CLOSE = (b"connection", b"close")
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)

ServePlain = Callable[[trio.SocketStream], Awaitable[None]]

logger = logging.getLogger(__name__)


class GuardedConfig(HypercornConfig):
    """Hypercorn's configuration, which also carries what every connection needs.

    `serve_plain` serves plain connections, if it is set. TLS connections are always Hypercorn's.
    """

    def __init__(self, connections: ConnectionSet, serve_plain: ServePlain | None) -> None:
        self.connections = connections
        self.serve_plain = serve_plain


def install() -> None:
    """Have Hypercorn's trio worker serve its connections with `serve_connection`."""
    vars(hypercorn.trio.run)["TCPServer"] = serve_connection


async def serve_connection(
    app: AppWrapper, config: HypercornConfig, context: WorkerContext, state: LifespanState, stream: Any
) -> None:
    """Serve one connection to its end. Raises nothing but `trio.Cancelled` and leaves no descriptor behind."""
    assert isinstance(config, GuardedConfig)
    if config.serve_plain is not None and isinstance(stream, trio.SocketStream):
        await config.serve_plain(stream)
    elif config.connections.is_full:
        await trio.aclose_forcefully(stream)
    else:
        await GuardedTCPServer(app, config, context, state, stream).run()


class GuardedTCPServer(TCPServer):
    """One connection on Hypercorn's own protocols."""

    deadline = math.inf  # never swept: `_reading` has a deadline of its own

    def __init__(
        self, app: AppWrapper, config: HypercornConfig, context: WorkerContext, state: LifespanState, stream: Any
    ) -> None:
        super().__init__(app, config, context, state, stream)
        assert isinstance(config, GuardedConfig)
        self._connections = config.connections
        self._limits = config.connections.limits
        self._reading = trio.CancelScope()  # ends when a deadline passes or there is nothing more to read
        self._is_quiet = False  # waiting for the first byte of a request
        self._protocol: H11Protocol | H2Protocol

    async def run(self) -> None:
        try:
            with self._connections.tracking(self):
                await self._run()
        except* (OSError, trio.TooSlowError, *_GONE):
            pass  # the client has gone
        except* Exception:
            logger.exception("a connection was closed by an unexpected error")

    def drain(self) -> None:
        if self._reading.deadline < math.inf:  # no request is complete
            self._reading.deadline = min(self._reading.deadline, trio.current_time() + DRAIN_GRACE_SECONDS)

    def expire(self) -> None:
        self._reading.cancel()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            self._reading.cancel()
        elif isinstance(event, Updated):
            if event.idle:
                self._expect_request()
            else:
                self._is_quiet = False
                self._reading.deadline = math.inf  # `App` bounds the body

    async def _run(self) -> None:
        try:
            is_tls, is_http2 = await self._handshake()
            async with TaskGroup() as task_group:
                self._protocol = self._make_protocol(GuardedH2 if is_http2 else GuardedH11, task_group, is_tls)
                await self._protocol.initiate()
                self._expect_request()
                # A reset ends the reading only: raised here, it would cancel the handler in the same nursery.
                with self._reading, suppress(*_GONE):
                    await self._read(is_http2)
                await self._protocol.handle(Closed())
                await self._finish(is_tls)
        finally:
            await trio.aclose_forcefully(self.stream)

    async def _handshake(self) -> tuple[bool, bool]:
        """Whether the connection speaks TLS, and whether it speaks HTTP/2."""
        if not isinstance(self.stream, trio.SSLStream):
            return False, False
        with trio.fail_after(self._limits.head_seconds):
            await self.stream.do_handshake()
        return True, self.stream.selected_alpn_protocol() == "h2"

    def _make_protocol(
        self, protocol: type[H11Protocol | H2Protocol], task_group: TaskGroup, is_tls: bool
    ) -> H11Protocol | H2Protocol:
        stream = self.stream.transport_stream if is_tls else self.stream
        assert isinstance(stream, trio.SocketStream)
        return protocol(
            self.app,
            self.config,
            self.context,
            task_group,
            ConnectionState(self.state),
            is_tls,
            parse_socket_addr(stream.socket.family, stream.socket.getpeername()),
            parse_socket_addr(stream.socket.family, stream.socket.getsockname()),
            self.protocol_send,
        )

    def _expect_request(self) -> None:
        seconds = DRAIN_GRACE_SECONDS if self._connections.is_draining else self._limits.idle_seconds
        self._is_quiet = True
        self._reading.deadline = trio.current_time() + seconds

    async def _read(self, is_http2: bool) -> None:
        while True:
            data = bytes(await self.stream.receive_some(MAX_RECV))
            if not data and (self._is_quiet or is_http2):
                return
            if self._is_quiet and not is_http2 and not self._connections.is_draining:
                self._is_quiet = False
                self._reading.deadline = trio.current_time() + self._limits.head_seconds
            await self._protocol.handle(RawData(data))
            if not data:
                # The client may have closed only its own direction: it gets its answer, then `Closed` comes.
                await trio.sleep_forever()

    async def _send(self, data: bytes) -> None:
        with trio.move_on_after(self._limits.send_seconds), suppress(*_GONE):
            async with self.send_lock:
                await self.stream.send_all(data)
            return
        # The client is too slow or gone. What was sent may end anywhere: nothing may follow it.
        self._reading.cancel()
        await trio.aclose_forcefully(self.stream)

    async def _finish(self, is_tls: bool) -> None:
        with suppress(*_GONE):
            if not is_tls and isinstance(self._protocol, GuardedH11) and self._protocol.has_unread:
                with trio.move_on_after(LINGER_SECONDS):
                    await self.stream.send_eof()
                    while await self.stream.receive_some(MAX_RECV):
                        pass
            with trio.move_on_after(LINGER_SECONDS):
                await self.stream.aclose()


class GuardedH2(H2Protocol):
    """Hypercorn's HTTP/2, which understands a path with bytes beyond ASCII, and loses clients that take nothing.

    By itself it keeps what a client does not allow it to send, without a bound and for ever.
    """

    async def stream_send(self, event: StreamEvent) -> None:
        assert isinstance(self.config, GuardedConfig)
        with trio.move_on_after(self.config.connections.limits.send_seconds):
            await super().stream_send(event)
            buffer = self.stream_buffers.get(event.stream_id)
            if isinstance(event, Body) and buffer is not None and len(buffer.buffer) >= BUFFER_HIGH_WATER:
                await buffer.drain()
            return
        await self.send(Closed())

    async def _create_stream(self, request: RequestReceived) -> None:
        if request.headers is not None:
            request.headers = [(name, escaped(value) if name == b":path" else value) for name, value in request.headers]
        await super()._create_stream(request)


class GuardedH11(H11Protocol):
    """Hypercorn's HTTP/1.1, but it cannot become another protocol, checks heads strictly and sends each answer once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connection: StrictH11 = StrictH11(h11.SERVER)
        self._head = b""

    @property
    def has_unread(self) -> bool:
        """Whether the client got its last answer before all that it sent was read."""
        return self.connection.has_rejected or self.connection.their_state in (h11.SEND_BODY, h11.ERROR)

    async def _check_protocol(self, event: h11.Request) -> None:
        """No h2c, and no HTTP/2 by preface: `StrictH11` has rejected the version, and `Upgrade` is ignored."""

    async def _create_stream(self, request: h11.Request) -> None:
        if any(name == b"upgrade" for name, _ in request.headers):
            headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
            request = h11.Request(
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        await super()._create_stream(request)

    async def _send_error_response(self, status_code: int) -> None:
        headers = [(b"content-length", b"0"), _CLOSE, *self.config.response_headers("h11")]
        headers += headers_of(make_correlation())
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.EndOfMessage())

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            data = self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        # The head waits for the first piece of the body, which always follows: one packet instead of two.
        if isinstance(event, h11.Response):
            self._head = data
            return
        data, self._head = self._head + data, b""
        if data:
            await self.send(RawData(data=data))
