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
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg
import trio

from benchmarks.findings import Commits
from benchmarks.oracle import USER_LIMIT, open_database
from benchmarks.stats import Latency, summary
from flash import bridge
from flash.codes import KEY_BYTES, digest_user
from flash.domain import Approved, Attempt, ItemId, RequestId, UserId
from flash.stores.checkouts import Checkouts
from flash.stores.migration import migrate
from flash.stores.postgres import Session
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
    trips = max(100, int(_TRIPS * min(1.0, seconds)))
    commits, ping = bridge.run_in_loop(_measure_postgres, database_url, seconds / 2, trips)
    xadd, version = trio.run(_measure_link, redis_url, trips)
    bare = asyncio.run(_measure_bare(database_url, Path(unquote(urlsplit(redis_url).path)), trips, seconds))
    asked = {"Valkey XADD, the service's link": xadd, "PostgreSQL SELECT 1, as the service asks": ping}
    return commits, {**asked, **bare}, version


async def _measure_postgres(url: str, seconds: float, trips: int) -> tuple[list[Commits], Latency]:
    async with open_database(url) as database:
        await database.run(_create_database)
    url = urlunsplit(urlsplit(url)._replace(path=f"/{_DATABASE}"))
    await migrate(url)
    async with open_database(url) as database:
        (sale_id, *_), _ = await SaleSchedule(database).prepare_sales(86_400, _SALE_SIZE, USER_LIMIT)
        checkouts = Checkouts(database, 3600.0, partial(digest_user, bytes(KEY_BYTES)))
        terms = Terms(database, linger_seconds=0)
        term, sale, _ = await terms.begin_term(sale_id)
        items = itertools.count(sale.first_item_id)
        sold_before = 0

        async def commit(batch: int) -> tuple[float, float]:
            """Seconds that one commit of `batch` checkouts took, and one of their purchases."""
            nonlocal sold_before
            asked = [Attempt(UserId(f"buyer-{item // 5}"), ItemId(item)) for item in itertools.islice(items, batch)]
            started = time.perf_counter()
            recorded = await checkouts.record_attempts([*asked])
            recording = time.perf_counter() - started
            codes = [found.code for found in recorded if found.code is not None]
            approved = [Approved(code, RequestId(f"auto:{code.item_id}"), code.item_id % 5 + 1) for code in codes]
            started = time.perf_counter()
            confirmed = await terms.confirm(term, sold_before, approved, [])
            sold_before += len(confirmed.sold)
            return recording, time.perf_counter() - started

        commits = []
        for batch in BATCHES:
            await commit(batch)  # prepares the statements
            recording, selling, rows = *(await commit(batch)), batch
            while recording + selling < seconds and rows < batch * _COMMITS_MAX:
                recorded, sold = await commit(batch)
                recording, selling, rows = recording + recorded, selling + sold, rows + batch
            figures = 1e6 * recording / rows, 1e6 * selling / rows, rows / (recording + selling)
            commits.append(Commits(batch, *figures))
        return commits, await _time(database.ping, trips)


async def _create_database(connection: Session) -> None:
    await connection.execute(f"CREATE DATABASE {_DATABASE}")


async def _measure_link(url: str, trips: int) -> tuple[Latency, str]:
    """The latency, and Valkey's version."""
    async with RedisLink(url, timeout_seconds=5) as link:
        (info,) = await link.execute(("INFO", "server"))
        # Valkey gives the version of Redis that it is compatible with as well, and first
        version = re.search(rb"valkey_version:(\S+)", info) or re.search(rb"redis_version:(\S+)", info)
        xadd = await _time(lambda: link.execute(("XADD", "flash:bench", "*", "c", _PAYLOAD)), trips)
        return xadd, version[1].decode() if version else "unknown"


async def _measure_bare(url: str, valkey: Path, trips: int, seconds: float) -> dict[str, Latency]:
    """On plain asyncio and blocking calls. The file is in the file system of the stores."""
    connection = await asyncpg.connect(url, ssl=False)
    synced, places = getattr(os, "fdatasync", os.fsync), itertools.count()
    with socket.socket(socket.AF_UNIX) as redis, tempfile.NamedTemporaryFile(dir=valkey.parent) as file:
        redis.connect(str(valkey))
        os.write(file.fileno(), bytes(1 << 20))

        async def ping() -> None:
            redis.sendall(b"PING\r\n")
            redis.recv(64)

        async def overwrite() -> None:
            os.pwrite(file.fileno(), bytes(8192), 8192 * (next(places) % 128))
            synced(file.fileno())

        return {
            "Valkey PING, bare socket": await _time(ping, trips),
            "PostgreSQL SELECT 1, bare asyncpg": await _time(lambda: connection.fetchrow("SELECT 1"), trips),
            "disk, 8 KB synced": await _time(overwrite, _SYNCS, seconds),
        }


async def _time(call: Callable[[], Awaitable[object]], count: int, seconds: float = 60.0) -> Latency:
    """Up to `count` calls one after the other; the first, which connects, is not counted. On Trio or asyncio."""
    taken, until = list[float](), time.perf_counter() + seconds
    while len(taken) <= count and (len(taken) < 2 or time.perf_counter() < until):
        started = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - started)
    return summary(taken[1:])
