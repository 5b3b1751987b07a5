"""asyncpg on Trio's own sockets: its protocol, a state machine in C, driven without an asyncio loop.

A statement through trio-asyncio costs more than twice as much (ARCHITECTURE.md has the figures). The protocol asks its
loop for futures and for a transport; both are here. The task that awaits a statement reads the socket itself, so there
is no reader task to wake up, and an idle connection costs nothing.

After a cancellation a connection is in the middle of something, and whoever used it must terminate it. This file rests
on internals of asyncpg, which is pinned; tests/stores/test_trio_asyncpg.py runs every kind of statement on both roads.
There is no TLS here: such a server is reached through trio-asyncio.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from typing import Any, Protocol

import asyncpg
import trio
from asyncpg import connect_utils
from trio.lowlevel import notify_closing, wait_readable, wait_writable

_READ_BYTES = 65_536


async def connect(
    url: str,
    *,
    timeout_seconds: float,
    server_settings: Mapping[str, str],
    statement_seconds: float | None = None,
    **options: Any,
) -> asyncpg.Connection[asyncpg.Record]:
    """Connect to one of the hosts of `url`, without TLS. `options` are others of asyncpg's.

    Its methods are awaited from Trio, by one task at a time. `timeout_seconds` bounds connecting, and each statement
    that `statement_seconds` does not give another bound.
    Raises what `asyncpg.connect` raises.
    """
    attempt = _Loop(statement_seconds or timeout_seconds)
    try:
        with trio.fail_after(timeout_seconds):
            connection: asyncpg.Connection[asyncpg.Record] = await connect_utils._connect(  # type: ignore[attr-defined]
                loop=attempt,
                record_class=asyncpg.Record,
                dsn=url,
                ssl=False,
                server_settings=dict(server_settings),
                # no timers of asyncpg's own: they would need an asyncio loop
                command_timeout=None,
                max_cached_statement_lifetime=0,
                max_cacheable_statement_size=1024 * 15,
                **{**_USUAL, **options},
            )
            return connection
    except trio.TooSlowError as error:
        attempt.abort()
        raise TimeoutError(f"no connection within {timeout_seconds:g} s") from error
    except BaseException:
        attempt.abort()
        raise


def is_stale(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Whether the server has ended this idle connection, or said something unasked: then it is not to be used."""
    if connection.is_closed():
        return True
    sock: socket.socket = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


UNSET = (
    *("host", "port", "user", "password", "passfile", "service", "servicefile"),
    *("direct_tls", "database", "target_session_attrs", "krbsrvname", "gsslib"),
)
"""What asyncpg wants to be given, and what the URL may say."""
_USUAL: Mapping[str, Any] = {
    **dict.fromkeys(UNSET),
    "connection_class": asyncpg.Connection,
    "statement_cache_size": 100,
}


class _Callbacks(Protocol):
    """What asyncpg's protocol object wants to be told."""

    def connection_made(self, transport: _Transport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def connection_lost(self, error: Exception | None) -> None: ...


class _Loop:
    """What asyncpg takes for its event loop while it connects, and for futures afterwards."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._transport: _Transport | None = None

    async def create_unix_connection(
        self, factory: Callable[[], _Callbacks], path: str
    ) -> tuple[_Transport, _Callbacks]:
        connecting = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            await connecting.connect(path)
        except BaseException:
            connecting.close()
            raise
        return self._connected(factory, connecting)

    async def create_connection(
        self, factory: Callable[[], _Callbacks], host: str, port: int
    ) -> tuple[_Transport, _Callbacks]:
        stream = await trio.open_tcp_stream(host, port)
        return self._connected(factory, stream.socket)

    def _connected(
        self, factory: Callable[[], _Callbacks], connected: trio.socket.SocketType
    ) -> tuple[_Transport, _Callbacks]:
        bare = socket.socket(connected.family, connected.type, connected.proto, fileno=connected.detach())
        bare.setblocking(False)
        self._transport = _Transport(bare, self._timeout_seconds)
        callbacks = factory()
        self._transport.start(callbacks)
        return self._transport, callbacks

    def create_future(self) -> _Future:
        return _Future(self._read_until)

    async def _read_until(self, future: _Future) -> None:
        assert self._transport is not None
        await self._transport.read_until(future)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: Mapping[str, object]) -> None:
        raise AssertionError(f"asyncpg reports a bug: {context.get('message')}")


class _Future:
    """The result of one statement. The one task that awaits it reads the connection until it is there."""

    __slots__ = ("_error", "_is_done", "_read_until", "_value")

    def __init__(self, read_until: Callable[[_Future], Awaitable[None]]) -> None:
        self._read_until = read_until
        self._is_done = False
        self._value: object = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        return self._is_done

    def cancelled(self) -> bool:
        return False

    def cancel(self) -> bool:
        """Nobody reads it any more; the connection is about to be aborted."""
        return False

    def exception(self) -> BaseException | None:
        return self._error

    def set_result(self, value: object) -> None:
        self._is_done, self._value = True, value

    def set_exception(self, error: BaseException) -> None:
        self._is_done, self._error = True, error

    def add_done_callback(self, _callback: object) -> None:
        """asyncpg hears of time-outs and cancellations by callbacks; there are none here to hear of."""

    def remove_done_callback(self, _callback: object) -> None:
        """The counterpart of `add_done_callback`."""

    def __await__(self) -> Generator[Any, Any, object]:
        if not self._is_done:
            yield from self._read_until(self).__await__()
        if self._error is not None:
            raise self._error
        return self._value


class _Transport:
    """One connected socket."""

    def __init__(self, sock: socket.socket, timeout_seconds: float) -> None:
        self._sock = sock
        self._timeout_seconds = timeout_seconds
        self._callbacks: _Callbacks
        self._unsent = bytearray()
        self._is_closed = False

    def start(self, callbacks: _Callbacks) -> None:
        self._callbacks = callbacks
        callbacks.connection_made(self)

    async def read_until(self, future: _Future) -> None:
        """Feed the protocol until `future` is done. A lost connection is a result, and so is one that is silent."""
        with trio.CancelScope(deadline=trio.current_time() + self._timeout_seconds) as waiting:
            await self._read_until(future)
        if waiting.cancelled_caught:
            future.set_exception(TimeoutError(f"no answer within {self._timeout_seconds:g} s"))
            self._lose(None)

    async def _read_until(self, future: _Future) -> None:
        while not future.done():
            try:
                await self._send_unsent()
                await wait_readable(self._sock)
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError) as error:
                self._lose(error)
                return
            if not data:
                self._lose(None)
                return
            self._callbacks.data_received(data)

    def _lose(self, error: Exception | None) -> None:
        self.abort()
        self._callbacks.connection_lost(error)

    async def _send_unsent(self) -> None:
        """Send what the socket did not take at once. PostgreSQL reads a whole message before it answers."""
        while self._unsent:
            await wait_writable(self._sock)
            try:
                del self._unsent[: self._sock.send(self._unsent)]
            except BlockingIOError:
                continue

    # what asyncpg calls

    def write(self, data: bytes | memoryview) -> None:
        if self._unsent or self._is_closed:
            self._unsent += data
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the connection is lost, which the reading that follows finds out
        if sent < len(data):
            self._unsent += data[sent:]

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._sock if name == "socket" else default

    def is_closing(self) -> bool:
        return self._is_closed

    def abort(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            notify_closing(self._sock)
            self._sock.close()

    def close(self) -> None:
        self.abort()

    def pause_reading(self) -> None:
        """Nothing is read unless somebody waits for it."""

    def resume_reading(self) -> None:
        """The counterpart of `pause_reading`."""
