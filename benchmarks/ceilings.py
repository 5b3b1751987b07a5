"""What limits the service, without the service: group commit, round trips to the stores, the disk.

Every store is asked as the service asks it, and once with nothing in between, so that the difference shows.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg
import trio

from benchmarks import service_stores
from benchmarks.findings import Ceilings, Commits
from benchmarks.stats import Latency, summary
from flash import bridge

BATCHES = (1, 10, 50, 200, 500, 1000)
_DATABASE = "flash_ceiling"
_SALE_SIZE = 1_000_000
_COMMITS_MAX = 500
_TRIPS = 2_000
_SYNCS = 200
_STREAM = "flash:bench"
_PAYLOAD = b"x" * 100
"""About the bytes of one command in an inbox entry."""


@dataclass(frozen=True, slots=True)
class CeilingPlan:
    """Both stores of a run of our own, and roughly how long each ceiling is measured."""

    database_url: str
    redis_url: str
    seconds: float

    @property
    def trips(self) -> int:
        return max(100, int(_TRIPS * min(1.0, self.seconds)))


def measure_ceilings(plan: CeilingPlan) -> Ceilings:
    """Everything, one after the other. The rows go to a database of their own."""
    valkey = Path(unquote(urlsplit(plan.redis_url).path))
    commits, ping = trio.run(_measure_postgres, plan)
    xadd, version = trio.run(_measure_link, plan)
    round_trips = {
        "Valkey PING, bare socket": _pings(valkey, plan.trips),
        "Valkey XADD, the service's link": xadd,
        "PostgreSQL SELECT 1, bare asyncpg": asyncio.run(_measure_asyncpg(plan)),
        "PostgreSQL SELECT 1, as the service asks": ping,
        "disk, 8 KB synced": _syncs(valkey.parent, plan.seconds),
    }
    return Ceilings(commits, round_trips, version)


async def _measure_postgres(plan: CeilingPlan) -> tuple[list[Commits], Latency]:
    url = urlunsplit(urlsplit(plan.database_url)._replace(path=f"/{_DATABASE}"))
    async with bridge.open_loop():
        await bridge.call_asyncio(_create_database, plan.database_url)
        await service_stores.migrate(url)
        async with service_stores.open_seller(url, _SALE_SIZE) as seller:
            commits = [await _commit(seller, batch, plan.seconds / 2) for batch in BATCHES]
            return commits, await _time(seller.ping, plan.trips)


async def _create_database(url: str) -> None:
    connection = await asyncpg.connect(url, ssl=False)
    await connection.execute(f"CREATE DATABASE {_DATABASE}")
    await connection.close()


async def _commit(seller: service_stores.Seller, batch: int, seconds: float) -> Commits:
    """Record and sell `batch` rows per commit until `seconds` of committing are over."""
    recording = selling = 0.0
    commits = -1  # the first one, which prepares the statements, is not counted
    while commits < 1 or (recording + selling < seconds and commits < _COMMITS_MAX):
        attempts = seller.attempts(batch)
        started = time.perf_counter()
        recorded = await seller.record(attempts)
        between = time.perf_counter()
        purchases = [seller.purchase(*pair) for pair in zip(attempts, recorded, strict=True)]
        resumed = time.perf_counter()
        await seller.sell(purchases)
        commits += 1
        if commits:
            recording += between - started
            selling += time.perf_counter() - resumed
    rows = commits * batch
    return Commits(batch, 1e6 * recording / rows, 1e6 * selling / rows)


async def _measure_link(plan: CeilingPlan) -> tuple[Latency, str]:
    """The latency, and Valkey's version."""
    async with service_stores.RedisLink(plan.redis_url, timeout_seconds=5) as link:

        async def add() -> None:
            await link.execute(("XADD", _STREAM, "*", "c", _PAYLOAD))

        (info,) = await link.execute(("INFO", "server"))
        # Valkey gives the version of Redis that it is compatible with as well, and first
        version = re.search(rb"valkey_version:(\S+)", info) or re.search(rb"redis_version:(\S+)", info)
        return await _time(add, plan.trips), version[1].decode() if version else "unknown"


async def _measure_asyncpg(plan: CeilingPlan) -> Latency:
    connection = await asyncpg.connect(plan.database_url, ssl=False)

    async def select() -> None:
        await connection.fetchrow("SELECT 1")

    latency = await _time(select, plan.trips)
    await connection.close()
    return latency


async def _time(call: Callable[[], Awaitable[None]], count: int) -> Latency:
    """`count` calls one after the other, the first of which, which connects, is not counted. On Trio or asyncio."""
    taken = []
    for _ in range(count + 1):
        started = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - started)
    return summary(taken[1:])


def _pings(path: Path, count: int) -> Latency:
    """PING on a blocking unix socket."""
    taken = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        for _ in range(count):
            started = time.perf_counter()
            connection.sendall(b"PING\r\n")
            connection.recv(64)
            taken.append(time.perf_counter() - started)
    return summary(taken)


def _syncs(folder: Path, seconds_max: float) -> Latency:
    """Overwriting 8 KB followed by fdatasync, in the file system of the stores."""
    sync = getattr(os, "fdatasync", os.fsync)
    taken: list[float] = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        os.write(file.fileno(), bytes(1 << 20))
        sync(file.fileno())
        until = time.perf_counter() + seconds_max
        while len(taken) < _SYNCS and time.perf_counter() < until:
            started = time.perf_counter()
            os.pwrite(file.fileno(), bytes(8192), 8192 * (len(taken) % 128))
            sync(file.fileno())
            taken.append(time.perf_counter() - started)
    return summary(taken)
