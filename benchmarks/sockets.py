"""What the load generator knows of sockets and of HTTP: connecting, waiting for many, the little parsing it does."""

from __future__ import annotations

import re
import resource
import selectors
import socket
import time
from typing import Generic, TypeVar

Owner = TypeVar("Owner")

CONNECT_SECONDS = 20.0
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)


class Poller(Generic[Owner]):
    """Which clients have something to read: epoll where there is one, else whatever `selectors` finds."""

    def __init__(self) -> None:
        self._clients: dict[int, Owner] = {}
        self._selector = selectors.DefaultSelector()
        self._epoll = getattr(self._selector, "_selector", None)  # two layers less for each answer

    def add(self, sock: socket.socket, client: Owner) -> None:
        self._clients[sock.fileno()] = client
        self._selector.register(sock, selectors.EVENT_READ)

    def remove(self, sock: socket.socket) -> None:
        del self._clients[sock.fileno()]
        self._selector.unregister(sock)

    def wait(self, seconds: float) -> list[Owner]:
        if isinstance(self._selector, selectors.EpollSelector) and self._epoll is not None:
            ready = self._epoll.poll(seconds, len(self._clients))
            return [self._clients[descriptor] for descriptor, _ in ready]
        return [self._clients[key.fd] for key, _ in self._selector.select(seconds)]


def connect(address: tuple[str, int]) -> socket.socket:
    """A connection, or whatever `OSError` says why there is none after a few tries."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            sock = socket.create_connection(address, timeout=CONNECT_SECONDS)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def content_length(data: bytes, end: int) -> int:
    """The length of the body of the response whose head ends at `end`; 0 if it does not say."""
    at = data.find(b"content-length: ", 0, end)
    if at < 0:
        at = data.find(b"Content-Length: ", 0, end)
    if at >= 0:
        return int(data[at + 16 : data.index(b"\r", at)])
    found = _LENGTH.search(data, 0, end)
    return int(found[1]) if found else 0


def problem_code(body: bytes) -> str:
    """The `code` member of a problem; empty if there is none."""
    at = body.find(b'"code":"') + 8
    return body[at : body.index(b'"', at)].decode() if at >= 8 else ""


def raise_file_limit() -> None:
    """As many descriptors as this user may have: 1,024 clients need more than the usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(65_536, hard) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
