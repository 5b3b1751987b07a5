"""The pause of `flash web` between SIGTERM and its drain: who pauses, what is answered meanwhile, and what ends it."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import AsyncIterator, Sequence

import pytest
import trio
from trio.testing import MockClock

from flash.local.embedded import EmbeddedValkey
from flash.processes.lifecycle import Told, listen
from flash.testing.client import Client
from flash.testing.cluster import Process, running_cluster

TERM, INT = signal.SIGTERM, signal.SIGINT
LISTENING = r"listening on (http://\S+)"
STOP_SECONDS = 4.0


@pytest.mark.parametrize(
    ("arrivals", "stop_at", "hurry_at"),
    [
        ([(1, TERM)], 1, math.inf),
        ([(1, TERM), (1.4, TERM)], 1, math.inf),  # the same stop, heard of from the group and from the supervisor
        ([(1, TERM), (1.5, TERM)], 1, 1.5),
        ([(1, TERM), (1.4, TERM), (9, TERM)], 1, 9),
        ([(1, TERM), (1.1, INT)], 1, 1.1),
        ([(1, INT)], 1, 1),
    ],
)
async def test_sigint_and_a_second_sigterm_mean_at_once(
    autojump_clock: MockClock, arrivals: Sequence[tuple[float, int]], stop_at: float, hurry_at: float
) -> None:
    began_at = trio.current_time()
    told = Told()
    seen = {"stop": math.inf, "hurry": math.inf}

    async def signals() -> AsyncIterator[int]:
        for at, number in arrivals:
            await trio.sleep_until(began_at + at)
            yield number

    async def note(name: str, event: trio.Event) -> None:
        await event.wait()
        seen[name] = trio.current_time() - began_at

    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, "stop", told.stop)
            nursery.start_soon(note, "hurry", told.hurry)
            nursery.start_soon(listen, signals(), told)
    assert seen == {"stop": pytest.approx(stop_at), "hurry": pytest.approx(hurry_at)}


@pytest.mark.parametrize("processes", [1, 2])
async def test_until_its_proxy_has_noticed_a_stopping_web_process_serves_and_says_that_it_is_not_ready(
    postgres: str, valkey: EmbeddedValkey, processes: int
) -> None:
    settings = {"FLASH_PRESTOP_SECONDS": "60", "WEB_CONCURRENCY": str(processes)}
    async with running_cluster(postgres, valkey.url, inventory=1) as (cluster, _):
        web = await cluster.start("web", **settings)
        address = await listening(web, processes)
        async with Client(address) as old:
            assert (await old.get("/readyz")).status == 200
            web.terminate()
            await said(web, processes, r"serving for 60 s more")
            async with Client(address) as new:
                for client in (old, new):
                    assert (await client.get("/readyz")).status == 503
                    assert (await client.get("/livez")).status == 200
                issued = await new.post("/checkout?user_id=ann&id=1")
                assert (issued.status, issued.closes) == (200, False)
                assert (await old.post(f"/purchase?code={issued.json()['code']}")).status == 200
        web.signal(signal.SIGINT)
        assert await web.wait(STOP_SECONDS) == 0
        await said(web, processes, r"flash\.processes\.web: stopped")
        assert "Traceback" not in web.log


async def test_a_web_process_whose_supervisor_dies_does_not_pause(postgres: str, valkey: EmbeddedValkey) -> None:
    async with running_cluster(postgres, valkey.url) as (cluster, _):
        web = await cluster.start("web", FLASH_PRESTOP_SECONDS="60", WEB_CONCURRENCY="2")
        await listening(web, 2)
        web.terminate()
        await said(web, 2, r"serving for 60 s more")
        web.kill()
        with trio.fail_after(STOP_SECONDS):
            await said(web, 2, r"flash\.processes\.web: stopped")


async def test_an_inventory_process_does_not_pause_since_no_proxy_asks_it(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with running_cluster(postgres, valkey.url, FLASH_PRESTOP_SECONDS="60") as (cluster, _):
        inventory = await cluster.start_inventory()
        inventory.terminate()
        assert await inventory.wait(STOP_SECONDS) == 0


async def listening(web: Process, processes: int) -> str:
    """Its address, once all of its processes serve."""
    await said(web, processes, LISTENING)
    return (await web.wait_for(LISTENING)).group(1)


async def said(web: Process, times: int, pattern: str) -> None:
    """Wait until its log holds `pattern` that often."""
    await web.wait_for(rf"(?s)(?:{pattern}.*){{{times}}}")
    assert len(re.findall(pattern, web.log)) == times
