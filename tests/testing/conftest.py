"""Each store twice: the real one and its twin. A test in this folder that uses one of these fixtures runs on both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Protocol

import pytest

from flash import bridge
from flash.actors.inventory import StoredPurchases, TermStore
from flash.actors.lease_store import LeaseStore
from flash.actors.purchase_router import UnsoldSales
from flash.actors.sale_scheduler import ScheduleStore
from flash.api.control import PauseStore
from flash.domain import Attempt, Code, LegacyCode, MalformedAttempt, RecordedAttempt, Redemption, Sale, SaleId, Term
from flash.local.embedded import EmbeddedValkey
from flash.purchase_rpc.stream_link import StreamLink
from flash.stores import leases
from flash.stores.checkouts import Checkouts
from flash.stores.pauses import Pauses
from flash.stores.postgres import open_postgres
from flash.stores.redis import open_redis
from flash.stores.redis_link import RedisLink
from flash.stores.sales import Sales
from flash.stores.schedule import SaleSchedule
from flash.stores.terms import Terms
from flash.testing.twins.database import DatabaseTwin
from flash.testing.twins.leases import LeasesTwin, LeaseTable
from flash.testing.twins.link import RedisLinkTwin
from flash.testing.twins.redis import RedisTwin
from tests.codes import digest
from tests.deployments import DEPLOYMENT


class CheckoutStore(Protocol):
    async def record_attempts(self, attempts: list[Attempt | MalformedAttempt]) -> list[RecordedAttempt]: ...
    async def find_redemptions(self, codes: list[Code]) -> list[Redemption]: ...
    async def find_legacy(self, legacy: LegacyCode) -> Code | None: ...


class LeaderStore(TermStore, StoredPurchases, Protocol):
    async def list_leadable(self) -> list[SaleId]: ...
    async def begin_term(self, sale_id: SaleId) -> tuple[Term, Sale, datetime]: ...


@dataclass(frozen=True)
class Database:
    checkouts: CheckoutStore
    terms: LeaderStore
    schedule: ScheduleStore
    sales: UnsoldSales
    pauses: PauseStore


NewHost = Callable[[], LeaseStore]
OpenLeases = Callable[[float], AbstractAsyncContextManager[NewHost]]
NewLink = Callable[[], StreamLink]
OpenDatabase = Callable[[float], AbstractAsyncContextManager[Database]]

both = pytest.fixture(params=["twin", "real"])


@both
def open_leases(request: pytest.FixtureRequest) -> OpenLeases:
    """`async with open_leases(lease_seconds) as new_host`: each `new_host()` is another host's leases."""

    @asynccontextmanager
    async def twin(lease_seconds: float) -> AsyncIterator[NewHost]:
        table, names = LeaseTable(), count()
        yield lambda: LeasesTwin(table, f"host {next(names)}", lease_seconds)

    @asynccontextmanager
    async def real(lease_seconds: float) -> AsyncIterator[NewHost]:
        async with bridge.open_loop(), open_redis(valkey.url, timeout_seconds=5) as client:
            yield lambda: leases.Leases(DEPLOYMENT, client, lease_seconds)

    if request.param == "twin":
        return twin
    valkey: EmbeddedValkey = request.getfixturevalue("valkey")
    return real


@both
def new_link(request: pytest.FixtureRequest) -> NewLink:
    """Each `new_link()` is another connection to the same Redis, with a time-out of half a second."""
    if request.param == "twin":
        redis: list[RedisTwin] = []  # made by the first link, since it needs Trio's clock

        def twin() -> StreamLink:
            redis[:] = redis or [RedisTwin()]
            return RedisLinkTwin(redis[0], timeout_seconds=0.5)

        return twin
    valkey: EmbeddedValkey = request.getfixturevalue("valkey")
    return lambda: RedisLink(valkey.url, timeout_seconds=0.5)


@both
def open_database(request: pytest.FixtureRequest) -> OpenDatabase:
    """`async with open_database(code_ttl_seconds) as database`: empty, with its schema."""

    @asynccontextmanager
    async def twin(code_ttl_seconds: float) -> AsyncIterator[Database]:
        store = DatabaseTwin(code_ttl_seconds=code_ttl_seconds)
        yield Database(store, store, store, store, store)

    @asynccontextmanager
    async def real(code_ttl_seconds: float) -> AsyncIterator[Database]:
        async with (
            bridge.open_loop(),
            open_postgres(url, connections_max=4, timeout_seconds=5, name="test") as database,
        ):
            checkouts = Checkouts(database, code_ttl_seconds, digest)
            terms = Terms(database, linger_seconds=5.0)
            yield Database(checkouts, terms, SaleSchedule(database), Sales(database), Pauses(database))

    if request.param == "twin":
        return twin
    url: str = request.getfixturevalue("postgres")
    return real
