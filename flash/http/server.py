"""Runs an `App` under Hypercorn's trio worker: its settings, the start, and a stop that is bounded in time.

It handles no signals and reads no settings: the caller passes the limits and an event that means stop.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
import trio.lowlevel
from hypercorn.config import Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.utils import wrap_app

from flash.errors import OperatorError
from flash.http import hypercorn_guard
from flash.http.accepting import Acceptor
from flash.http.asgi import App
from flash.http.connection_set import ConnectionSet
from flash.http.hypercorn_guard import GuardedConfig
from flash.http.limits import HEAD_MAX_BYTES, Limits
from flash.http.listener import address_of, listen

_CLOSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate chain and its key, as PEM files. With them the port speaks HTTPS, and HTTP/2 to clients that ask.

    Raises `OperatorError` unless both can be loaded and belong together.
    """

    certificate: Path
    key: Path

    def __post_init__(self) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise OperatorError(
                f"The certificate {self.certificate} and the key {self.key} cannot be used together: {error}; "
                "set FLASH_TLS_CERT and FLASH_TLS_KEY to PEM files that belong together, the key without a password"
            ) from error


def _no_password() -> str:
    """Without this, OpenSSL would ask for the key's password on the terminal."""
    raise ValueError("the key has a password")


async def serve(
    app: App,
    *,
    host: str,
    port: int,
    limits: Limits,
    stop: trio.Event,
    on_listening: Callable[[str], None],
    tls: Tls | None = None,
    is_builtin: bool = True,
    listener: socket.socket | None = None,
    connections: ConnectionSet | None = None,
) -> None:
    """Serve until `stop` is set, then answer what was accepted and return.

    `is_builtin`: plain connections are served by `flash.http.connection`, otherwise by Hypercorn behind the guard.
    `listener`: a socket from `listen` that other processes may accept from as well; without it a new one is bound to
    `host` and `port`. Port 0 takes a free one. `connections`: where those that are
    open are kept, under the same limits. `on_listening` gets the address once connections are accepted.

    After `stop` it takes at most `limits.drain_seconds` and about half a second, whatever the connections do.
    Raises `OperatorError`.
    """
    is_ours = listener is None
    listener = listener or listen(host, port)
    connections = connections or ConnectionSet(limits)
    config = _configure(connections, tls)
    # Processes that share a listener share its mode: `dup` of a blocking one would make all of them block for a moment.
    listener.setblocking(False)
    # A second descriptor: it outlives the one that Hypercorn closes at the stop, which would reset what waits there.
    plain = listener.dup() if is_builtin and tls is None else None
    acceptor = None if plain is None else Acceptor(app, connections, plain)
    config.serve_plain = None if acceptor is None else acceptor.serve
    sockets = Sockets([listener], [], []) if tls else Sockets([], [listener], [])
    hypercorn_guard.install()
    async with trio.open_nursery() as sweeping, _closing(plain):
        sweeping.start_soon(connections.sweep)
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(worker_serve, sockets=sockets, shutdown_trigger=stop.wait),
                wrap_app(app, 0, "asgi"),  # type: ignore[arg-type]  # Hypercorn's scopes are TypedDicts
                config,
            )
            on_listening(address_of(listener, is_tls=tls is not None))
            await stop.wait()
            app.draining.set()
            connections.drain()
            if plain is not None and acceptor is not None and is_ours:
                await _closed(listener)
                nursery.start_soon(_serve_backlog, acceptor, plain, config.graceful_timeout)
        sweeping.cancel_scope.cancel()


@asynccontextmanager
async def _closing(listener: socket.socket | None) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if listener is not None:
            listener.close()


async def _closed(listener: socket.socket) -> None:
    """Wait for Hypercorn to close it, a few rounds of the scheduler after the stop."""
    with trio.move_on_after(_CLOSE_SECONDS):
        while listener.fileno() >= 0:
            await trio.lowlevel.checkpoint()


async def _serve_backlog(acceptor: Acceptor, listener: socket.socket, seconds: float) -> None:
    """Serve who had connected before the stop and was not accepted yet. Whoever comes later is refused."""
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            with listener:  # from the last `accept` to the closing, nothing waits
                acceptor.take_waiting(nursery)


def _configure(connections: ConnectionSet, tls: Tls | None) -> GuardedConfig:
    config = GuardedConfig(connections, None)
    config.graceful_timeout = connections.limits.drain_seconds
    config.keep_alive_max_requests = 2**62  # a connection that lives long is not cut off
    config.max_app_queue_size = 2**62  # never blocks: in stock Hypercorn, a full queue of an unread body leaks
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)  # it would announce the address a second time
    config.h2_max_header_list_size = HEAD_MAX_BYTES
    if tls:
        config.certfile, config.keyfile = str(tls.certificate), str(tls.key)
        config.alpn_protocols = ["h2", "http/1.1"]
    return config
