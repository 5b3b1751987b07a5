"""How the real processes start, wait for their stores, stop and die: what they answer meanwhile, log and exit with."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import redis
import trio
import trio.lowlevel

from flash.deployment import Deployment
from flash.domain import SaleId
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.purchase_rpc import messages
from flash.testing.client import Client, host_and_port
from flash.testing.cluster import QUICK, ROOT, Process, running_cluster, until
from tests.cluster.history import Crowd, History, rows, verify
from tests.deployments import deployment_of

STOP_SECONDS = 4.0
ONE = SaleId(1)


@pytest.mark.parametrize("is_answered", [True, False], ids=["the leader answers", "the leader does not answer"])
async def test_a_web_process_told_to_stop_answers_every_purchase_that_it_has_accepted(
    postgres: str, valkey: EmbeddedValkey, is_answered: bool
) -> None:
    history, statuses = History(), list[int]()

    async def purchase(client: Client, code: str) -> None:
        answer = await history.purchase(client, code)
        statuses.append(503 if answer is None else answer.status)

    async with running_cluster(postgres, valkey.url, web=1, inventory=1, FLASH_LEASE_TTL="30") as (cluster, addresses):
        leader = await cluster.leader_of()
        web = cluster.named("web")[0]
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            clients = [await stack.enter_async_context(Client(addresses[0])) for _ in range(40)]
            codes = [await history.checkout(client, f"user-{n}", n + 1) for n, client in enumerate(clients)]
            deployment = await deployment_of(postgres)
            leader.pause()
            for client, code in zip(clients, codes, strict=True):
                assert code is not None
                nursery.start_soon(purchase, client, code)
            await until(partial(has_commands, deployment, valkey, len(codes)))
            nursery.start_soon(stops_in_time, [web])
            await web.wait_for("SIGTERM received")
            if is_answered:
                leader.resume()
        assert statuses == [200 if is_answered else 503] * len(codes)
        assert history.lost == 0, "a 503 is an answer, a closed connection is none"
        leader.resume()
        await until(partial(has_commands, deployment, valkey, 0))
        await verify(history, postgres, sold_out=False)


async def test_a_web_process_told_to_stop_under_load_leaves_nobody_without_an_answer(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    size = 300
    async with running_cluster(
        postgres, valkey.url, web=2, inventory=1, FLASH_SALE_SIZE=str(size), FLASH_DRAIN_SECONDS="1"
    ) as (cluster, addresses):
        crowd = Crowd(addresses, size, think_seconds=0)
        web = next(process for process in cluster.named("web") if addresses[0] in process.log)
        async with stuck_reader(addresses[0]), trio.open_nursery() as nursery:
            nursery.start_soon(crowd.run)
            await crowd.wait_sold(size // 3)
            await stops_in_time([web])
        assert crowd.history.lost == 0
        assert crowd.sold == size
        await verify(crowd.history, postgres, sold_out=True)


async def test_a_whole_cluster_told_to_stop_under_load_leaves_nobody_without_an_answer(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with running_cluster(postgres, valkey.url, web=2, inventory=2, **QUICK) as (cluster, addresses):
        crowd = Crowd(addresses, 10_000, think_seconds=0)
        async with stuck_reader(addresses[0]), trio.open_nursery() as nursery:
            nursery.start_soon(crowd.run)
            await crowd.wait_sold(100)
            await stops_in_time(cluster.processes)
            nursery.cancel_scope.cancel()
        assert crowd.history.lost == 0
        await verify(crowd.history, postgres, sold_out=False)


async def test_web_waits_for_postgresql_says_so_and_answers_nothing_meanwhile(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    await trio.to_thread.run_sync(own_postgres.stop)
    port = free_port()
    async with running_cluster(own_postgres.url, valkey.url, PORT=str(port)) as (cluster, _):
        web = await cluster.start("web")
        await web.wait_for("WARNING .*waiting for PostgreSQL at postgresql://")
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream("127.0.0.1", port)
        assert web.is_running()
        assert "Traceback" not in web.log
        await trio.to_thread.run_sync(own_postgres.start)
        address = (await web.wait_for(r"listening on (http://\S+)", seconds=5)).group(1)
        assert address.endswith(f":{port}")
        async with Client(address) as client:
            missing = {"status": "error", "database": "ok", "redis": "ok", "sale": "missing"}
            assert (await client.get("/health")).json() == missing, "nobody has opened a sale yet"


async def test_a_web_process_is_healthy_and_ready_from_the_moment_a_sale_can_be_bought_from(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with running_cluster(postgres, valkey.url, web=1) as (cluster, (address,)), Client(address) as client:
        for path, body in (
            ("/health", {"status": "error", "database": "ok", "redis": "ok", "sale": "missing"}),
            ("/readyz", {"status": "error"}),
        ):
            answer = await client.get(path)
            assert (answer.status, answer.json()) == (503, body)
        assert (await client.get("/livez")).status == 200
        await cluster.start("inventory")
        with trio.fail_after(20):
            while (await client.get("/health")).status != 200:
                await trio.lowlevel.checkpoint()
        assert (await client.post("/checkout?user_id=ann&id=1")).status == 200, "the first request after a green health"
        assert (await client.get("/health")).json() == {"status": "ok", "database": "ok", "redis": "ok"}
        assert (await client.get("/readyz")).status == 200


async def test_inventory_waits_for_valkey_says_so_and_then_leads(postgres: str, valkey: EmbeddedValkey) -> None:
    await trio.to_thread.run_sync(valkey.kill)
    async with running_cluster(postgres, valkey.url) as (cluster, _):
        inventory = await cluster.start("inventory")
        await inventory.wait_for("WARNING .*waiting for Redis")
        assert "ready to lead" not in inventory.log
        await trio.to_thread.run_sync(valkey.start)
        assert await cluster.leader_of() is inventory
        assert "Traceback" not in inventory.log


async def test_web_started_without_valkey_serves_checkouts_refuses_purchases_and_says_which_store_fails(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    history = History()
    async with running_cluster(postgres, valkey.url, inventory=1) as (cluster, _):
        await trio.to_thread.run_sync(valkey.kill)
        web, address = await cluster.start_web()
        await web.wait_for("WARNING .*purchases are refused until Redis can be reached")
        async with Client(address) as client:
            code = await history.checkout(client, "ann", 1)
            assert code is not None
            refused = await client.post(f"/purchase?code={code}")
            assert (refused.status, refused.json()["code"]) == (503, "unavailable")
            health = await client.get("/health")
            assert health.status == 503
            assert health.json() == {"status": "error", "database": "ok", "redis": "error"}
            assert (await client.get("/readyz")).status == 200, "checkouts can be served"
            await trio.to_thread.run_sync(valkey.start)
            await valkey_is_back(history, client, code)
        await verify(history, postgres, sold_out=False)


@pytest.mark.parametrize(("command", "store"), [("web", "PostgreSQL"), ("inventory", "PostgreSQL")])
async def test_a_process_told_to_stop_while_it_waits_for_postgresql_exits_0(
    tmp_path: Path, command: str, store: str
) -> None:
    async with running_cluster(f"postgresql://x@/x?host={tmp_path}", f"unix://{tmp_path}/none") as (cluster, _):
        process = await cluster.start(command)
        await process.wait_for(f"waiting for {store}")
        await stops_in_time([process])


@pytest.mark.parametrize("command", ["web", "inventory"])
async def test_a_process_told_to_stop_while_postgresql_says_nothing_exits_0(
    valkey: EmbeddedValkey, command: str
) -> None:
    with trio.socket.socket() as silent:
        await silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x"
        async with running_cluster(url, valkey.url) as (cluster, _):
            process = await cluster.start(command)
            with trio.fail_after(20):
                connection, _ = await silent.accept()
            with connection:
                await stops_in_time([process])


async def test_a_process_warns_of_unwise_settings_when_it_starts(tmp_path: Path) -> None:
    async with running_cluster(f"postgresql://x@/x?host={tmp_path}", f"unix://{tmp_path}/none") as (cluster, _):
        web = await cluster.start("web", FLASH_HTTP="own", FLASH_LEASE_TTL="30")
        await web.wait_for("WARNING .*FLASH_HTTP=own is now called FLASH_HTTP=builtin")
        await web.wait_for(r"WARNING .*FLASH_LEASE_TTL \(30\) is not below FLASH_REQUEST_TIMEOUT")


async def test_inventory_told_to_stop_while_it_waits_for_valkey_exits_0(postgres: str, tmp_path: Path) -> None:
    async with running_cluster(postgres, f"unix://{tmp_path}/none") as (cluster, _):
        process = await cluster.start("inventory")
        await process.wait_for("waiting for Redis")
        await stops_in_time([process])


async def test_a_surprise_of_postgresql_ends_no_web_process(postgres: str, valkey: EmbeddedValkey) -> None:
    async with running_cluster(postgres, valkey.url, web=1, inventory=1) as (cluster, addresses):
        (web,) = cluster.named("web")
        history = History()
        async with Client(addresses[0]) as client:
            await rows(postgres, "ALTER TABLE checkouts RENAME TO elsewhere")
            answer = await client.post("/checkout?user_id=ann&id=1")
            assert (answer.status, answer.json()["code"]) == (503, "outcome_unknown")
            await web.wait_for(r"ERROR .*refused a statement of this service \(42P01\): UndefinedTableError")
            await rows(postgres, "ALTER TABLE elsewhere RENAME TO checkouts")
            assert await history.checkout(client, "ann", 1) is not None
        assert web.is_running()
        assert "Traceback" not in web.log


async def test_a_surprise_of_postgresql_ends_terms_but_no_inventory_process(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, **QUICK) as (cluster, addresses):
        epoch, inventory = await cluster.term_of()
        history = History()
        async with Client(addresses[0]) as client:
            code = await history.checkout(client, "ann", 1)
            assert code is not None
            await rows(postgres, "ALTER TABLE purchases RENAME TO elsewhere")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(history.purchase, client, code, "ann-1")
                await inventory.wait_for(r"ERROR .*refused a statement of this service \(42P01\)")
                await rows(postgres, "ALTER TABLE elsewhere RENAME TO purchases")
            await cluster.term_of(beyond=epoch)
            await valkey_is_back(history, client, code)
        assert inventory.is_running()
    await verify(history, postgres, sold_out=False)


PLANTED_BUG = """
import flash.stores.{module}

async def broken(*args):
    raise TypeError("a planted bug")

flash.stores.{module}.{method} = broken
"""
"""A `sitecustomize` that plants a bug of ours in a process."""


@pytest.mark.parametrize(
    ("command", "module", "method"),
    [("web", "checkouts", "Checkouts.record_attempts"), ("inventory", "terms", "Terms.list_leadable")],
)
async def test_a_bug_in_a_worker_takes_its_process_with_it(
    postgres: str, valkey: EmbeddedValkey, tmp_path: Path, command: str, module: str, method: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(PLANTED_BUG.format(module=module, method=method))
    async with running_cluster(postgres, valkey.url, PYTHONPATH=f"{tmp_path}:{ROOT}") as (cluster, _):
        if command == "web":
            process, address = await cluster.start_web()
            async with Client(address) as client:
                assert await History().checkout(client, "ann", 1) is None
        else:
            process = await cluster.start(command)
        assert await process.wait(STOP_SECONDS) == 1
        await process.wait_for("CRITICAL .*this process ends because a part of it died")
        await process.wait_for("TypeError: a planted bug")


async def stops_in_time(processes: Sequence[Process]) -> None:
    """SIGTERM to all at once, as honcho does: each exits 0 in time and without a traceback."""
    with trio.fail_after(STOP_SECONDS):
        for process in processes:
            process.terminate()
        codes = {process.name: await process.wait() for process in processes}
    assert set(codes.values()) == {0}, codes
    for process in processes:
        await process.wait_for("stopped")
        assert "Traceback" not in process.log, process.log


@asynccontextmanager
async def stuck_reader(address: str) -> AsyncIterator[None]:
    """A client that has asked for more than it ever reads, until the server has stopped reading too."""
    with trio.socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await client.connect(host_and_port(address))
        with trio.move_on_after(20) as patience:
            while True:
                patience.deadline = trio.current_time() + 0.5
                await client.send(b"GET /sales/1/items HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        yield


async def valkey_is_back(history: History, client: Client, code: str) -> None:
    """Purchase until it is known to be done."""
    with trio.fail_after(10):
        while True:
            answer = await history.purchase(client, code, "ann-1")
            if answer is not None:
                assert answer.status == 200
                return
            await trio.sleep(0.05)


def has_commands(deployment: Deployment, valkey: EmbeddedValkey, count: int) -> bool:
    """Whether that many purchases stand in the inbox of sale 1."""
    with redis.from_url(valkey.url) as client:
        entries = client.xrange(messages.inbox_key(deployment, ONE))
    return count == sum(len(messages.read_commands(deployment, ONE, fields).commands) for _, fields in entries)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
