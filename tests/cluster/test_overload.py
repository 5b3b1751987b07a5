"""Far more buyers than a leader can serve: a few wait for a short time, the others are told at once to come later.

The leader is made slow by batches of one purchase, so that a small crowd is far too much for it. Nothing here asserts
how fast the machine is. The figures are logged (`pytest --log-cli-level=info`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import trio

from flash.local.embedded import EmbeddedValkey
from flash.testing.client import Answer, Client
from flash.testing.cluster import running_cluster
from tests.cluster.history import History, rows, verify

log = logging.getLogger(__name__)

BUYERS = 250
OVERLOAD_SECONDS = 3.0
REQUEST_SECONDS = 3.0
WAIT_SECONDS = 0.2
SETTINGS = {
    "FLASH_PURCHASE_BATCH_MAX": "1",
    "FLASH_REQUEST_TIMEOUT": str(REQUEST_SECONDS),
    "FLASH_ADMISSION_WAIT": str(WAIT_SECONDS),
}


@dataclass
class Seen:
    """What the buyers have seen of POST /purchase."""

    seconds_to_sell: list[float] = field(default_factory=list)
    seconds_to_refuse: list[float] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    retry_after: Counter[int] = field(default_factory=Counter)


class NotingClient(Client):
    def __init__(self, address: str, seen: Seen) -> None:
        super().__init__(address, reconnects=True)
        self._seen = seen

    async def request(
        self, method: str, target: str, *, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b""
    ) -> Answer:
        asked_at = trio.current_time()
        answer = await super().request(method, target, headers=headers, body=body)
        seconds = trio.current_time() - asked_at
        if target.startswith("/purchase") and answer.status == 200:
            self._seen.seconds_to_sell.append(seconds)
        elif answer.status == 503:
            self._seen.seconds_to_refuse.append(seconds)
            self._seen.problems[answer.json()["code"]] += 1
            self._seen.retry_after[int(answer.header(b"retry-after") or b"0")] += 1
        return answer


async def _buy(address: str, history: History, seen: Seen, items: list[int], user: str, until: float) -> None:
    """Buy one item after the other, and come back far too soon after each 503. The last purchase is seen to its end."""
    async with NotingClient(address, seen) as client:
        while trio.current_time() < until:
            item = items.pop()
            code = await history.checkout(client, f"{user}-{item}", item)
            if code is not None:
                await _insist(client, history, code, f"key-{item}")


async def _insist(client: Client, history: History, code: str, key: str) -> None:
    answer = None
    while answer is None:
        answer = await history.purchase(client, code, key)
        if answer is None:
            await trio.sleep(0.1)


async def test_overload_is_refused_at_once_and_what_is_sold_is_heard(postgres: str, valkey: EmbeddedValkey) -> None:
    history, seen, items = History(), Seen(), list(range(10_000, 0, -1))
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, **SETTINGS) as (_, (address,)):
        until = trio.current_time() + OVERLOAD_SECONDS
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(BUYERS):
                    nursery.start_soon(_buy, address, history, seen, items, f"user-{number}", until)
        sold = len(history.sold)
        _report(seen, trio.current_time() - until + OVERLOAD_SECONDS)
        assert sold > BUYERS, "a crowd that is too large is still served, at the leader's rate"
        assert seen.problems["overloaded"] > BUYERS, "this was no overload"
        assert seen.problems["outcome_unknown"] <= sold * 0.01, "who is admitted is answered"
        assert min(seen.retry_after) >= 1
        assert max(seen.seconds_to_sell) < REQUEST_SECONDS, "nobody hears of a sale after the time-out"
        ((in_database,),) = await rows(postgres, "SELECT count(*) FROM purchases")
        assert in_database == sold, "every sale was heard of"

        calm = Seen()
        with trio.fail_after(30):
            await _buy_calmly(address, history, calm, items)
        assert not calm.problems, "the next buyers meet no queue"
        await verify(history, postgres, sold_out=False)


async def _buy_calmly(address: str, history: History, seen: Seen, items: list[int]) -> None:
    async with NotingClient(address, seen) as client:
        for _ in range(20):
            item = items.pop()
            code = await history.checkout(client, f"calm-{item}", item)
            assert code is not None
            answer = await history.purchase(client, code, f"key-{item}")
            assert answer is not None
            assert answer.status == 200


def _report(seen: Seen, seconds: float) -> None:
    sold, refused = sorted(seen.seconds_to_sell), sorted(seen.seconds_to_refuse)
    log.info("%.0f sold/s: p50 %.3f s, p99 %.3f s", len(sold) / seconds, _part(sold, 50), _part(sold, 99))
    log.info("%d refused: p50 %.3f s; Retry-After %s", len(refused), _part(refused, 50), dict(seen.retry_after))


def _part(ordered: list[float], percent: int) -> float:
    return ordered[len(ordered) * percent // 100]
