"""Which TCP ports are free on this machine."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import replace

from flash.config import Config
from flash.errors import OperatorError
from flash.http.listener import why_not

_TRIES = 20


def with_free_ports(config: Config, offsets: Sequence[int]) -> Config:
    """`config` with a port such that port + offset is free for each of `offsets`. Port 0 means any.

    Raises `OperatorError` if one of the configured ports is taken.
    """
    taken = config.port
    bases = [config.port] if config.port else [any_port(config.host) for _ in range(_TRIES)]
    for base in bases:
        unusable = [base + offset for offset in offsets if not is_free(config.host, base + offset)]
        if not unusable:
            return replace(config, port=base)
        taken = unusable[0]
    if taken > 65535:
        raise OperatorError(f"there is no port {taken}: set PORT so that every web process gets one up to 65535")
    raise OperatorError(why_not(OSError(errno.EADDRINUSE, ""), config.host, taken))


def is_free(host: str, port: int) -> bool:
    """Whether one can listen there. Raises `OperatorError` if `host` is not an address of this machine."""
    if port > 65535:
        return False
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except socket.gaierror:
        raise OperatorError(f"FLASH_HOST={host!r} is no address: set it to one of this machine") from None
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EACCES):
            raise OperatorError(why_not(error, host, port)) from None
        return False
    return True


def any_port(host: str) -> int:
    """A port that nobody uses at this moment."""
    family, kind, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as listener:
        listener.bind(address)
        return int(listener.getsockname()[1])
