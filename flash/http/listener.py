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
    except (OSError, UnicodeError) as error:  # the latter if it can be no name of a host at all
        reason = error.strerror if isinstance(error, OSError) else "it is no name of a host"
        raise OperatorError(f"cannot listen on {host!r}: {reason}; set FLASH_HOST") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OperatorError(why_not(error, host, port)) from error
    return listener


def address_of(listener: socket.socket, *, is_tls: bool = False) -> str:
    """The URL that clients use."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if listener.family == socket.AF_INET6 else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"


def why_not(error: OSError, host: str, port: int) -> str:
    """What is in the way of listening on `host` and `port`, and what to do about it."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} is taken on {host}: stop what uses it, or set PORT to another one"
        case errno.EACCES:
            return (
                f"port {port} on {host} may not be used by this user: set PORT to 1024 or above, "
                "or give it the right to ports below (CAP_NET_BIND_SERVICE)"
            )
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine: set FLASH_HOST to one, or to 0.0.0.0 for all of them"
    return f"cannot listen on {host}, port {port}: {error.strerror}; set FLASH_HOST and PORT"
