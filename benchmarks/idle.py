"""One client on an idle service, beside the floor: what the same request would cost if only the stores cost anything.

Service and floor are measured in turn, in short rounds, so that a slow minute hits both. A ratio is the median of the
ratios of all rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from benchmarks.load import Address, checkout, connect, content_length, purchase
from benchmarks.native import RECORDER, NativePostgres, NativeRedis, Statement, redis_command, statement_of
from benchmarks.oracle import USER_LIMIT, open_database
from benchmarks.stats import Latency, percentile, summary
from flash import bridge
from flash.codes import KEY_BYTES, digest_user
from flash.domain import Approved, Attempt, Code, ItemId, RequestId, UserId
from flash.errors import OperatorError
from flash.stores.checkouts import Checkouts
from flash.stores.migration import migrate
from flash.stores.schedule import SaleSchedule
from flash.stores.terms import Terms

A = TypeVar("A")

LIVEZ, CHECKOUT, PURCHASE = "GET /livez", "POST /checkout", "POST /purchase"
CHECKOUT_ROW, PURCHASE_ROW, VALKEY = "checkout's row, native", "purchase's row, native", "Valkey trip, native"
GOALS = {CHECKOUT: 1.4, PURCHASE: 1.8}
"""What the ratios should come down to. Printed, never judged."""
_DATABASE = "flash_floor"
_BATCH, _TTL_SECONDS = 1_000, 3_600.0
_STREAM, _PAYLOAD = b"flash:bench:floor", b"x" * 100
_digest = partial(digest_user, bytes(KEY_BYTES))
_TRIPS = (
    redis_command(b"XADD", _STREAM, b"MAXLEN", b"1", b"*", b"c", _PAYLOAD),
    redis_command(b"XREAD", b"COUNT", b"1", b"STREAMS", _STREAM, b"0"),
)


@dataclass(frozen=True, slots=True)
class IdlePlan:
    """Of each sort, `each` requests a round. `items` has enough for all rounds and one more, which warms up."""

    address: Address
    items: Sequence[int]
    database_url: str
    redis_url: str
    rounds: int
    each: int


@dataclass(frozen=True, slots=True)
class Idle:
    """Latencies by what was asked, the floors in µs (p50), and how many times its floor a request took."""

    latencies: dict[str, Latency]
    floors_us: dict[str, float]
    ratios: dict[str, float]


def measure_idle(plan: IdlePlan) -> Idle:
    """In this process, which should have nothing else to do. Buys all of `plan.items`."""
    checkouts, purchases = bridge.run_in_loop(_prepare, plan.database_url, len(plan.items))
    url = _floor_url(plan.database_url)
    service, redis = HttpClient(plan.address), NativeRedis(plan.redis_url)
    recording, selling = NativePostgres(url, checkouts[0].sql), NativePostgres(url, purchases[0].sql)
    samples: list[dict[str, list[float]]] = []
    for start in range(0, len(plan.items), plan.each):
        numbers = range(start, start + plan.each)
        buying = [checkout(f"idle-{n // 5}", plan.items[n]).data for n in numbers]
        found = {LIVEZ: _time(service.ask, [b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"] * plan.each)}
        found[CHECKOUT_ROW] = _time(recording.run, [recording.encode(checkouts[n].args) for n in numbers])
        bodies: list[bytes] = []
        found[CHECKOUT] = _time(service.ask, buying, bodies)
        found[PURCHASE_ROW] = _time(selling.run, [selling.encode(purchases[n].args) for n in numbers])
        keyed = [purchase(body[9:-2], f"idle-{n}").data for n, body in zip(numbers, bodies, strict=True)]
        found[PURCHASE] = _time(service.ask, keyed)
        found[VALKEY] = _time(redis.run, [*_TRIPS] * plan.each)
        samples.append(found)
    for client in (service, redis, recording, selling):
        client.close()
    return _summed(samples[1:])


def _summed(rounds: list[dict[str, list[float]]]) -> Idle:
    """The first round has warmed up and is not among them."""
    medians = [{name: percentile(sorted(taken), 0.5) for name, taken in one.items()} for one in rounds]
    floors = [
        {
            CHECKOUT: one[LIVEZ] + one[CHECKOUT_ROW],
            PURCHASE: one[LIVEZ] + one[PURCHASE_ROW] + 2 * one[VALKEY],
        }
        for one in medians
    ]
    pairs = list(zip(medians, floors, strict=True))
    return Idle(
        {name: summary([taken for one in rounds for taken in one[name]]) for name in rounds[0]},
        {name: 1e6 * statistics.median(floor[name] for floor in floors) for name in GOALS},
        {name: statistics.median(one[name] / floor[name] for one, floor in pairs) for name in GOALS},
    )


def _time(ask: Callable[[bytes], A], requests: Sequence[bytes], answers: list[A] | None = None) -> list[float]:
    """Seconds that each took, one after the other; what came back is added to `answers`."""
    taken, answers = list[float](), [] if answers is None else answers
    for data in requests:
        started = time.perf_counter()
        answer = ask(data)
        taken.append(time.perf_counter() - started)
        answers.append(answer)
    return taken


class HttpClient:
    """One keep-alive connection, blocking."""

    def __init__(self, address: Address) -> None:
        self._sock = connect(address)

    def ask(self, data: bytes) -> bytes:
        """The body. Raises `OperatorError` unless the answer is 200."""
        self._sock.sendall(data)
        answer = self._sock.recv(65_536)
        while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + content_length(answer, end):
            if not (piece := self._sock.recv(65_536)):
                raise OperatorError("the service has closed an idle client's connection")
            answer += piece
        if answer[9:12] != b"200":
            raise OperatorError(f"the service answered an idle client {answer[9:200]!r}")
        return answer[end + 4 :]

    def close(self) -> None:
        self._sock.close()


def _floor_url(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{_DATABASE}"))


async def _prepare(url: str, count: int) -> tuple[list[Statement], list[Statement]]:
    """A database of its own with a sale of `count` items, and what the service would send to sell each of them."""
    async with open_database(url) as database:
        await database.run(lambda session: session.execute(f"DROP DATABASE IF EXISTS {_DATABASE}"))
        await database.run(lambda session: session.execute(f"CREATE DATABASE {_DATABASE}"))
    await migrate(_floor_url(url))
    async with open_database(_floor_url(url)) as database:
        (sale_id, *_), _ = await SaleSchedule(database).prepare_sales(86_400, max(20, count), USER_LIMIT)
        term, sale, _ = await Terms(database, linger_seconds=0).begin_term(sale_id)
        asked = [Attempt(UserId(f"floor-{n // 5}"), ItemId(sale.first_item_id + n)) for n in range(count)]
        store, codes = Checkouts(database, _TTL_SECONDS, _digest), list[Code]()
        for start in range(0, count, _BATCH):
            recorded = await store.record_attempts([*asked[start : start + _BATCH]])
            codes += [found.code for found in recorded if found.code is not None]
    recording, selling = Checkouts(RECORDER, _TTL_SECONDS, _digest), Terms(RECORDER, linger_seconds=0)
    approved = [Approved(code, RequestId(f"floor:{n}"), n % 5 + 1) for n, code in enumerate(codes)]
    return (
        [statement_of(recording.record_attempts([attempt])) for attempt in asked],
        [statement_of(selling.confirm(term, n, [one], [])) for n, one in enumerate(approved)],
    )
