"""The bounds of the HTTP server, and the set of its open connections: what both handlers of connections share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

URL_MAX_BYTES = 8_192
HEAD_MAX_BYTES = 16_384
HEADERS_MAX = 100

DRAIN_GRACE_SECONDS = 0.1
"""How long a quiet connection is kept after the stop: its request may already be on its way."""
LINGER_SECONDS = 0.5
"""How long unread input is swallowed after a refusal; closing at once would destroy the answer (RFC 9112, 9.6)."""
SWEEP_SECONDS = 0.05
"""How late a deadline may be noticed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of the HTTP server, named like the settings they come from."""

    connections_max: int = 12_000
    idle_seconds: float = 60.0
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    send_seconds: float = 10.0
    drain_seconds: float = 2.5
    body_max_bytes: int = 65_536


class Drainable(Protocol):
    """One open connection. `deadline` (Trio time) is infinite while it waits for no client, or watches itself."""

    deadline: float

    def drain(self) -> None: ...
    def expire(self) -> None: ...


class Connections:
    """The open connections of one server, and whether it is stopping."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open: set[Drainable] = set()
        self.is_draining = False

    @property
    def is_full(self) -> bool:
        return len(self.open) >= self.limits.connections_max

    @contextmanager
    def has(self, connection: Drainable) -> Iterator[None]:
        self.open.add(connection)
        try:
            yield
        finally:
            self.open.discard(connection)

    def drain(self) -> None:
        """Close the quiet ones in a moment; those at work close once they have answered."""
        self.is_draining = True
        for connection in self.open:
            connection.drain()

    async def sweep(self) -> None:
        """Expire whoever is past its deadline, for ever. A deadline of Trio's own would cost 5 µs a request."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            now = trio.current_time()
            for connection in self.open:
                if connection.deadline <= now:
                    connection.deadline = math.inf
                    connection.expire()
