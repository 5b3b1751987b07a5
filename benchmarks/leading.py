"""Thousands of open sales: how soon they are led, what they cost while nobody buys, how hosts share and move them.

Whoever leads is asked of the stores: a sale's epoch rises when a term begins, and a lease names its owner. What a buyer
notices is asked over HTTP: by first purchases of sales that were quiet, and by buyers who ask the same sale all the
time. One host is enough for the first half; then another joins, one leaves, and one is killed.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Any

import trio

from benchmarks.findings import Table
from benchmarks.machine import ROOT, memory_bytes, usage_of
from benchmarks.oracle import open_database
from benchmarks.processes import Stores
from benchmarks.progress import Progress
from flash.config import environment
from flash.domain import SaleId
from flash.errors import OperatorError
from flash.processes.child import STDOUT, Child
from flash.purchase_rpc.messages import lease_key
from flash.stores.keys import read_secrets
from flash.stores.redis_link import RedisLink
from flash.testing.client import Client
from flash.testing.stores import private_directory

_WAIT_SECONDS, _STOP_SECONDS, _POLL_SECONDS = 60.0, 10.0, 0.02
_FILL_SECONDS = 300.0
_SETTLE_SECONDS = 6.0
"""After this long nothing of a start is left: inboxes that were opened count as quiet."""
_EVEN_SHARE = 0.2
_COLD_PURCHASES, _HOT_SALES, _HOT_EACH_SECONDS = 25, 8, 0.03
_COLD_EACH_SECONDS = 0.05
_LISTENING = re.compile(r"listening on (http://[^\s\"]+)")
_STOCK = 10_000

# Ids below those that the scheduler has made: the newest sale is the one with the highest id among these.
_FILL = """
WITH made AS (
    INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit, sold, epoch, term_token)
    SELECT 1000000 + n, now() - ($1::int - n) * interval '1 s', 1000000000::bigint + n * $2::bigint, $2, 10, $3, 1,
           decode(md5(n::text), 'hex')
    FROM generate_series(1, $1::int) AS n
    RETURNING id, first_item_id
), recorded AS (
    INSERT INTO checkouts (outcome, sale_id, item_id, user_id, user_digest)
    SELECT 'issued', made.id, made.first_item_id + i, 'buyer-' || i, decode(md5(i::text), 'hex')
    FROM made, generate_series(0, $3 - 1) AS i
    RETURNING id, sale_id, item_id, user_id
)
INSERT INTO purchases (sale_id, item_id, checkout_id, user_id, slot, epoch, request_id, purchased_at)
SELECT sale_id, item_id, id, user_id, 1, 1, 'auto:' || id, now() FROM recorded
"""
_STATE = "SELECT first_item_id, epoch FROM sales WHERE id = $1"


@dataclass
class _Gaps:
    """Milliseconds that buyers waited for a purchase. `failed` were not answered with a receipt."""

    cold: list[float] = field(default_factory=list)
    hot: list[float] = field(default_factory=list)
    failed: int = 0


class _Site:
    """The stores, the sales in them, and the hosts that were started on them."""

    def __init__(self, stores: Stores, folder: Path, sales: int, sold: int) -> None:
        self._stores, self._folder = stores, folder
        self.sales, self.sold = sales, sold
        self.newest = SaleId(1_000_000 + sales)
        self.hosts: list[Child] = []
        self._lease_keys: list[str] = []

    async def fill(self) -> None:
        async with open_database(self._stores[0].url) as database:
            deployment = (await read_secrets(database)).deployment
        async with open_database(self._stores[0].url, statement_seconds=_FILL_SECONDS) as database:
            await database.write(_FILL, self.sales, _STOCK, self.sold)
            await database.run(lambda session: session.execute("VACUUM ANALYZE"))
        first = 1_000_001
        self._lease_keys = [deployment.key(lease_key(SaleId(first + n))) for n in range(self.sales)]

    def start(self, kind: str = "inventory") -> Child:
        urls = {"DATABASE_URL": self._stores[0].url, "REDIS_URL": self._stores[1].url}
        settings = {**urls, "FLASH_HOST": "127.0.0.1", "PORT": "0", "WEB_CONCURRENCY": "1"}
        with self._log(len(self.hosts)).open("wb") as log:
            command = [sys.executable, "-m", "flash", kind]
            child = Child(
                f"{kind}.{len(self.hosts)}",
                command,
                directory=ROOT,
                stdout=log,
                stderr=STDOUT,
                env=environment(**settings, FLASH_SALE_PERIOD="86400"),
                own_session=True,
                death_signal=SIGKILL,
            )
        self.hosts.append(child)
        return child

    def stop_all(self) -> None:
        for child in self.hosts:
            child.stop_blocking(())

    async def said(self, child: Child, pattern: str) -> str:
        """What `pattern` finds in its log, as soon as it is there."""
        number, found = self.hosts.index(child), None

        async def look() -> bool:
            nonlocal found
            found = re.search(pattern, self._log(number).read_text(errors="replace"))
            return found is not None

        await self.until(look)
        assert found is not None
        return found[found.re.groups]

    @property
    def failed_terms(self) -> int:
        """Terms that ended against their leader's will, by what the hosts have logged."""
        texts = [self._log(number).read_text(errors="replace") for number in range(len(self.hosts))]
        return sum(text.count("stopped leading") for text in texts)

    async def owners(self) -> list[int]:
        """How many leases each owner has, the most first."""
        async with RedisLink(self._stores[1].url, timeout_seconds=5.0) as link:
            (tokens,) = await link.execute(("MGET", *self._lease_keys))
        return sorted(Counter(token for token in tokens if token).values(), reverse=True)

    async def are_all_held(self) -> bool:
        return sum(await self.owners()) == self.sales

    async def epoch(self) -> int:
        """That of the newest sale."""
        async with open_database(self._stores[0].url) as database:
            return int((await database.fetch(_STATE, self.newest))[0]["epoch"])

    async def begun(self) -> int:
        """How many of the sales have had a term of ours."""
        async with open_database(self._stores[0].url) as database:
            return int((await database.fetch("SELECT count(*) AS n FROM sales WHERE epoch > 1"))[0]["n"])

    async def until(self, is_so: Callable[[], Awaitable[bool]], seconds: float = _WAIT_SECONDS) -> float | None:
        """The seconds until it is so; None if it is not so in time."""
        began = time.monotonic()
        with trio.move_on_after(seconds):
            while not await is_so():  # noqa: ASYNC110 nobody tells us
                await trio.sleep(_POLL_SECONDS)
            return time.monotonic() - began
        return None

    def _log(self, number: int) -> Path:
        return self._folder / f"{number}.log"


async def leading_table(stores: Stores, sales: int, sold: int, seconds: float, progress: Progress) -> Table:
    """With `sales` open sales of which each has sold `sold`. `seconds`: for how long idle CPU is measured."""
    rows: list[tuple[str | float | None, ...]] = []
    with private_directory() as folder, _stopping(_Site(stores, folder, sales, sold)) as site:

        async def step(name: str, measure: Callable[[], Awaitable[dict[str, float | None]]]) -> None:
            progress.begin(name)
            found = await measure()
            rows.extend((f"{name}: {what}", value) for what, value in found.items())
            progress.done(", ".join(f"{what} {_text(value)}" for what, value in found.items()))

        await step("no sales", partial(_measure_empty, site))
        empty_bytes = int(rows[-1][1] or 0) * 1_000_000
        await step("prepare", partial(_fill, site))
        await step("start", partial(_measure_start, site))
        await step("idle", partial(_measure_idle, site, empty_bytes, seconds))
        web = site.start("web")
        address = await site.said(web, _LISTENING.pattern)
        async with _buyers(site, address) as buyers:
            await step("quiet sales", partial(_measure_first_purchases, buyers))
            await step("another joins", partial(_measure_join, site, buyers))
            await step("one is stopped", partial(_measure_stop, site, buyers))
        await step("the last is killed", partial(_measure_crash, site))
        rows.append(("failed terms", site.failed_terms))
    return Table(f"Leading {sales:,} open sales, each with {sold:,} sold", ("what", "figure"), rows)


def _text(value: float | None) -> str:
    return "never" if value is None else f"{value:,.2f}"


@contextmanager
def _stopping(site: _Site) -> Iterator[_Site]:
    try:
        yield site
    finally:
        site.stop_all()


async def _measure_empty(site: _Site) -> dict[str, float | None]:
    host = site.start()
    await site.said(host, "ready to lead")
    await trio.sleep(_SETTLE_SECONDS / 3)
    memory = memory_bytes(host.pid)
    await host.stop(())
    return {"memory MB": memory / 1e6}


async def _fill(site: _Site) -> dict[str, float | None]:
    began = time.monotonic()
    await site.fill()
    return {"seconds": time.monotonic() - began}


async def _measure_start(site: _Site) -> dict[str, float | None]:
    before, host, began = await site.epoch(), site.start(), time.monotonic()
    await site.said(host, "ready to lead")
    ready = time.monotonic() - began

    async def is_led() -> bool:
        return await site.epoch() > before

    led = await site.until(is_led)
    held = await site.until(site.are_all_held)
    return {
        "s until ready": ready,
        "s until the newest sale is led, from ready": led,
        "s until all leases are held, from then": held,
    }


async def _measure_idle(site: _Site, empty_bytes: int, seconds: float) -> dict[str, float | None]:
    host = site.hosts[-1]
    await trio.sleep(_SETTLE_SECONDS)
    before, began = usage_of(host.pid)[0], time.monotonic()
    others = [usage_of(store.pid)[0] for store in site._stores]
    await trio.sleep(seconds)
    passed = time.monotonic() - began
    memory = memory_bytes(host.pid)
    return {
        "CPU % of a core": 100 * (usage_of(host.pid)[0] - before) / passed,
        **{
            f"{store.name} CPU %": 100 * (usage_of(store.pid)[0] - earlier) / passed
            for store, earlier in zip(site._stores, others, strict=True)
        },
        "memory MB": memory / 1e6,
        "kB for a quiet sale": (memory - empty_bytes) / 1e3 / site.sales,
        "sales with a term": await site.begun(),
    }


class _Buyers:
    """Some ask quiet sales for the first time, one by one; others ask the same few all the time."""

    def __init__(self, site: _Site, address: str) -> None:
        self._site, self._address = site, address
        self._cold = iter(range(site.sales - 100, 0, -1))
        self.gaps = _Gaps()

    async def buy_first(self) -> float:
        """Milliseconds that the first purchase of a quiet sale takes."""
        sale = SaleId(1_000_000 + next(self._cold, 1))
        async with Client(self._address) as client:
            code = await self._check_out(client, sale)
            return await self._purchase(client, code)

    async def buy_first_ones(self) -> None:
        while True:
            self.gaps.cold.append(await self.buy_first())
            await trio.sleep(_COLD_EACH_SECONDS)

    async def ask_again(self, number: int) -> None:
        """Redeem one code of a sale again and again: each answer needs the leader's word."""
        async with Client(self._address) as client:
            code = await self._check_out(client, SaleId(1_000_000 + self._site.sales - 50 - number))
            while True:
                self.gaps.hot.append(await self._purchase(client, code))
                await trio.sleep(_HOT_EACH_SECONDS)

    async def _check_out(self, client: Client, sale: SaleId) -> str:
        async with open_database(self._site._stores[0].url) as database:
            first = (await database.fetch(_STATE, sale))[0]["first_item_id"]
        item = first + self._site.sold
        answer = await client.post(f"/checkout?user_id=probe&id={item}")
        if answer.status != 200:
            raise OperatorError(f"a checkout of sale {sale} was answered {answer.status}")
        return str(answer.json()["code"])

    async def _purchase(self, client: Client, code: str) -> float:
        began = time.perf_counter()
        answer = await client.post(f"/purchase?code={code}", [(b"Idempotency-Key", b"probe-" + code[-12:].encode())])
        self.gaps.failed += answer.status != 200
        return 1e3 * (time.perf_counter() - began)


@asynccontextmanager
async def _buyers(site: _Site, address: str) -> AsyncIterator[_Buyers]:
    """With those who ask the same sales all the time at work."""
    buyers = _Buyers(site, address)
    async with trio.open_nursery() as nursery:
        for number in range(_HOT_SALES):
            nursery.start_soon(buyers.ask_again, number)
        yield buyers
        nursery.cancel_scope.cancel()


async def _measure_first_purchases(buyers: _Buyers) -> dict[str, float | None]:
    found = [await buyers.buy_first() for _ in range(_COLD_PURCHASES)]
    return {"first purchase, median ms": statistics.median(found), "longest ms": max(found)}


async def _while_buying(buyers: _Buyers, measure: Callable[[], Awaitable[Any]]) -> dict[str, float | None]:
    """What buyers noticed meanwhile."""
    buyers.gaps.cold.clear()
    buyers.gaps.hot.clear()
    buyers.gaps.failed = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buyers.buy_first_ones)
        await measure()
        await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    gaps = buyers.gaps
    return {
        "longest purchase of a busy sale, ms": max(gaps.hot, default=None),
        "longest first purchase, ms": max(gaps.cold, default=None),
        "purchases that failed": gaps.failed,
    }


async def _measure_join(site: _Site, buyers: _Buyers) -> dict[str, float | None]:
    even: float | None = None

    async def are_even() -> bool:
        owners = await site.owners()
        mean = sum(owners) / 2
        return len(owners) == 2 and all(abs(n - mean) <= _EVEN_SHARE * mean for n in owners)

    async def join() -> None:
        nonlocal even
        await site.said(site.start(), "ready to lead")
        even = await site.until(are_even)

    noticed = await _while_buying(buyers, join)
    shares = await site.owners()
    return {"s until shares are even": even, "largest share": shares[0], "smallest share": shares[-1], **noticed}


async def _measure_stop(site: _Site, buyers: _Buyers) -> dict[str, float | None]:
    """The host that was first goes."""
    held: float | None = None
    first = next(host for host in site.hosts if host.is_running())

    async def stop() -> None:
        nonlocal held
        first.terminate()
        await first.wait()
        held = await site.until(site.are_all_held)

    noticed = await _while_buying(buyers, stop)
    return {"s from its end until all leases are held": held, **noticed}


async def _measure_crash(site: _Site) -> dict[str, float | None]:
    """A successor stands ready; what is left of the others is killed."""
    old = [host for host in site.hosts if host.is_running() and host.name.startswith("inventory")]
    await site.said(site.start(), "ready to lead")
    await trio.sleep(_SETTLE_SECONDS / 3)
    before, began = await site.epoch(), time.monotonic()
    for host in old:
        host.kill()

    async def is_led() -> bool:
        return await site.epoch() > before

    led = await site.until(is_led)
    held = await site.until(site.are_all_held)
    return {
        "s until the newest sale is led": led,
        "s until all leases are held": None if held is None else time.monotonic() - began,
    }
