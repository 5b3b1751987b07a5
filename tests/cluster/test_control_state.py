"""GET /control/state of a real cluster: it adds up, names the leader, and says what is wrong, in every fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from flash.local.embedded import EmbeddedValkey
from flash.testing.client import Client
from flash.testing.cluster import QUICK, running_cluster

TOKEN = "a-token-that-nobody-guesses"
AUTHORIZED = [(b"authorization", f"Bearer {TOKEN}".encode())]
SIZE = 40


async def state_of(client: Client) -> Any:
    answer = await client.get("/control/state", AUTHORIZED)
    assert answer.status == 200, answer
    assert answer.header(b"cache-control") == b"no-store"
    return answer.json()


async def shown(client: Client, condition: Callable[[Any], object], seconds: float = 15.0) -> Any:
    """The state, once `condition` holds of it."""
    with trio.move_on_after(seconds):
        while True:
            state = await state_of(client)
            if condition(state):
                return state
            await trio.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {state}")


async def buy(client: Client, item: int) -> None:
    code = (await client.post(f"/checkout?user_id=user-{item}&id={item}")).json()["code"]
    assert (await client.post(f"/purchase?code={code}")).status == 200


def totals(state: Any) -> tuple[int, ...]:
    """Items sold, purchases and checkouts that succeeded, and attempts whose item was sold."""
    series = state["series"]
    outcomes = (series["outcomes"].get(name, []) for name in ("sold", "issued", "item_sold"))
    return tuple(round(sum(counts)) for counts in (series["sales"], *outcomes))


def mark_kinds(state: Any) -> list[str]:
    return [mark["kind"] for mark in state["marks"]]


async def test_any_web_process_tells_of_all_and_of_a_take_over(postgres: str, valkey: EmbeddedValkey) -> None:
    settings = {**QUICK, "FLASH_SALE_SIZE": str(SIZE), "FLASH_CONTROL_TOKEN": TOKEN}
    async with (
        running_cluster(postgres, valkey.url, web=2, inventory=2, **settings) as (cluster, addresses),
        Client(addresses[0]) as here,
        Client(addresses[1]) as there,
    ):
        for item in range(1, 11):
            await buy(here if item % 2 else there, item)
        await here.post("/checkout?user_id=late&id=1")  # sold
        for client in (here, there):
            assert (await client.get("/control/state")).status == 401
            state = await shown(client, lambda state: totals(state) == (10, 10, 10, 1))
        assert {len(series) for series in (state["series"]["sales"], state["series"]["p99_ms"])} == {300}
        latencies = zip(state["series"]["p50_ms"], state["series"]["p99_ms"], strict=True)
        assert any(p99 and 0 < p50 <= p99 for p50, p99 in latencies)
        assert [process["role"] for process in state["processes"]] == ["web", "web", "inventory", "inventory"]
        assert {process["pid"] for process in state["processes"]} == {process.pid for process in cluster.processes}
        sale = next(sale for sale in state["sales"] if sale["id"] == 1)
        assert (sale["stock"], sale["sold"], sale["status"], sale["paused"]) == (SIZE, 10, "open", None)
        epoch, leader = await cluster.term_of()
        assert (sale["leader"]["pid"], sale["leader"]["epoch"]) == (leader.pid, epoch)
        assert sale["leader"]["since"] < state["now"]
        assert state["state"]["level"] == "ok", state["state"]
        assert state["stores"] == {"database": {"status": "ok"}, "redis": {"status": "ok"}}
        assert mark_kinds(state).count("process_started") == 4

        why = "by=ann&reason=a+wrong+picture"
        assert (await there.post(f"/control/sales/1/pause?{why}", AUTHORIZED)).status == 200
        state = await state_of(here)
        assert next(sale for sale in state["sales"] if sale["id"] == 1)["paused"]["by"] == "ann"
        assert state["state"]["text"] == "Sale 1 was paused by ann. Its purchases are refused."
        assert (await there.post(f"/control/sales/1/resume?{why}", AUTHORIZED)).status == 200
        assert (await state_of(here))["state"]["level"] == "ok"

        leader.kill()
        later, successor = await cluster.term_of(beyond=epoch)
        state = await shown(here, lambda state: "process_lost" in mark_kinds(state))
        sale = next(sale for sale in state["sales"] if sale["id"] == 1)
        assert (sale["leader"]["pid"], sale["leader"]["epoch"]) == (successor.pid, later)
        taken = next(mark for mark in state["marks"] if mark["kind"] == "take_over")
        assert f":{successor.pid} took over sale 1, epoch {later}" in taken["text"]
        assert f":{leader.pid} was not heard any more" in next(
            mark["text"] for mark in state["marks"] if mark["kind"] == "process_lost"
        )
        assert state["state"]["level"] == "warning"
        assert f"inventory {sale['leader']['host']}:{leader.pid}" in state["state"]["text"]
        await buy(there, 11)
        await shown(there, lambda state: sum(state["series"]["outcomes"]["sold"]) > 10.5)


async def test_it_answers_without_redis_and_says_so(postgres: str, valkey: EmbeddedValkey) -> None:
    settings = {"FLASH_CONTROL_TOKEN": TOKEN, "FLASH_REDIS_TIMEOUT": "0.3"}
    async with (
        running_cluster(postgres, valkey.url, web=1, inventory=1, **settings) as (_, addresses),
        Client(addresses[0]) as client,
    ):
        await shown(client, lambda state: state["state"]["level"] == "ok")
        valkey.kill()
        state = await shown(client, lambda state: state["state"]["level"] == "failing")
        assert state["state"]["text"].startswith("Redis cannot be used")
        assert state["stores"]["redis"]["status"] == "error"
        assert state["stores"]["redis"]["error"]
        assert state["stores"]["database"] == {"status": "ok"}
        assert [sale["id"] for sale in state["sales"]][-1] == 1
        valkey.start()
        state = await shown(client, lambda state: "store_back" in mark_kinds(state))
        assert "store_lost" in mark_kinds(state), "what could not be told then is told now"
