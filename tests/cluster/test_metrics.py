"""GET /metrics of real processes: one answer for all web processes of a port, through deaths and without stores."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import trio

from flash.local.embedded import EmbeddedValkey
from flash.metrics.families import FAMILIES
from flash.testing.client import Client
from flash.testing.cluster import QUICK, Process, running_cluster
from tests.metrics.scraping import Scraped, scraped

TOKEN = "a-token-that-nobody-guesses"
AUTHORIZED = [(b"authorization", f"Bearer {TOKEN}".encode())]


async def until(client: Client, condition: Callable[[Scraped], object], seconds: float = 15.0) -> Scraped:
    """What is scraped, once `condition` holds of it."""
    with trio.move_on_after(seconds):
        while True:
            page = await scraped(client, AUTHORIZED)
            if condition(page):
                return page
            await trio.sleep(0.1)
    raise AssertionError(f"not within {seconds} s:\n{page.text}")


async def buy(client: Client, item: int) -> None:
    code = (await client.post(f"/checkout?user_id=user-{item}&id={item}")).json()["code"]
    assert (await client.post(f"/purchase?code={code}")).status == 200


async def test_one_scrape_answers_for_all_web_processes_of_a_port(postgres: str, valkey: EmbeddedValkey) -> None:
    settings = {**QUICK, "WEB_CONCURRENCY": "3", "FLASH_CONTROL_TOKEN": TOKEN, "FLASH_SALE_SIZE": "60"}
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, **settings) as (cluster, addresses):
        async with Client(addresses[0]) as client:
            assert (await client.get("/metrics")).status == 401
            await until(client, lambda page: page.sum("flash_processes", role="web") == 3)
        for item in range(1, 13):  # a connection each: any of the three may get it
            async with Client(addresses[0]) as client:
                await buy(client, item)
        sold = {"route": "/purchase", "status": "200"}
        async with Client(addresses[0]) as client:
            await until(client, lambda page: page.sum("flash_http_requests_total", **sold) == 12)
        await kill_a_copy(cluster.named("web")[0])
        for _ in range(6):  # whoever answers
            async with Client(addresses[0]) as client:
                page = await until(client, lambda page: page.sum("flash_processes", role="web") == 3)
                assert page.sum("flash_http_requests_total", **sold) == 12, "nothing that was counted is lost"
                assert page.sum("flash_http_request_duration_seconds_count", route="/purchase", status="2xx") == 12


async def kill_a_copy(supervisor: Process) -> None:
    children = await trio.Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text()
    await trio.sleep(1.1)  # a process leaves what it has counted for the others once a second
    os.kill(int(children.split()[0]), signal.SIGKILL)
    await supervisor.wait_for("ended with exit code -9")


async def test_every_metric_is_there_on_ports_of_their_own_and_without_stores(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    settings = {**QUICK, "FLASH_METRICS_PORT": "19150", "FLASH_REDIS_TIMEOUT": "0.3", "FLASH_SALE_SIZE": "20"}
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, **settings) as (cluster, addresses):
        ports = [(await p.wait_for(r"metrics on (http://\S+:\d+)/metrics")).group(1) for p in cluster.processes]
        assert len(set(ports)) == 2
        web, inventory = (ports[[p.name[:3] for p in cluster.processes].index(kind)] for kind in ("web", "inv"))
        async with Client(addresses[0]) as client, Client(web) as web_port, Client(inventory) as inventory_port:
            await buy(client, 1)
            await client.get("/sales")
            page = await until(web_port, lambda page: page.sum("flash_items_left") == 19)
            seen = {"web": page, "inventory": await scraped(inventory_port)}
            names = {name for page in (*seen.values(), await scraped(client)) for name in page.names}
            assert names == {family.name for family in FAMILIES}
            assert seen["inventory"].sum("flash_items_sold_total") == 1
            assert seen["inventory"].sum("flash_decisions_total", outcome="sold") == 1
            assert seen["inventory"].sum("flash_leases_held") >= seen["inventory"].sum("flash_sales_led") >= 1
            assert seen["web"].sum("flash_sales_open") == 1
            assert (await web_port.get("/sales")).status == 404, "nothing else is there"
            valkey.kill()
            page = await until(web_port, lambda page: not page.sum("flash_store_up", store="redis"))
            assert page.sum("flash_store_up", store="database") == 1
            await until(inventory_port, lambda page: page.sum("flash_sales_led") == 0)
            assert (await scraped(web_port)).sum("flash_sales_open") == 1, "so an alert can tell that nobody leads"
            assert (await scraped(inventory_port)).sum("flash_processes", role="inventory") == 1
