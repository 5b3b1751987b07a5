"""PostgreSQL and Redis as one host reaches them: the twins, with the network in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import trio

from flash.deployment import MESSAGE_KEY_BYTES, Deployment
from flash.domain import (
    Approved,
    Attempt,
    CheckoutId,
    Code,
    Confirmed,
    ItemId,
    LegacyCode,
    MalformedAttempt,
    RecordedAttempt,
    Redemption,
    RequestId,
    Sale,
    SaleId,
    Term,
    UserId,
)
from flash.errors import FlashError, OutcomeUnknown, Unavailable
from flash.stores.redis_link import RedisCommand, refusal
from flash.testing.twins.faults import Faults
from flash.testing.twins.leases import LeasesTwin, LeaseTable
from flash.testing.twins.link import perform
from flash.testing.twins.redis import CommandRefused, RedisTwin
from tests.simulation.network import Host, Network, Store
from tests.simulation.sightings import Sightings
from tests.simulation.timeline import WatchedDatabase

T = TypeVar("T")

DEPLOYMENT = Deployment("sim", b"m" * MESSAGE_KEY_BYTES)
LEASE_SECONDS, MARGIN_SECONDS = 3.0, 0.5
DATABASE_SECONDS, REDIS_SECONDS = 2.0, 1.0
_PAGE_ROWS = 2
_WRITES = ("XADD", "XDEL", "SET", "DEL", "EVAL", "PEXPIRE")
_READ_ONLY = "READONLY You can't write against a read only replica."


class AtOnce(Faults):
    """A twin that does its part at once: what can go wrong on the way is the business of the network."""

    async def before(self, name: str, *args: object) -> None:
        pass

    async def after(self, name: str, *args: object) -> None:
        pass


@dataclass
class Redis:
    """One Redis: streams and leases, behind one store of the network."""

    store: Store
    streams: RedisTwin
    leases: LeaseTable
    is_replica: bool = False
    seen: Sightings = field(default_factory=Sightings)


@dataclass
class Stores:
    network: Network
    postgres: Store
    database: WatchedDatabase
    redis: Redis


class Database:
    """PostgreSQL as one host reaches it."""

    def __init__(self, host: Host, stores: Stores) -> None:
        self._host, self._stores = host, stores
        self._twin = stores.database

    async def _read(self, perform: Callable[[], Awaitable[T]]) -> T:
        """As in `flash.stores.postgres`, a read whose answer is lost has started nothing."""
        return await self._call(perform, Unavailable)

    async def _call(self, perform: Callable[[], Awaitable[T]], lost: type[FlashError] = OutcomeUnknown) -> T:
        return await self._stores.network.call(self._host, self._stores.postgres, perform, DATABASE_SECONDS, lost=lost)

    async def record_attempts(self, attempts: list[Attempt | MalformedAttempt]) -> list[RecordedAttempt]:
        return await self._call(partial(self._twin.record_attempts, attempts))

    async def find_redemptions(self, codes: list[Code]) -> list[Redemption]:
        return await self._read(partial(self._twin.find_redemptions, codes))

    async def find_legacy(self, legacy: LegacyCode) -> Code | None:
        return await self._read(partial(self._twin.find_legacy, legacy))

    async def unsold_sales(self) -> tuple[SaleId, frozenset[SaleId]]:
        return await self._read(self._twin.unsold_sales)

    async def list_leadable(self) -> list[SaleId]:
        return await self._read(self._twin.list_leadable)

    async def begin_term(self, sale_id: SaleId) -> tuple[Term, Sale, datetime]:
        return await self._call(partial(self._twin.begin_term, sale_id))

    async def read_purchases(self, term: Term) -> AsyncIterator[list[tuple[CheckoutId, RequestId, ItemId, UserId]]]:
        async def read() -> list[tuple[CheckoutId, RequestId, ItemId, UserId]]:
            return [row async for rows in self._twin.read_purchases(term) for row in rows]

        rows = await self._read(read)
        for begin in range(0, len(rows), _PAGE_ROWS):
            yield rows[begin : begin + _PAGE_ROWS]

    async def confirm(
        self, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        call = self._call if approved else self._read  # what sells nothing is a read under the same fence
        return await call(partial(self._twin.confirm, term, sold_before, approved, redeemed))

    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]:
        return await self._call(partial(self._twin.prepare_sales, period_seconds, size, user_limit))


class Link:
    """One connection of one host to Redis, with the promises of `RedisLink`: one call at a time."""

    def __init__(self, host: Host, stores: Stores) -> None:
        self._host, self._stores = host, stores
        self._turn = trio.Lock()

    async def execute(self, *commands: RedisCommand, block_seconds: float = 0.0) -> list[Any]:
        redis = self._stores.redis

        async def perform_all() -> list[Any]:
            return [await _answer(redis, self._host.name, command) for command in commands]

        async with self._turn:
            answers = await self._stores.network.call(
                self._host, redis.store, perform_all, REDIS_SECONDS, block_seconds
            )
        for answer in answers:
            if isinstance(answer, CommandRefused):
                raise refusal(str(answer))
        return answers


async def _answer(redis: Redis, host: str, command: RedisCommand) -> Any:
    if redis.is_replica and command[0] in _WRITES:
        redis.seen.counts["write refused by a demoted Redis"] += 1
        return CommandRefused(_READ_ONLY)
    try:
        answer = await perform(redis.streams, command)
    except CommandRefused as refused:
        return refused
    redis.seen.performed(host, command, answer)
    return answer


class Leases:
    """The leases as one host reaches them."""

    def __init__(self, host: Host, stores: Stores) -> None:
        self._host, self._stores = host, stores
        self._twin = LeasesTwin(stores.redis.leases, host.name, LEASE_SECONDS)
        self._twin.faults = AtOnce()
        self.name = self._twin.name

    async def _call(self, perform: Callable[[], Awaitable[T]]) -> T:
        async def unless_replica() -> T:
            if self._stores.redis.is_replica:
                raise refusal(_READ_ONLY)
            return await perform()

        return await self._stores.network.call(self._host, self._stores.redis.store, unless_replica, REDIS_SECONDS)

    async def acquire(self, keys: Sequence[str]) -> list[str]:
        async def acquire() -> list[str]:
            acquired = await self._twin.acquire(keys)
            self._stores.redis.seen.acquired(self._host.name, acquired)
            return acquired

        return await self._call(acquire)

    async def renew(self, keys: Sequence[str]) -> list[str]:
        return await self._call(partial(self._twin.renew, keys))

    async def release(self, keys: Sequence[str]) -> None:
        async def release() -> None:
            await self._twin.release(keys)
            self._stores.redis.seen.released(self._host.name, keys)

        await self._call(release)

    async def report(self, held: int) -> dict[str, int]:
        return await self._call(partial(self._twin.report, held))

    async def leave(self) -> None:
        await self._call(self._twin.leave)

    async def hand_over(self, keys: Sequence[str], host: str) -> list[str]:
        return await self._call(partial(self._twin.hand_over, keys, host))
