"""What is drilled: two stores, web and inventory processes, all ours, in a temporary directory.

Every process reaches the stores by ways of its own, so that one alone can be cut off (`drill.network`).

Every process that ends without having been told to is remembered: that alone fails the drill.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from drill.namespaces import PORTS, NamespaceNetwork
from drill.network import NAMESPACES, POSTGRES, REDIS, Host, LocalNetwork, Network
from drill.witness import WITNESS
from flash.deployment import Deployment
from flash.domain import SaleId
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.local.embedded.store import ask
from flash.processes.child import Child
from flash.purchase_rpc.messages import lease_key
from flash.testing.cluster import Cluster, Process, until
from flash.testing.stores import apply_schema, psql, running_postgres, running_valkey
from flash.testing.verification import rows

SERVICE = "flash"
"""The module that is drilled."""
LEASE_SECONDS = 1.0
SETTINGS = {"FLASH_LEASE_TTL": str(LEASE_SECONDS), "FLASH_LEASE_MARGIN": "0.2", "FLASH_REQUEST_TIMEOUT": "2"}
"""A leader is replaced within a second, so that many can be broken in a minute."""

_LEADING = re.compile(r"leading sale (\d+), epoch (\d+)")
_START_SECONDS = 60.0


class SiteOptions(Protocol):
    """How many processes of each kind, what a sale is like, and which network they are in."""

    web: int
    inventory: int
    size: int
    period: int
    network: str


@dataclass(slots=True)
class Web:
    """A web process, and the host and address that it and its successors have. `is_up`: it serves, or is paused."""

    process: Process
    host: Host
    address: str
    is_up: bool = True


@dataclass(slots=True)
class Site:
    """The parts, and who may be broken. `nursery` runs what is started again in the background."""

    cluster: Cluster
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    network: Network
    nursery: trio.Nursery
    hosts: dict[str, Host] = field(default_factory=dict)
    """Of each process, by its name."""
    web: list[Web] = field(default_factory=list)
    told_to_end: set[str] = field(default_factory=set)
    stopped: list[Process] = field(default_factory=list)
    """What got SIGTERM."""
    starting: int = 0
    deployment: Deployment | None = None

    async def start_inventory(self) -> None:
        """Start one more, on a host of its own."""
        self.starting += 1
        host = self.network.add_host()
        process = await self._start("inventory", host)
        self.nursery.start_soon(self._close_with, host, process)
        await process.wait_for("ready to lead", seconds=_START_SECONDS)
        self.starting -= 1

    async def start_web(self, place: int | None = None) -> None:
        """Start one more, or the successor of the one at `place`, on the same host and port."""
        self.starting += 1
        before = None if place is None else self.web[place]
        host = self.network.add_host() if before is None else before.host
        port = "0" if before is None else before.address.rpartition(":")[2]
        process = await self._start("web", host, PORT=port, FLASH_HOST=host.address)
        found = await process.wait_for(r"listening on (http://[\d.]+:\d+)", seconds=_START_SECONDS)
        self.starting -= 1
        if before is None:
            self.web.append(Web(process, host, found[1]))
        else:
            before.process, before.is_up = process, True

    async def _start(self, kind: str, host: Host, **settings: str) -> Process:
        """A process whose sessions in PostgreSQL say which one it is."""
        name = f"{kind}.{len(self.cluster.processes) + 1}"
        postgres, redis = host.ways[POSTGRES].address, host.ways[REDIS].address
        urls = {
            "DATABASE_URL": f"postgresql://flash@{postgres}/flash?sslmode=disable&drill.process={name}",
            "REDIS_URL": f"redis://{redis}/0",
        }
        with host.entered():
            process = await self.cluster.start(kind, **urls, **settings)
        assert process.name == name
        self.hosts[name] = host
        return process

    async def _close_with(self, host: Host, process: Process) -> None:
        await process.wait(math.inf)
        await host.close()

    def end(self, process: Process, how: Callable[[Process], None]) -> None:
        """End a process of ours, as told."""
        self.told_to_end.add(process.name)
        if how is Child.terminate:
            self.stopped.append(process)
        how(process)

    def terms(self) -> dict[tuple[int, int], list[str]]:
        """The names of the processes that have said to lead, by sale and epoch."""
        found: dict[tuple[int, int], list[str]] = defaultdict(list)
        for process in self.cluster.named("inventory"):
            for sale_id, epoch in _LEADING.findall(process.log):
                found[int(sale_id), int(epoch)].append(process.name)
        return found

    async def leader(self, sale_id: int, seconds: float = 15.0) -> Process | None:
        """The running process that leads the sale; None if there is none for so long."""
        with trio.move_on_after(seconds):
            while True:
                terms = [term for term in self.terms().items() if term[0][0] == sale_id]
                if terms:
                    (_, names) = max(terms)
                    (process,) = [one for one in self.cluster.processes if one.name == names[-1]]
                    if process in self._living("inventory"):
                        return process
                await trio.sleep(0.02)
        return None

    def scheduler(self) -> Process | None:
        """A running process whose last word on it is that it makes the sales."""
        for process in self._living("inventory"):
            if process.log.rfind("leading the sale scheduler") > process.log.rfind("another process makes the sales"):
                return process
        return None

    async def wait_standby(self) -> None:
        """Wait until a second inventory process could lead, so that only what is broken now is missing."""
        await until(lambda: len(self.ready()) > 1, seconds=_START_SECONDS)

    def ready(self) -> list[Process]:
        """The inventory processes that could lead."""
        return [one for one in self._living("inventory") if "ready to lead" in one.log]

    def _living(self, kind: str) -> list[Process]:
        return [one for one in self.cluster.named(kind) if one.is_running() and one.name not in self.told_to_end]

    async def web_up(self) -> list[int]:
        """The places of the web processes that serve, once two of them do, or all if there are fewer."""
        enough = min(2, len(self.web))
        await until(lambda: sum(web.is_up for web in self.web) >= enough, seconds=_START_SECONDS)
        return [place for place, web in enumerate(self.web) if web.is_up]

    def tell_valkey(self, command: str) -> bytes:
        """One command, by a connection of its own; it may be away."""
        return ask(self.valkey.socket, f"{command}\r\n".encode())

    def lease_of(self, sale_id: int) -> str:
        """The name of the sale's lease in Valkey."""
        assert self.deployment is not None
        return self.deployment.key(lease_key(SaleId(sale_id)))

    async def know_deployment(self) -> None:
        """Read how keys in Valkey begin, while PostgreSQL is whole."""
        found = dict(await rows(self.postgres.url, "SELECT name, value FROM secrets"))
        self.deployment = Deployment(found["deployment_id"].hex(), found["message_key"])

    async def start_store(self, store: EmbeddedPostgres | EmbeddedValkey) -> None:
        """Start a store that has ended. It would end with the thread that launched it, so that must be this one."""
        with self.network.at_store(POSTGRES if store is self.postgres else REDIS):
            store.launch()
        await trio.to_thread.run_sync(store.wait_ready, _START_SECONDS)

    def died(self) -> list[str]:
        """What ended although nobody had told it to."""
        ended = [process for process in self.cluster.processes if not process.is_running()]
        return [
            f"{process.name} has ended by itself with exit code {process.poll()}:\n{process.log[-2_000:]}"
            for process in ended
            if process.name not in self.told_to_end
        ]

    def stopped_badly(self) -> list[str]:
        """What did not end with 0 although it was told to stop, and had all the time that it wanted."""
        return [
            f"{process.name} was told to stop, and its exit code is {process.poll()}:\n{process.log[-2_000:]}"
            for process in self.stopped
            if process.poll() != 0
        ]

    async def wait_whole(self) -> None:
        """Wait until everything that was told to end has its successor."""
        await until(lambda: not self.starting, seconds=_START_SECONDS)


@asynccontextmanager
async def running_site(options: SiteOptions) -> AsyncIterator[Site]:
    """A site that sells. All of it ends with the block."""
    async with trio.open_nursery() as nursery:
        with ExitStack() as stack:
            postgres, valkey, network = _start_stores(options.network, stack, nursery)
            apply_schema(postgres)
            psql(postgres, WITNESS, database="flash")
            settings = {**SETTINGS, "FLASH_SALE_SIZE": str(options.size), "FLASH_SALE_PERIOD": str(options.period)}
            cluster = Cluster(nursery, postgres.url, valkey.url, settings, module=SERVICE, dies_with_us=True)
            site = Site(cluster, postgres, valkey, network, nursery)
            try:
                async with trio.open_nursery() as starting:
                    for _ in range(options.inventory):
                        starting.start_soon(site.start_inventory)
                    for _ in range(options.web):
                        starting.start_soon(site.start_web)
                await cluster.term_of(seconds=_START_SECONDS)
                await site.know_deployment()
                yield site
            finally:
                await cluster.kill_all()
                nursery.cancel_scope.cancel()


def _start_stores(
    kind: str, stack: ExitStack, nursery: trio.Nursery
) -> tuple[EmbeddedPostgres, EmbeddedValkey, Network]:
    if kind == NAMESPACES:
        network = NamespaceNetwork()
        with network.at_store(POSTGRES):
            postgres = stack.enter_context(running_postgres(listen_addresses=network.address_of(POSTGRES)))
        with network.at_store(REDIS):
            reached = {"bind": network.address_of(REDIS), "port": str(PORTS[REDIS]), "protected-mode": "no"}
            valkey = stack.enter_context(running_valkey(**reached))
        _let_in(postgres, network.everybody)
        return postgres, valkey, network
    postgres, valkey = stack.enter_context(running_postgres()), stack.enter_context(running_valkey())
    sockets = {POSTGRES: Path(postgres.socket_dir) / ".s.PGSQL.5432", REDIS: valkey.socket}
    return postgres, valkey, LocalNetwork(sockets, nursery)


def _let_in(postgres: EmbeddedPostgres, addresses: str) -> None:
    """Whoever has one of these addresses is trusted, as whoever may enter the socket's directory is."""
    with (postgres.cluster / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {addresses} trust\n")
    psql(postgres, "SELECT pg_reload_conf()")
