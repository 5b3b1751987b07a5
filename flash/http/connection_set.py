"""The open connections of one server: how many there are, which are past their deadlines, and whether they drain.

It knows nothing of what a connection speaks, so the built-in connections and Hypercorn's are members alike.
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from flash.http.limits import Limits

SWEEP_SECONDS = 0.05
"""How late a passed deadline may be noticed."""


DESCRIPTORS_KEPT = 200
"""Descriptors for everything but clients: stores, listeners, and those whom `accepting` has just taken or refuses.

At most half of what the process may have.
"""


class Member(Protocol):
    """One open connection. `deadline` (Trio time) is infinite unless the connection waits for its client."""

    deadline: float

    def drain(self) -> None: ...
    def expire(self) -> None: ...


class ConnectionSet:
    """The connections that are open now, under the limits that all of them share."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._connections_max = connections_max(limits)
        self.members: set[Member] = set()
        self.is_draining = False
        self.refused = self.rejected = 0
        """Connections that found no room, and requests that could not be read."""

    @property
    def is_full(self) -> bool:
        return len(self.members) >= self._connections_max

    @contextmanager
    def tracking(self, connection: Member) -> Iterator[None]:
        self.members.add(connection)
        try:
            yield
        finally:
            self.members.discard(connection)

    def drain(self) -> None:
        """Close the quiet connections in a moment. Busy ones close once they have answered."""
        self.is_draining = True
        for connection in self.members:
            connection.drain()

    async def sweep(self) -> None:
        """Expire connections that are past their deadlines, until cancelled.

        One sweep serves all: a Trio deadline for each connection would cost 5 µs a request.
        """
        while True:
            await trio.sleep(SWEEP_SECONDS)
            now = trio.current_time()
            for connection in self.members:
                if connection.deadline <= now:
                    connection.deadline = math.inf
                    connection.expire()


def connections_max(limits: Limits) -> int:
    """How many clients a process serves at once: as many as it is set to, if it may have that many descriptors."""
    return min(limits.connections_max, _descriptors_for_connections())


def _descriptors_for_connections() -> int:
    """A client that finds no descriptor would wait in the kernel; one too many is told 503."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return sys.maxsize
    return allowed - min(DESCRIPTORS_KEPT, allowed // 2)
