"""Inventory and web processes, put together from the real parts as `flash.processes` does it, over the twins."""

from __future__ import annotations

import trio

from flash.actors.admission import Admission
from flash.actors.admitting import AdmittingCheckouts, AdmittingLeader
from flash.actors.batcher import Batcher
from flash.actors.disk_space import DiskSpace, SheddingCheckouts
from flash.actors.fair_shares import UserShares
from flash.actors.inventory import InventoryActor, load_inventory
from flash.actors.lease_elector import LeaseElector
from flash.actors.purchase_router import PurchaseRouter, SoldOutCache
from flash.actors.sale_scheduler import SaleScheduler
from flash.actors.term_turns import TermTurns
from flash.api.checkout import CheckoutHandlers
from flash.api.purchase import PurchaseHandlers
from flash.codes import KEY_BYTES, CodeKeys, Codes
from flash.domain import Attempt, Code, LegacyCode, MalformedAttempt, RecordedAttempt, Redemption
from flash.errors import FlashError
from flash.http.asgi import App
from flash.http.message import Request, Response
from flash.purchase_rpc import messages
from flash.purchase_rpc.client import PurchaseClient
from flash.purchase_rpc.server import PurchaseServer
from flash.shutdown import HANDOVER_SECONDS
from tests.simulation.network import Host
from tests.simulation.plan import Plan
from tests.simulation.releases import NextReleaseLink
from tests.simulation.stores import (
    DATABASE_SECONDS,
    DEPLOYMENT,
    LEASE_SECONDS,
    MARGIN_SECONDS,
    REDIS_SECONDS,
    Database,
    Leases,
    Link,
    Stores,
)

CODES = Codes(CodeKeys({1: b"k" * KEY_BYTES}, 1))
CODE_TTL_SECONDS = 3600.0
IDLE_SECONDS = 1.5
"""After which a sale is put down here: short, so that terms end for want of buyers, too."""


class InventoryProcess:
    def __init__(self, host: Host, stores: Stores, plan: Plan) -> None:
        self._plan = plan
        self._digest_user = stores.database.digest_user
        self._database = Database(host, stores)
        self._server = PurchaseServer(
            DEPLOYMENT,
            _link(host, stores),
            _link(host, stores),
            _link(host, stores),
            on_wake_up=lambda: self._elector.wake_up(),
            on_demand=lambda lease: self._elector.lead_now(lease),
        )
        self._turns = TermTurns(at_once=1)
        self._elector = LeaseElector(
            Leases(host, stores),
            self._server,
            list_wanted=self._list_wanted,
            lead=self._lead,
            on_release=self._server.notify,
            lease_seconds=LEASE_SECONDS,
            margin_seconds=MARGIN_SECONDS,
            led_always=1,
            idle_seconds=IDLE_SECONDS,
        )
        self._scheduler = SaleScheduler(
            self._database,
            self._server.notify,
            period_seconds=plan.period_seconds,
            size=plan.stock,
            user_limit=plan.user_limit,
        )

    async def run(self, stop: trio.Event) -> None:
        """Lead until `stop` is set, or until cancelled (a host that dies)."""
        async with trio.open_nursery() as workers:
            for run in (self._scheduler.run, self._server.run, self._elector.run):
                workers.start_soon(run)
            await stop.wait()
            await trio.sleep(HANDOVER_SECONDS)
            workers.cancel_scope.cancel()

    async def _list_wanted(self) -> list[str]:
        return [messages.lease_key(sale_id) for sale_id in await self._database.list_leadable()]

    async def _lead(self, key: str) -> None:
        async with self._turns.turn(sale_id := messages.sale_of_lease(key)):
            term, sale, now = await self._database.begin_term(sale_id)
            inventory = await load_inventory(self._database, term, sale, CODE_TTL_SECONDS, self._digest_user)
        actor = InventoryActor(
            term,
            inventory,
            self._database,
            self._server,
            now=now,
            digest_user=self._digest_user,
            batch_max=self._plan.batch_max,
            linger_seconds=self._plan.request_seconds,
        )
        with self._server.open(sale.id) as mailbox:
            await self._server.wake_up_reader()
            await actor.run(mailbox)


class _Keys:
    codes = CODES

    async def open(self, text: str) -> Code | LegacyCode | None:
        await trio.lowlevel.checkpoint()
        return CODES.open(text)


def _link(host: Host, stores: Stores) -> Link:
    return (NextReleaseLink if host.is_next_release else Link)(host, stores)


async def _measure_nothing() -> None:
    """How much is free on the database's disk is not seen from here."""


class WebProcess:
    def __init__(self, host: Host, stores: Stores, plan: Plan) -> None:
        database = Database(host, stores)
        self._checkouts = Batcher[Attempt | MalformedAttempt, RecordedAttempt](
            "checkouts", database.record_attempts, waiting_max=1_000, batch_max=plan.batch_max, workers=2
        )
        self._redemptions = Batcher[Code, Redemption](
            "redemptions", database.find_redemptions, waiting_max=1_000, batch_max=plan.batch_max, workers=1
        )
        self._client = PurchaseClient(
            DEPLOYMENT,
            _link(host, stores),
            _link(host, stores),
            waiting_max=1_000,
            batch_max=plan.batch_max,
            timeout_seconds=plan.request_seconds,
            settle_seconds=REDIS_SECONDS + 3 * DATABASE_SECONDS,
        )
        self._sold_out = SoldOutCache(database)
        disk = DiskSpace(_measure_nothing, min_bytes=0)
        admission = Admission(waiting_max=1_000, wait_max_seconds=2.0, window=500, user_shares=UserShares(100))
        leader = AdmittingLeader(self._client, admission)
        router = PurchaseRouter(leader, self._redemptions, database, self._sold_out, disk)
        purchase = PurchaseHandlers(_Keys(), router)
        admitted = AdmittingCheckouts(self._checkouts, UserShares(100))
        checkout = CheckoutHandlers(CODES, SheddingCheckouts(admitted, disk))
        self._app = App(
            {("POST", "/checkout"): checkout.check_out, ("POST", "/purchase"): purchase.purchase},
            {("GET", "/purchases/{code}"): purchase.receipt},
            body_seconds=5.0,
        )

    async def run(self, stop: trio.Event) -> None:
        """Serve until `stop` is set, or until cancelled (a host that dies)."""
        while True:
            try:
                await self._sold_out.refresh()  # before anybody is served
                break
            except FlashError:
                await trio.sleep(0.2)
        async with trio.open_nursery() as workers:
            for worker in (self._checkouts, self._redemptions, self._client, self._sold_out):
                workers.start_soon(worker.run)
            await stop.wait()
            workers.cancel_scope.cancel()

    async def respond(self, request: Request) -> Response:
        answer = await self._app.respond(request)
        assert isinstance(answer, Response)
        return answer
