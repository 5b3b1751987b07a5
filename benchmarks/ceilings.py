"""What limits the service, without the service: group commit, round trips to the stores, the disk.

Every store is asked as the service asks it, and once with nothing in between, so that the difference shows.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg
import trio

from benchmarks.findings import Commits
from benchmarks.oracle import USER_LIMIT, open_database
from benchmarks.stats import Latency, summary
from flash import bridge
from flash.domain import Attempt, ItemId, Purchase, RequestId, UserId
from flash.stores.checkouts import Checkouts
from flash.stores.migration import migrate
from flash.stores.postgres import Connection
from flash.stores.redis_link import RedisLink
from flash.stores.schedule import SaleSchedule
from flash.stores.terms import Terms

BATCHES = (1, 10, 50, 200, 500, 1000)
_DATABASE = "flash_ceiling"
_SALE_SIZE = 1_000_000
_COMMITS_MAX, _TRIPS, _SYNCS = 500, 2_000, 200
_PAYLOAD = b"x" * 100
"""About the bytes of one command in an inbox entry."""


def measure_ceilings(plan: tuple[str, str, float]) -> tuple[list[Commits], dict[str, Latency], str]:
    """Group commit, round trips, Valkey's version. `plan`: URLs of both stores, and the seconds that each may take."""
    database_url, redis_url, seconds = plan
    valkey = Path(unquote(urlsplit(redis_url).path))
    trips = max(100, int(_TRIPS * min(1.0, seconds)))
    commits, ping = bridge.run_in_loop(_measure_postgres, database_url, seconds / 2, trips)
    xadd, version = trio.run(_measure_link, redis_url, trips)
    round_trips = {
        "Valkey PING, bare socket": _measure_ping(valkey, trips),
        "Valkey XADD, the service's link": xadd,
        "PostgreSQL SELECT 1, bare asyncpg": asyncio.run(_measure_asyncpg(database_url, trips)),
        "PostgreSQL SELECT 1, as the service asks": ping,
        "disk, 8 KB synced": _measure_disk(valkey.parent, seconds),
    }
    return commits, round_trips, version


async def _measure_postgres(url: str, seconds: float, trips: int) -> tuple[list[Commits], Latency]:
    async with open_database(url) as database:
        await database.run(_create_database)
    url = urlunsplit(urlsplit(url)._replace(path=f"/{_DATABASE}"))
    await migrate(url)
    async with open_database(url) as database:
        (sale_id, *_), _ = await SaleSchedule(database).prepare_sales(86_400, _SALE_SIZE, USER_LIMIT)
        checkouts, terms = Checkouts(database, 3600.0), Terms(database, 3600.0, linger_seconds=0)
        term, sale, _ = await terms.begin_term(sale_id)
        items = itertools.count(sale.first_item_id)

        async def commit(batch: int) -> tuple[float, float]:
            """Seconds that one commit of `batch` checkouts took, and one of their purchases."""
            asked = [Attempt(UserId(f"buyer-{item // 5}"), ItemId(item)) for item in itertools.islice(items, batch)]
            started = time.perf_counter()
            codes = [recorded.code for recorded in await checkouts.record_attempts([*asked])]
            recorded_at = time.perf_counter()
            purchases = [
                Purchase(code.checkout_id, RequestId(f"key:{item}"), item, user, item % 5 + 1, sale.starts_at)
                for (user, item), code in zip(((ask.user_id, ask.item_id) for ask in asked), codes, strict=True)
                if code is not None
            ]
            assert len(purchases) == batch
            resumed = time.perf_counter()
            await terms.sell(term, purchases)
            return recorded_at - started, time.perf_counter() - resumed

        return [await _measure_commits(commit, batch, seconds) for batch in BATCHES], await _time(database.ping, trips)


async def _create_database(connection: Connection) -> None:
    await connection.execute(f"CREATE DATABASE {_DATABASE}")


async def _measure_commits(
    commit: Callable[[int], Awaitable[tuple[float, float]]], batch: int, seconds: float
) -> Commits:
    """Record and sell `batch` rows per commit until `seconds` of committing are over."""
    await commit(batch)  # prepares the statements
    recording, selling = await commit(batch)
    rows = batch
    while recording + selling < seconds and rows < batch * _COMMITS_MAX:
        recorded, sold = await commit(batch)
        recording, selling, rows = recording + recorded, selling + sold, rows + batch
    return Commits(batch, 1e6 * recording / rows, 1e6 * selling / rows, rows / (recording + selling))


async def _measure_link(url: str, trips: int) -> tuple[Latency, str]:
    """The latency, and Valkey's version."""
    async with RedisLink(url, timeout_seconds=5) as link:
        (info,) = await link.execute(("INFO", "server"))
        # Valkey gives the version of Redis that it is compatible with as well, and first
        version = re.search(rb"valkey_version:(\S+)", info) or re.search(rb"redis_version:(\S+)", info)
        xadd = await _time(lambda: link.execute(("XADD", "flash:bench", "*", "c", _PAYLOAD)), trips)
        return xadd, version[1].decode() if version else "unknown"


async def _measure_asyncpg(url: str, trips: int) -> Latency:
    connection = await asyncpg.connect(url, ssl=False)
    latency = await _time(lambda: connection.fetchrow("SELECT 1"), trips)
    await connection.close()
    return latency


async def _time(call: Callable[[], Awaitable[object]], count: int) -> Latency:
    """`count` calls one after the other, the first of which, which connects, is not counted. On Trio or asyncio."""
    taken = []
    for _ in range(count + 1):
        started = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - started)
    return summary(taken[1:])


def _measure_ping(path: Path, count: int) -> Latency:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))

        def ping(_: int) -> None:
            connection.sendall(b"PING\r\n")
            connection.recv(64)

        return _time_blocking(ping, count)


def _measure_disk(folder: Path, seconds: float) -> Latency:
    """Overwriting 8 KB followed by fdatasync, in the file system of the stores."""
    synced = getattr(os, "fdatasync", os.fsync)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        os.write(file.fileno(), bytes(1 << 20))

        def overwrite(number: int) -> None:
            os.pwrite(file.fileno(), bytes(8192), 8192 * (number % 128))
            synced(file.fileno())

        return _time_blocking(overwrite, _SYNCS, seconds)


def _time_blocking(call: Callable[[int], None], count: int, seconds: float = 10.0) -> Latency:
    """`call(n)` up to `count` times, after a first one that is not counted."""
    until = time.perf_counter() + seconds
    ends = [0.0]
    for number in range(count + 1):
        call(number)
        ends.append(time.perf_counter())
        if ends[-1] > until and number:
            break
    return summary([end - start for start, end in itertools.pairwise(ends[1:])])
