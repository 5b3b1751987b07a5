"""What is drilled: two stores, web and inventory processes, all ours, in a temporary directory.

Every process that ends without having been told to is remembered: that alone fails the drill.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from flash.deployment import Deployment
from flash.domain import SaleId
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.local.embedded.store import ask
from flash.purchase_rpc.messages import lease_key
from flash.testing.cluster import Cluster, Process, until
from flash.testing.stores import apply_schema, psql, running_postgres, running_valkey
from flash.testing.verification import rows

LEASE_SECONDS = 1.0
SETTINGS = {"FLASH_LEASE_TTL": str(LEASE_SECONDS), "FLASH_LEASE_MARGIN": "0.2", "FLASH_REQUEST_TIMEOUT": "2"}
"""A leader is replaced within a second, so that many can be broken in a minute."""

_LEADING = re.compile(r"leading sale (\d+), epoch (\d+)")
_START_SECONDS = 60.0

# Which process committed what. The epoch of a purchase is what its statement says, the process what its session says.
WITNESS = """
CREATE TABLE drill_commits (process text, sale_id bigint, epoch bigint, items bigint, at timestamptz);
CREATE FUNCTION drill_witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO drill_commits
    SELECT current_setting('drill.process', true), sale_id, epoch, count(*), clock_timestamp()
    FROM made GROUP BY sale_id, epoch;
    RETURN NULL;
END $$;
CREATE TRIGGER drill_witness AFTER INSERT ON purchases
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION drill_witness();
"""


@dataclass(slots=True)
class Web:
    """A web process and the address that it and its successors have. `is_up`: it serves, or is only paused."""

    process: Process
    address: str
    is_up: bool = True


@dataclass(slots=True)
class Site:
    """The parts, and who may be broken. `nursery` runs what is started again in the background."""

    cluster: Cluster
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    nursery: trio.Nursery
    web: list[Web] = field(default_factory=list)
    told_to_end: set[str] = field(default_factory=set)
    starting: int = 0
    deployment: Deployment | None = None

    async def start_inventory(self) -> None:
        """Start one more, whose sessions in PostgreSQL say which process they are of."""
        self.starting += 1
        name = f"inventory.{len(self.cluster.processes) + 1}"
        process = await self.cluster.start("inventory", DATABASE_URL=f"{self.postgres.url}&drill.process={name}")
        assert process.name == name
        await process.wait_for("ready to lead", seconds=_START_SECONDS)
        self.starting -= 1

    async def start_web(self, place: int | None = None) -> None:
        """Start one more, or the successor of the one at `place`, on the same port."""
        self.starting += 1
        port = "0" if place is None else self.web[place].address.rpartition(":")[2]
        process = await self.cluster.start("web", PORT=port)
        found = await process.wait_for(r"listening on (http://127\.0\.0\.1:\d+)", seconds=_START_SECONDS)
        self.starting -= 1
        if place is None:
            self.web.append(Web(process, found[1]))
        else:
            self.web[place].process, self.web[place].is_up = process, True

    def end(self, process: Process, how: Callable[[Process], None]) -> None:
        """End a process of ours, as told."""
        self.told_to_end.add(process.name)
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
                    if process.is_running() and process.name not in self.told_to_end:
                        return process
                await trio.sleep(0.02)
        return None

    async def wait_standby(self) -> None:
        """Wait until a second inventory process could lead, so that only what is broken now is missing."""
        await until(lambda: len(self._ready()) > 1, seconds=_START_SECONDS)

    def _ready(self) -> list[Process]:
        inventory = [one for one in self.cluster.named("inventory") if one.name not in self.told_to_end]
        return [one for one in inventory if "ready to lead" in one.log]

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

    async def wait_whole(self) -> None:
        """Wait until everything that was told to end has its successor."""
        await until(lambda: not self.starting, seconds=_START_SECONDS)


@asynccontextmanager
async def running_site(web: int, inventory: int, size: int, period: int) -> AsyncIterator[Site]:
    """A site that sells. All of it ends with the block."""
    with running_postgres() as postgres, running_valkey() as valkey:
        apply_schema(postgres)
        psql(postgres, WITNESS, database="flash")
        settings = {**SETTINGS, "FLASH_SALE_SIZE": str(size), "FLASH_SALE_PERIOD": str(period)}
        async with trio.open_nursery() as nursery:
            cluster = Cluster(nursery, postgres.url, valkey.url, settings)
            site = Site(cluster, postgres, valkey, nursery)
            try:
                async with trio.open_nursery() as starting:
                    for _ in range(inventory):
                        starting.start_soon(site.start_inventory)
                    for _ in range(web):
                        starting.start_soon(site.start_web)
                await cluster.term_of(seconds=_START_SECONDS)
                await site.know_deployment()
                yield site
            finally:
                await cluster.kill_all()
                nursery.cancel_scope.cancel()
