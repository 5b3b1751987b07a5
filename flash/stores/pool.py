"""The connections of one process to one server: how many, and which are too old to be trusted.

It knows no driver and no SQL. One silent connection costs one time-out: whoever waits then is refused at once, and
every connection that is older than the discovery goes with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import trio

from flash.actors.gate import Gate
from flash.errors import FlashError, Overloaded, Unavailable

_WAITING_MAX = 1_000_000
"""Whoever asks bounds its own queue: batchers, readers, the elector. Here only the time is bounded."""


class Connection(Protocol):
    def terminate(self) -> None: ...


C = TypeVar("C", bound=Connection)


class ConnectionPool(Generic[C]):
    """At most `connections_max` in use, made by `connect(seconds)` when needed and kept until they fail.

    asyncpg's own pool guards every use with timers and tasks, which cost more than a short statement itself. So do
    context managers: a user begins, takes a connection, and owes both back in `try` and `finally`.
    """

    def __init__(
        self,
        connections_max: int,
        timeout_seconds: float,
        *,
        connect: Callable[[float], Awaitable[C]],
        is_usable: Callable[[C], bool],
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self.generation = 0
        """Rises when a connection is found silent or lost. One taken under a lower number is not used again."""
        self.connects = 0
        """How many connections were asked for, successful or not."""
        self.gate = Gate(connections_max, _WAITING_MAX, timeout_seconds)
        self._connect = connect
        self._is_usable = is_usable
        self._idle: list[C] = []

    async def wait(self) -> float:
        """Wait for the right to use one connection, which is owed back by `gate.leave`.

        Returns the seconds left for connecting, so that both together take no more than one time-out. Raises
        `Unavailable` if none becomes free in time, or as soon as the server is found silent.
        """
        deadline = trio.current_time() + self.timeout_seconds
        try:
            await self.gate.wait()
        except Overloaded as error:
            raise Unavailable("all connections to PostgreSQL are busy") from error
        return max(0.0, deadline - trio.current_time())

    async def take(self, seconds: float) -> C:
        """A connection. `seconds` bounds making one. Raises what `connect` raises."""
        while self._idle:
            connection = self._idle.pop()
            if self._is_usable(connection):
                return connection
            connection.terminate()
        self.connects += 1
        return await self._connect(seconds)

    def give_back(self, connection: C, generation: int) -> None:
        """Keep `connection` for the next user. `generation`: the one in which it was taken."""
        if generation == self.generation:
            self._idle.append(connection)
        else:
            connection.terminate()

    def distrust(self, reason: FlashError) -> None:
        """A connection was silent or lost, and so may be all older ones. Idle ones go now, busy ones on their return.

        Otherwise each would cost its next user a time-out of its own.
        """
        self.generation += 1
        self.terminate()
        self.gate.refuse_waiting(reason)

    def terminate(self) -> None:
        """End the idle connections."""
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()
