"""What viewers are told of real sales, on real processes: the truth, soon, whatever dies."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from flash.http.server import Tls
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.testing.client import Client
from flash.testing.cluster import QUICK, Process, running_cluster
from tests.certificates import make_certificate
from tests.cluster.history import rows
from tests.cluster.watching import watching, watching_over_tls
from tests.processes.test_tls import start_web

SIZE = 12
SOON_SECONDS = 2.0
"""An event takes 0.3 s, or half a second more when it has to be looked up; the machine may be busy."""
_SELL_UNHEARD = """
WITH one AS (INSERT INTO purchases SELECT 1, $1::bigint, 9000 + $1::bigint, 'eve', 1, epoch, 'auto:x', now() FROM sales
             WHERE id = 1 RETURNING sale_id)
UPDATE sales SET sold = sold + 1 FROM one WHERE id = one.sale_id RETURNING id
"""


async def buy(client: Client, items: Iterable[int]) -> None:
    for item in items:
        with trio.fail_after(10):
            status = 503
            while status == 503:
                answer = await client.post(f"/checkout?user_id=user-{item}&id={item}")
                if answer.status == 200:
                    answer = await client.post(f"/purchase?code={answer.json()['code']}")
                status = answer.status
        assert status == 200, answer.body


async def test_everybody_on_every_web_process_is_told_what_is_sold_and_when_the_next_sale_opens(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    settings = {"FLASH_SALE_SIZE": str(SIZE), "FLASH_SALE_PERIOD": "4"}
    async with (
        running_cluster(postgres, valkey.url, web=2, inventory=1, **settings) as (_, addresses),
        AsyncExitStack() as stack,
        Client(addresses[0]) as client,
    ):
        following = [await stack.enter_async_context(watching(address)) for address in addresses * 2]
        first = following[0].sale_id
        staying = [await stack.enter_async_context(watching(address, f"?sale={first}")) for address in addresses]
        items = range((first - 1) * SIZE + 1, first * SIZE + 1)
        began_at = trio.current_time()
        await buy(client, items)
        for viewer in staying:
            await viewer.wait_until(lambda it: "sold_out" in it.names, SOON_SECONDS)
            assert viewer.sold == set(items)
        seconds = trio.current_time() - began_at
        for viewer in [*following, *staying]:
            assert viewer.names.count("item_sold") <= 4 * seconds + 2
        for viewer in following:
            _, state = viewer.events[0]
            await viewer.wait_until(lambda it: it.names.count("state") > 1 and "sale_announced" in it.names)
            told = dict(reversed(viewer.events[1:]))  # the first of each
            assert (told["sale_opened"]["id"], told["sale_opened"]["status"]) == (state["sale_id"] + 1, "open")
            assert told["state"]["sale_id"] == state["sale_id"] + 1
            assert viewer.names.index("sale_opened") < viewer.names.index("state", 1)
            assert (viewer.sold, viewer.remaining) == (set(), SIZE)


async def test_viewers_over_tls_are_told_in_both_protocols_and_their_streams_end_with_the_process(
    postgres: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    tls = Tls(*make_certificate(tmp_path))
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, FLASH_SALE_SIZE=str(SIZE)) as (
        cluster,
        (plain,),
    ):
        web, address = await start_web(cluster, tls, processes=1)
        async with (
            watching_over_tls(address, tls, "http/1.1") as http1,
            watching_over_tls(address, tls, "h2") as http2,
            Client(plain) as client,
        ):
            await buy(client, [1, 2])
            for viewer in (http1, http2):
                assert b"content-type: text/event-stream\r\n" in viewer.head
                await viewer.wait_until(lambda it: it.sold == {1, 2}, SOON_SECONDS)
            web.terminate()
            for viewer in (http1, http2):
                with trio.fail_after(2):
                    await viewer.ended.wait()
            assert await web.wait() == 0


async def test_whoever_comes_back_has_missed_nothing_here_or_on_another_process(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    settings = {"FLASH_SALE_SIZE": str(SIZE), "FLASH_EVENTS_VIEWERS_MAX": "3"}
    async with (
        running_cluster(postgres, valkey.url, web=2, inventory=1, **settings) as (cluster, (here, there)),
        Client(there) as client,
    ):
        async with watching(here) as viewer:
            await buy(client, [1, 2])
            await viewer.wait_until(lambda it: len(it.sold) == 2, SOON_SECONDS)
        await buy(client, [3])
        async with watching(here, "?sale=1", viewer.last_id) as back:
            await back.wait_until(lambda it: it.events, SOON_SECONDS)
            assert back.events[0] == ("item_sold", {"sale_id": 1, "items": [3], "remaining": SIZE - 3})
        async with watching(there, "?sale=1", back.last_id) as elsewhere:
            assert elsewhere.names == ["state"]
            assert elsewhere.sold == {1, 2, 3}

        # Redis is away, and something is sold all the same: PostgreSQL settles it
        async with watching(here) as viewer, watching(there) as other:
            valkey.kill()
            await rows(postgres, _SELL_UNHEARD.replace("$1::bigint", "7"))
            for each in (viewer, other):
                await each.wait_until(lambda it: it.sold == {1, 2, 3, 7}, SOON_SECONDS)

            # too many viewers are refused, and nobody else is
            async with watching(here), watching(here), Client(here) as buyer:
                refused = await buyer.get("/events")
                assert (refused.status, refused.json()["code"]) == (503, "overloaded")
                assert refused.header(b"retry-after") is not None
                assert (await buyer.post("/checkout?user_id=u&id=5")).status == 200

            # a process that dies takes its viewers with it; one that stops ends their streams at once, and cleanly
            web = dict(zip((here, there), _web_in_order(cluster.named("web"), here), strict=True))
            web[here].kill()
            with trio.fail_after(2):
                await viewer.ended.wait()
            began_at = trio.current_time()
            web[there].terminate()
            with trio.fail_after(1):
                await other.ended.wait()
            assert await web[there].wait() == 0
            assert trio.current_time() - began_at < 1.5
            assert "Traceback" not in web[there].log


def _web_in_order(processes: list[Process], first: str) -> list[Process]:
    return sorted(processes, key=lambda process: first not in process.log)


async def test_an_item_that_is_for_sale_again_on_a_replaced_database_is_told(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    settings = {**QUICK, "FLASH_SALE_SIZE": "6", "FLASH_REQUEST_TIMEOUT": "2"}
    async with (
        running_cluster(own_postgres.url, valkey.url, web=1, inventory=1, **settings) as (_, (address,)),
        Client(address, reconnects=True) as client,
        watching(address) as viewer,
    ):
        await buy(client, [1, 2])
        await viewer.wait_until(lambda it: it.sold == {1, 2})
        own_postgres.stop()
        await trio.to_thread.run_sync(_copy, own_postgres.cluster, tmp_path / "copy")
        own_postgres.start()
        await buy(client, [3, 4, 5, 6])
        await viewer.wait_until(lambda it: it.names[-1] == "sold_out")
        told = len(viewer.events)
        own_postgres.kill()
        shutil.rmtree(own_postgres.cluster)
        await trio.to_thread.run_sync(_copy, tmp_path / "copy", own_postgres.cluster)
        own_postgres.start()
        await viewer.wait_until(lambda it: "state" in it.names[told:])
        assert (viewer.sold, viewer.remaining) == ({1, 2}, 4)
        await buy(client, [5])
        await viewer.wait_until(lambda it: it.sold == {1, 2, 5})


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True)
