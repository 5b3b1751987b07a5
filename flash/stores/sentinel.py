"""Finds the primary through Redis's Sentinels, anew for each connection. It keeps no address and watches nothing.

Sentinels may lag, lie or be away, so their word is only where to look: the server itself must say that it is the
primary. The next Sentinel is asked if one does not answer, or names a server that is none. Two servers may still say so
for a moment, the old one behind a partition; then Redis misleads us, which the fence in PostgreSQL is there for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import hiredis
import trio

from flash.errors import Unavailable
from flash.stores.redis_address import RedisAddress
from flash.stores.redis_connection import BROKEN, RedisConnection, Replaced, connect, why

Place = tuple[str, int]


class UnknownName(Unavailable):
    """A Sentinel answers, and watches no primary by that name."""


class Sentinels:
    """The Sentinels of `address`, from the point of view of one client. The one that was right last is asked first."""

    def __init__(self, address: RedisAddress, *, timeout_seconds: float) -> None:
        assert address.sentinels is not None
        self._address = address
        self._name = address.sentinels.name
        self._hosts = deque(address.sentinels.hosts)
        self._timeout_seconds = timeout_seconds

    async def connect(self) -> RedisConnection:
        """A connection to the primary. Raises `Unavailable`, which says what each Sentinel has said.

        All steps together take `timeout_seconds` at most. What one of them leaves, the later ones have.
        """
        deadline = trio.current_time() + self._timeout_seconds
        reasons: list[str] = []
        seen: set[Place] = set()
        for others in reversed(range(len(self._hosts))):  # who can be asked after this one
            try:
                place = await self.ask(*self._hosts[0], seconds=_share(deadline, 1 + others + 1))  # and the server
                if place not in seen:
                    seen.add(place)
                    return await self._connect_primary(place, _share(deadline, 2 if others else 1))
            except Unavailable as error:
                reasons.append(str(error))
            self._hosts.rotate(-1)
        raise Unavailable("; ".join(reasons))

    async def ask(self, host: str, port: int, *, seconds: float) -> Place:
        """Where the Sentinel at this place says that the primary is. Raises `Unavailable` within `seconds`."""
        address = self._address.sentinel(host, port)
        with _bounded(seconds, f"the Sentinel at {address.where} does not answer"):
            connection = await connect(address, is_sentinel=True)
            try:
                (answer,) = await connection.exchange([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)])
            finally:
                await connection.aclose()
        if isinstance(answer, hiredis.ReplyError):
            raise Unavailable(f"the Sentinel at {address.where} refused: {answer}")
        if answer is None:
            raise UnknownName(f"the Sentinel at {address.where} knows no primary by the name {self._name}")
        try:
            primary_host, primary_port = answer
            return primary_host.decode(), int(primary_port)
        except (TypeError, ValueError, AttributeError) as error:  # whoever stands in its place ends no process
            raise Unavailable(f"the Sentinel at {address.where} names no host and port") from error

    async def _connect_primary(self, place: Place, seconds: float) -> RedisConnection:
        address = self._address.server(*place)
        with _bounded(seconds, f"the primary at {address.where} cannot be reached"):
            connection = await connect(address)
            try:
                (answer,) = await connection.exchange([("ROLE",)])
            except BaseException:
                await connection.aclose()
                raise
        if isinstance(answer, hiredis.ReplyError):
            reason = f"the primary at {address.where} refused: {answer}"
        elif not isinstance(answer, list) or answer[:1] != [b"master"]:
            role = answer[0] if isinstance(answer, list) and answer else answer
            told = role.decode(errors="replace") if isinstance(role, bytes) else "nothing of the kind"
            reason = f"{address.where} is said to be the primary, and says that it is a {told}"
        else:
            return connection
        await connection.aclose()
        raise Unavailable(reason)


async def find_primary(address: RedisAddress, *, timeout_seconds: float) -> Place:
    """The primary's host and port, for a client that connects by itself. Raises `Unavailable`."""
    connection = await Sentinels(address, timeout_seconds=timeout_seconds).connect()
    await connection.aclose()
    return connection.address.host, connection.address.port


def _share(deadline: float, steps: int) -> float:
    """An equal part, for one of so many `steps`, of the seconds that are left."""
    return max(0.0, deadline - trio.current_time()) / steps


@contextmanager
def _bounded(seconds: float, what: str) -> Iterator[None]:
    """Raises `Unavailable`, which says `what` is wrong and why, for whatever breaks, or takes longer than `seconds`."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise Unavailable(f"{what}: no answer within {seconds:.2f} s") from error
    except (*BROKEN, Replaced, Unavailable) as error:
        raise Unavailable(f"{what}: {why(error)}") from error
