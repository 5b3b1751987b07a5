"""A real Prometheus scrapes real processes, and its rules see what happens to them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

from flash.local.embedded import EmbeddedValkey
from flash.testing.client import Client
from flash.testing.cluster import QUICK, running_cluster

TOKEN = "a-token-that-nobody-guesses"
RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "flash.rules.yml"
CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: flash
    authorization: {{credentials: {token}}}
    static_configs: [{{targets: {targets}}}]
"""

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="there is no Prometheus here: Debian has it in the package prometheus"
)


@asynccontextmanager
async def prometheus(targets: list[str], folder: Path) -> AsyncIterator[Client]:
    """A Prometheus that scrapes `targets` every second."""
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(rules=RULES, token=TOKEN, targets=json.dumps(targets)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.run_process, command, check=False, stdout=subprocess.DEVNULL))
        try:
            yield await connected(port)
        finally:
            nursery.cancel_scope.cancel()


async def connected(port: int) -> Client:
    with trio.fail_after(20):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.1)
            else:
                await stream.aclose()
                return Client(f"http://127.0.0.1:{port}")


async def answer(client: Client, query: str) -> Any:
    found = await client.get(f"/api/v1/query?query={quote(query)}")
    return found.json()["data"]["result"] if found.status == 200 else []


async def until(client: Client, query: str, value: float, seconds: float = 20.0) -> None:
    """Wait until the only sample that `query` finds is `value`."""
    found: Any = None
    with trio.move_on_after(seconds):
        while True:
            found = await answer(client, query)
            if [float(sample["value"][1]) for sample in found] == [value]:
                return
            await trio.sleep(0.2)
    raise AssertionError(f"{query} is not {value} but {found}")


async def test_prometheus_scrapes_all_processes_and_its_rules_see_a_lost_store(
    postgres: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    settings = {**QUICK, "FLASH_CONTROL_TOKEN": TOKEN, "FLASH_REDIS_TIMEOUT": "0.3", "FLASH_METRICS_PORT": "19250"}
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, **settings) as (cluster, addresses):
        ports = [(await p.wait_for(r"metrics on http://(\S+:\d+)/metrics")).group(1) for p in cluster.processes]
        async with prometheus(ports, tmp_path) as asked, asked, Client(addresses[0]) as client:
            for item in range(1, 6):
                code = (await client.post(f"/checkout?user_id=user-{item}&id={item}")).json()["code"]
                assert (await client.post(f"/purchase?code={code}")).status == 200
            await until(asked, 'sum(up{job="flash"})', 2)
            await until(asked, "sum(flash_items_sold_total)", 5)
            await until(asked, 'sum(flash_http_requests_total{route="/purchase", status="200"})', 5)
            await until(asked, "count(ALERTS) or vector(0)", 0)  # all is well
            valkey.kill()
            await until(asked, 'count(ALERTS{alertname="FlashStoreDown", store="redis"})', 1)
