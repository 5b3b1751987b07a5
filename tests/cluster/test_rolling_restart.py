"""A rolling restart behind a real HAProxy that never tries anything twice: nobody notices."""

from __future__ import annotations

import signal
from collections import Counter
from itertools import count

import pytest
import trio

from flash.local.embedded import EmbeddedValkey
from flash.testing.client import Client, ConnectionLost, host_and_port
from flash.testing.cluster import Process, running_cluster
from tests.cluster.history import rows
from tests.cluster.proxy import HAPROXY, haproxy, until_up

REQUESTS = 3_000
BUYERS = 12

SETTINGS = {"FLASH_PRESTOP_SECONDS": "60"}
"""Longer than HAProxy takes to notice, on any machine: then a SIGINT ends the pause. With 0, a dozen requests fail."""


@pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not on this machine")
async def test_behind_a_proxy_without_retries_a_rolling_restart_fails_no_request(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with running_cluster(postgres, valkey.url, web=2, inventory=2, **SETTINGS) as (cluster, addresses):
        webs = {address: serving(cluster.named("web"), address) for address in addresses}
        async with haproxy(*addresses) as (proxy, statistics), Client(statistics) as operator:
            await until_up(operator, {"web-1", "web-2"})
            load = Load(proxy)
            async with trio.open_nursery() as nursery:
                for number in range(BUYERS):
                    nursery.start_soon(load.buy, number)
                for number, (address, web) in enumerate(webs.items()):
                    web.terminate()
                    await until_up(operator, {f"web-{2 - number}"})
                    assert web.is_running(), "it serves until the proxy has noticed"
                    web.signal(signal.SIGINT)
                    assert await web.wait() == 0
                    await cluster.start_web(PORT=str(host_and_port(address)[1]))
                    await until_up(operator, {"web-1", "web-2"})
                for inventory in cluster.named("inventory"):
                    await cluster.start_inventory()
                    inventory.terminate()
                    assert await inventory.wait() == 0
                load.is_over = True
    assert set(load.answers) == {200}, load.answers
    assert load.answers[200] >= REQUESTS
    assert await rows(postgres, "SELECT count(*) FROM purchases") == [(load.answers[200] // 2,)]


class Load:
    """Buyers who each check out an item and buy it, again and again, over keep-alive connections to the proxy."""

    def __init__(self, proxy: str) -> None:
        self._proxy = proxy
        self._items = count(1)
        self.answers = Counter[int | str]()
        self.is_over = False

    async def buy(self, number: int) -> None:
        """Until it is over and enough was asked. Whatever is not answered with 200 is an answer of its own."""
        async with Client(self._proxy, reconnects=True) as client:
            for bought in count():
                if self.is_over and self.answers.total() >= REQUESTS:
                    return
                user = f"user-{number}-{bought // 10}"
                issued = await self._ask(client, f"/checkout?user_id={user}&id={next(self._items)}")
                if issued:
                    await self._ask(client, f"/purchase?code={issued}")

    async def _ask(self, client: Client, target: str) -> str:
        try:
            answer = await client.post(target)
        except (ConnectionLost, OSError) as error:
            self.answers[f"{type(error).__name__} at {target.partition('?')[0]}"] += 1
            return ""
        self.answers[answer.status] += 1
        return answer.json().get("code", "") if answer.status == 200 else ""


def serving(processes: list[Process], address: str) -> Process:
    return next(process for process in processes if f"listening on {address}\n" in process.log)
