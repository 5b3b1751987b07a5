"""PostgreSQL replaced by one that remembers less, as after a fail-over to a standby that lacked the last seconds.

What that one lacks is gone. Everything else must hold without a restart of any process: nothing is refused for ever,
nothing is sold twice, and nobody sees a receipt of a buyer whose checkout got the same number.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import trio

from flash import bridge
from flash.audit import audit
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.stores.drivers import connect
from flash.testing.client import Answer, Client
from flash.testing.cluster import QUICK, running_cluster

SIZE = 12
KEPT, LOST = range(1, 5), range(5, SIZE + 1)
RECOVERY_SECONDS = 10.0


async def test_a_standby_that_lacks_the_last_sales_takes_over_and_nobody_is_lied_to(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    settings = {**QUICK, "FLASH_SALE_SIZE": str(SIZE), "FLASH_REQUEST_TIMEOUT": "2"}
    async with (
        running_cluster(own_postgres.url, valkey.url, web=2, inventory=2, **settings) as (cluster, addresses),
        Client(addresses[0], reconnects=True) as here,
        Client(addresses[1], reconnects=True) as there,
    ):
        kept = {item: await buy(here, f"ann-{item}", item) for item in KEPT}
        await trio.to_thread.run_sync(_snapshot, own_postgres, tmp_path)
        lost = {item: await buy(here, f"bob-{item}", item) for item in LOST}
        for client in (here, there):
            assert await settled(client, f"/purchase?code={kept[1]}") == (409, "code_already_used")
            assert await settled(client, "/checkout?user_id=eve&id=1") == (410, "sold_out")

        await trio.to_thread.run_sync(_replace, own_postgres, tmp_path)

        for item, code in kept.items():
            assert (await until_answered(there, "GET", f"/purchases/{code}")).json()["user_id"] == f"ann-{item}"
        for code in lost.values():
            assert await settled(there, f"/purchase?code={code}") == (400, "invalid_code")
        # Others check out what came back. Their checkouts get the numbers of those that were lost.
        codes = {item: await check_out(here, f"zoe-{item}", item) for item in LOST}
        for client in (here, there):
            for code in lost.values():
                assert await settled(client, f"/purchase?code={code}") == (400, "invalid_code")
        for item, code in codes.items():
            receipt = await until_sold(there, code)
            assert receipt.json()["user_id"] == f"zoe-{item}"
        for item, code in lost.items():
            assert (await until_answered(here, "GET", f"/purchases/{code}")).status == 400, item
            assert await settled(there, f"/purchase?code={code}") == (400, "invalid_code")
        assert await settled(here, "/checkout?user_id=eve&id=1") == (410, "sold_out")
        assert all(process.is_running() for process in cluster.processes)
    async with bridge.open_loop():
        assert await bridge.call_asyncio(_is_clean, own_postgres.url)


async def buy(client: Client, user: str, item: int) -> str:
    code = await check_out(client, user, item)
    await until_sold(client, code)
    return code


async def check_out(client: Client, user: str, item: int) -> str:
    """A code, however long the item still counts as sold."""
    with trio.fail_after(RECOVERY_SECONDS):
        while True:
            answer = await until_answered(client, "POST", f"/checkout?user_id={user}&id={item}")
            if answer.status == 200:
                code: str = answer.json()["code"]
                return code
            assert answer.json()["code"] in ("item_sold", "sold_out")
            await trio.sleep(0.05)


async def until_sold(client: Client, code: str) -> Answer:
    """The answer to a purchase that must succeed in the end, whatever was remembered of the sale before."""
    with trio.fail_after(RECOVERY_SECONDS):
        while True:
            answer = await client.post(f"/purchase?code={code}", [(b"idempotency-key", b"once")])
            if answer.status == 200:
                return answer
            assert answer.status == 503 or answer.json()["code"] == "sold_out", answer.body
            await trio.sleep(0.05)


async def settled(client: Client, target: str) -> tuple[int, str]:
    """Status and problem of the first answer to a POST that is not a 503."""
    answer = await until_answered(client, "POST", target)
    return answer.status, answer.json()["code"]


async def until_answered(client: Client, method: str, target: str) -> Answer:
    with trio.fail_after(RECOVERY_SECONDS):
        while True:
            answer = await client.request(method, target)
            if answer.status != 503:
                return answer
            await trio.sleep(0.05)


def _snapshot(server: EmbeddedPostgres, folder: Path) -> None:
    server.stop()
    subprocess.run(["cp", "-a", server.cluster, folder / "copy"], check=True)
    server.start()


def _replace(server: EmbeddedPostgres, folder: Path) -> None:
    server.kill()
    shutil.rmtree(server.cluster)
    subprocess.run(["cp", "-a", folder / "copy", server.cluster], check=True)
    server.start()


async def _is_clean(url: str) -> bool:
    connection = await connect(url)
    try:
        return (await audit(connection)).is_clean
    finally:
        await connection.close()
