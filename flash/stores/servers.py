"""The servers of one DATABASE_URL, of which one takes writes: in which order they are asked, for how long, and which of
them is a primary that has been replaced.

It knows no driver and no SQL. What a process has learnt is shared by all of its pools. It can tell a replaced primary
only from one that it has seen promoted: keeping such a server from other clients is the operator's task.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import trio

from flash.errors import Unavailable

log = logging.getLogger(__name__)

C = TypeVar("C")

Address: TypeAlias = str | tuple[str, int] | None
"""The path of a unix socket, or a host and a port; None for the only one that there is, wherever the URL says."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a server's data come from. Copies of one server share its `system`; each promotion raises `timeline`."""

    system: int
    timeline: int


class Superseded(Unavailable):
    """This server takes writes, but another one was promoted in its place. Nothing was done on it."""


class Servers:
    """What this process knows of the servers at `addresses`."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.is_pooled: bool | None = None
        """Whether a pooler such as PgBouncer stands between; None until somebody has looked."""
        self.promotions = 0
        """How often a standby was found to have been promoted."""
        self._order = list(addresses)  # the one that took writes last comes first
        self._newest: dict[int, int] = {}  # by system

    @property
    def are_several(self) -> bool:
        return len(self._order) > 1

    @property
    def addresses(self) -> list[Address]:
        """All of them, first the one that took writes last."""
        return list(self._order)

    @property
    def others(self) -> list[Address]:
        """All but the one that took writes last."""
        return self._order[1:]

    async def connect(self, attempt: Callable[[Address, float], Awaitable[C]], seconds: float) -> C:
        """What `attempt` returns for the first server that it does not raise `Unavailable` for.

        `seconds` bounds all attempts together: each gets an equal share of what is left, so that a host which never
        answers leaves time for the next one. Raises `Unavailable` with what each of them said.
        """
        if not self.are_several:
            return await attempt(self._order[0], seconds)
        deadline, refusals = trio.current_time() + seconds, list[tuple[Address, Unavailable]]()
        for number, address in enumerate(list(self._order)):
            share = (deadline - trio.current_time()) / (len(self._order) - number)
            try:
                connection = await attempt(address, share)
            except Unavailable as error:
                refusals.append((address, error))
            else:
                self.prefer(address)
                return connection
        reasons = "; ".join(f"{shown(address)}: {error}" for address, error in refusals)
        raise Unavailable(f"no server takes writes: {reasons}") from _slowest(refusals)

    def prefer(self, address: Address) -> None:
        """Ask the server at `address` first from now on."""
        if self._order[0] != address:
            log.info("PostgreSQL is asked at %s now", shown(address))
            self._order.remove(address)
            self._order.insert(0, address)

    def check(self, lineage: Lineage) -> None:
        """Learn from the `lineage` of a server that takes writes. Raises `Superseded` if it is not to be used."""
        newest = self._newest.setdefault(lineage.system, lineage.timeline)
        if lineage.timeline < newest:
            raise Superseded(
                f"it takes writes on timeline {lineage.timeline}, although a server was promoted to timeline {newest}: "
                "stop it. If it is right, since you have restored it, restart flash"
            )
        if lineage.timeline > newest:
            log.warning("PostgreSQL went from timeline %d to %d: a standby was promoted", newest, lineage.timeline)
            self._newest[lineage.system] = lineage.timeline
            self.promotions += 1

    def is_newest(self, lineage: Lineage | None) -> bool:
        """Whether a connection to a server of this `lineage`, None if it is not known, may still be used."""
        return lineage is None or lineage.timeline >= self._newest.get(lineage.system, 0)


def shown(address: Address) -> str:
    """`address` as a person writes it."""
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)


def _slowest(refusals: Sequence[tuple[Address, Unavailable]]) -> BaseException | None:
    """The time-out that one of them ended with, if one did: who waits for a connection need not wait for another."""
    causes = [error.__cause__ for _, error in refusals]
    return next((cause for cause in causes if isinstance(cause, TimeoutError)), causes[-1])
