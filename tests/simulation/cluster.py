"""The processes and the stores of one run. A process that has ended is started again, as a supervisor does it."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any, NamedTuple

import trio

from flash.codes import KEY_BYTES, digest_user
from flash.http.message import Request, Response
from flash.testing.twins.leases import LeaseTable
from flash.testing.twins.redis import RedisTwin
from tests.simulation.clock import VirtualClock
from tests.simulation.hosts import InventoryProcess, WebProcess
from tests.simulation.network import Host, Network, Store
from tests.simulation.plan import Plan
from tests.simulation.stores import AtOnce, Redis, Stores
from tests.simulation.timeline import WatchedDatabase

_RESTART_SECONDS = 0.5
_STATES_EVERY_SECONDS = 0.5


class Running(NamedTuple):
    """A process: cancelling its `life` kills it, setting `stop` asks it to end. `name` is that of all in its place."""

    name: str
    host: Host
    life: trio.CancelScope
    stop: trio.Event
    process: Any


class Cluster:
    def __init__(self, plan: Plan, clock: VirtualClock, nursery: trio.Nursery, database: WatchedDatabase) -> None:
        self.plan = plan
        self.random = Random(plan.seed)
        self.database = database
        self.database.faults = AtOnce()
        self.database.digest_user = partial(digest_user, bytes(KEY_BYTES))
        self.postgres = Store("postgres")
        self.redis = Redis(Store("redis"), RedisTwin(), LeaseTable())
        self.network = Network(Random(plan.seed + 1), clock, nursery, plan.delay_seconds)
        self.states: list[tuple[float, object]] = []
        """What the database was, and when: what a standby that lags would know."""
        self.asleep_until = 0.0
        """Until when some process stands still."""
        self.is_healed = False
        self._names = {f"inventory-{n}" for n in range(plan.inventories)} | {f"web-{n}" for n in range(plan.webs)}
        self._next_release: set[str] = set()
        self.inventories: dict[int, Running] = {}
        self.webs: dict[int, Running] = {}
        self._stores = Stores(self.network, self.postgres, database, self.redis)
        self._nursery = nursery
        self._generation = 0

    def start(self) -> None:
        for number in range(self.plan.inventories):
            self._nursery.start_soon(self._keep, self.inventories, number, f"inventory-{number}", InventoryProcess)
        for number in range(self.plan.webs):
            self._nursery.start_soon(self._keep, self.webs, number, f"web-{number}", WebProcess)
        if any(fault.kind == "replace postgres" for fault in self.plan.faults):
            self._nursery.start_soon(self._keep_states)

    def store(self, name: str) -> Store:
        return self.postgres if name == "postgres" else self.redis.store

    async def ask(self, which: int, request: Request) -> tuple[str, Response | None]:
        """What a client sees of a web process: its name, and its answer, or None if the connection broke."""
        web = self.webs.get(which % self.plan.webs)
        if web is None:
            await trio.sleep(0.01)
            return "nobody", None
        await web.host.door.wait()
        response = await web.process.respond(request)
        await web.host.door.wait()
        return web.host.name, None if web.host.is_dead else response

    @property
    def is_mixed(self) -> bool:
        """Whether some process has ever been of another release than the others."""
        return bool(self._next_release)

    def upgrade(self, running: Running) -> None:
        """Whatever runs in its place from now on is of the next release."""
        self._next_release.add(running.name)
        running.stop.set()

    async def heal(self) -> None:
        """Faults end by themselves, but what they did to a host or a store must not stay.

        Who stands still wakes up later. An upgrade that has begun is finished.
        """
        self.network.delay_seconds = self.plan.delay_seconds
        for store in (self.postgres, self.redis.store):
            store.loss = 0.0
            store.door.open(self.random)
            store.is_down = False
        self.redis.is_replica = False
        self.database.no_room = 0.0
        self.is_healed = True
        await self.resume_sales()
        if self._next_release:
            self._next_release |= self._names
        for running in (*self.inventories.values(), *self.webs.values()):
            running.host.cut_from.clear()
            if self._next_release and not running.host.is_next_release:
                running.stop.set()

    async def resume_sales(self) -> None:
        for sale_id in self.database.sale_ids():
            await self.database.resume(sale_id, "operator", "all is well again")

    async def _keep(self, running: dict[int, Running], number: int, name: str, make: Any) -> None:
        while True:
            self._generation += 1
            host, stop = Host(f"{name}.{self._generation}"), trio.Event()
            host.is_next_release = name in self._next_release
            with trio.CancelScope() as life:
                process = make(host, self._stores, self.plan)
                running[number] = Running(name, host, life, stop, process)
                await process.run(stop)
            del running[number]
            await trio.sleep(_RESTART_SECONDS)

    async def _keep_states(self) -> None:
        while True:
            if self.database.sale_ids():
                self.states.append((trio.current_time(), self.database.state()))
            await trio.sleep(_STATES_EVERY_SECONDS)
