"""The listening socket: where it is bound, its URL, and what to do if it cannot be bound."""

from __future__ import annotations

import errno
import socket

from flash.errors import OperatorError

BACKLOG = 4_096


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections on `host` and `port`; port 0 takes a free one. Raises `OperatorError`."""
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


def address_of(listener: socket.socket, *, is_tls: bool = False) -> str:
    """The URL that clients use."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if listener.family == socket.AF_INET6 else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken by another process; set PORT to another one"
    if error.errno == errno.EACCES:
        return f"Port {port} on {host} may not be used by this user; set PORT to 1024 or above"
    return f"Cannot listen on {host}, port {port}: {error.strerror}; set FLASH_HOST and PORT"
