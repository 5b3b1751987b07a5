"""Runs an `App` under Hypercorn's trio worker: the socket, the settings, the start and a stop bounded in time.

No signals here, and no setting read: the caller passes limits, an event to stop by, and hears the address.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio
from hypercorn.config import Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.utils import wrap_app

from flash.errors import OperatorError
from flash.http import hypercorn_guard
from flash.http.asgi import App
from flash.http.connection import Connection
from flash.http.hypercorn_guard import GuardedConfig
from flash.http.limits import HEAD_MAX_BYTES, Connections, Limits

BACKLOG = 4_096


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate chain and key, as PEM files. With it the port speaks HTTPS, and HTTP/2 where asked for."""

    certfile: str
    keyfile: str


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
) -> None:
    """Serve until `stop` is set, then answer what was accepted and return.

    `is_builtin`: plain connections get the project's own handler, else Hypercorn's behind the guard. `listener`: a
    socket from `listen` that other processes may accept from as well, instead of a new one on `host` and `port`.

    Takes `limits.drain_seconds` plus about half a second at most, whatever the connections do. Port 0 is a free
    one; `on_listening` hears the address once connections are accepted. Raises `OperatorError`.
    """
    listener = listener or listen(host, port)
    connections = Connections(limits)
    config = _configure(connections, tls)
    config.serve_plain = partial(Connection.serve, app, connections) if is_builtin else None
    sockets = Sockets([listener], [], []) if tls else Sockets([], [listener], [])
    hypercorn_guard.install()
    async with trio.open_nursery() as sweeping:
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
        sweeping.cancel_scope.cancel()


def _configure(connections: Connections, tls: Tls | None) -> GuardedConfig:
    limits = connections.limits
    config = GuardedConfig(connections, None)
    config.graceful_timeout = limits.drain_seconds
    config.keep_alive_max_requests = 2**62  # a client that lives long is not cut off
    config.max_app_queue_size = 2**62  # never blocks: stock, a full queue of an unread body leaks its connection
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)  # it would announce the address a second time
    config.h2_max_header_list_size = HEAD_MAX_BYTES
    if tls:
        config.certfile, config.keyfile = tls.certfile, tls.keyfile
        config.alpn_protocols = ["h2", "http/1.1"]
    return config


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections there; 0 is a free port. Raises `OperatorError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise OperatorError(f"Cannot listen on {host!r}: {error.strerror}; set FLASH_HOST") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OperatorError(_why_not(error, host, port)) from error
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken by another process; set PORT to another one"
    if error.errno == errno.EACCES:
        return f"Port {port} on {host} may not be used by this user; set PORT to 1024 or above"
    return f"Cannot listen on {host}, port {port}: {error.strerror}; set FLASH_HOST and PORT"


def address_of(listener: socket.socket, *, is_tls: bool = False) -> str:
    """Its URL."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if listener.family == socket.AF_INET6 else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"
