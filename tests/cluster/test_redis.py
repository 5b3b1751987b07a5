"""Redis is not believed, and one of its keys hurts one sale at most: real processes, real stores."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack

import pytest
import redis
import trio

from flash.domain import Refusal, Refused, SaleId
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.purchase_rpc import messages
from flash.testing.client import Client
from flash.testing.cluster import QUICK, running_cluster, until
from flash.testing.stores import fresh_database, running_valkey
from tests.cluster.history import Crowd, History, verify
from tests.cluster.test_faults import RECOVERY_SECONDS, crowded_sale, expect_503, used_code
from tests.deployments import deployment_of

SIZE = 100
ONE = SaleId(1)


async def test_two_deployments_on_one_redis_each_sell_their_own(
    postgres_server: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    settings = {**QUICK, "FLASH_SALE_SIZE": str(SIZE)}
    async with AsyncExitStack() as stack:
        databases = [stack.enter_context(fresh_database(postgres_server)) for _ in range(2)]
        crowds = []
        for database in databases:
            _, addresses = await stack.enter_async_context(
                running_cluster(database, valkey.url, web=1, inventory=1, **settings)
            )
            crowds.append(Crowd(addresses, SIZE))
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for crowd in crowds:
                    nursery.start_soon(crowd.run)
        for crowd, database in zip(crowds, databases, strict=True):
            assert crowd.sold == SIZE
            await verify(crowd.history, database, sold_out=True)
        ids = [(await deployment_of(database)).id for database in databases]
        with redis.from_url(valkey.url) as client:
            keys = [key.decode() for key in client.scan_iter()]
    assert all(any(key.startswith(f"flash:{id}:") for id in ids) for key in keys), keys


async def test_what_is_written_into_the_streams_by_strangers_changes_nothing(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    history = History()
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, FLASH_LEASE_TTL="30") as (cluster, addresses):
        deployment = await deployment_of(postgres)
        async with Client(addresses[0]) as client, trio.open_nursery() as nursery:
            code = await history.checkout(client, "ann", 7)
            assert code is not None
            leader = await cluster.leader_of()
            leader.pause()
            answers: list[int] = []

            async def buy() -> None:
                answer = await history.purchase(client, code, "ann-1")
                assert answer is not None
                answers.append(answer.status)

            nursery.start_soon(buy)
            inbox = messages.inbox_key(deployment, ONE)
            with redis.from_url(valkey.url) as stranger:
                await until(lambda: stranger.xlen(inbox))
                ((_, fields),) = stranger.xrange(inbox)
                batch = messages.read_commands(deployment, ONE, fields)
                numbers = [number for number, _ in batch.commands]
                outcomes = [(number, Refused(Refusal.SOLD_OUT)) for number in numbers]
                forged = messages.reply_entry(deployment, batch.reply_to, messages.VERSION, outcomes)
                for seal in (b"", b"\0" * 16):
                    stranger.xadd(batch.reply_to, {**forged, messages.SEAL_FIELD: seal})
                # a copy of the command as a reply, and in the inbox of another sale
                stranger.xadd(batch.reply_to, fields)
                stranger.xadd(messages.inbox_key(deployment, SaleId(2)), fields)
                await cluster.named("web")[0].wait_for("no leader has sent")
                await until(lambda: not stranger.xlen(batch.reply_to))
            assert answers == []
            leader.resume()
        assert answers == [200]
        await verify(history, postgres, sold_out=False)


async def test_keys_of_the_wrong_type_cost_a_moment_and_no_purchase(postgres: str, valkey: EmbeddedValkey) -> None:
    async with crowded_sale(postgres, valkey) as (cluster, crowd):
        deployment = await deployment_of(postgres)
        epoch, _ = await cluster.term_of()
        with redis.from_url(valkey.url) as stranger:
            (replies,) = stranger.scan_iter(deployment.key("{web:*"))
            wake_up, lease = messages.wake_up_key(deployment), deployment.key(messages.lease_key(ONE))
            for key in (messages.inbox_key(deployment, ONE), replies.decode(), wake_up, lease):
                with stranger.pipeline() as at_once:  # nobody of ours may come in between
                    at_once.delete(key).rpush(key, "not what belongs here").execute()
                assert crowd.sold < crowd.size
                await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)
        assert (await cluster.term_of())[0] <= epoch + 1, "only the lease may have ended a term"


@pytest.mark.parametrize("kind", ["inbox", "replies"])
async def test_a_stream_at_its_last_id_costs_a_moment_and_no_purchase(
    kind: str, postgres: str, valkey: EmbeddedValkey
) -> None:
    async with crowded_sale(postgres, valkey) as (_, crowd):
        deployment = await deployment_of(postgres)
        with redis.from_url(valkey.url) as stranger:
            (replies,) = stranger.scan_iter(deployment.key("{web:*"))
            key = messages.inbox_key(deployment, ONE) if kind == "inbox" else replies.decode()
            stranger.xadd(key, {"x": "y"}, id=f"{2**64 - 1}-{2**64 - 1}")
            await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)


async def test_a_404_after_retry_after_is_final_although_redis_was_frozen_with_the_command_in_it(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    history = History()
    settings = {"FLASH_REQUEST_TIMEOUT": "3", "FLASH_DATABASE_TIMEOUT": "0.5", "FLASH_REDIS_TIMEOUT": "0.5"}
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, **QUICK, **settings) as (cluster, addresses):
        async with Client(addresses[0]) as client:
            code = await history.checkout(client, "ann", 7)
            other = await history.checkout(client, "bob", 8)
            assert code is not None
            assert other is not None
            await history.purchase(client, other)
            leader = await cluster.leader_of()
            leader.pause()  # so that it is Redis that holds the command, not the leader
            valkey.pause()
            answer = await client.post(f"/purchase?code={code}")
            assert (answer.status, answer.json()["code"]) == (503, "outcome_unknown")
            promised = int(answer.header(b"retry-after") or b"0")
            assert promised >= 3 + 0.5 + 0.5 - 2.2, "what is left of the command's life, and the leader's last commit"
            await trio.sleep(promised)
            assert (await client.get(f"/purchases/{code}")).status == 404
            valkey.resume()
            inbox = messages.inbox_key(await deployment_of(postgres), ONE)
            with redis.from_url(valkey.url) as looking:
                await until(lambda: looking.xlen(inbox))  # now that it can
                leader.resume()
                await until(lambda: not looking.xlen(inbox))
            receipt = await client.get(f"/purchases/{code}")
            assert (receipt.status, receipt.json()["code"]) == (404, "not_purchased")
        await verify(history, postgres, sold_out=False)


class Forwarder:
    """What stands between a deployment and its Redis, as a virtual address does. Connections stay where they are."""

    def __init__(self, target: EmbeddedValkey) -> None:
        self.target = target
        self.url = ""

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"redis://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, client: trio.SocketStream) -> None:
        try:
            async with (
                client,
                await trio.open_unix_socket(str(self.target.socket)) as server,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._copy, client, server, nursery.cancel_scope)
                nursery.start_soon(self._copy, server, client, nursery.cancel_scope)
        except* (trio.BrokenResourceError, OSError):
            pass  # the other end notices that its connection is gone

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
        async for data in source:
            await sink.send_all(data)
        both.cancel()


def listen_on(client: redis.Redis) -> int:
    """Let a Valkey listen on a free TCP port as well, for its replica."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    client.config_set("repl-diskless-sync-delay", 0)
    client.config_set("bind", "127.0.0.1")
    client.config_set("port", port)
    return port


@pytest.mark.parametrize("is_replicated", [True, False], ids=["by its replica", "by an empty one"])
async def test_a_replaced_redis_costs_two_seconds_and_no_restart(
    postgres: str, valkey: EmbeddedValkey, is_replicated: bool
) -> None:
    forwarder = Forwarder(valkey)
    with (
        running_valkey() as successor,
        redis.from_url(valkey.url) as old,
        redis.from_url(successor.url) as new,
    ):
        if is_replicated:
            new.replicaof("127.0.0.1", listen_on(old))
            await until(lambda: new.info("replication")["master_link_status"] == "up")
        async with trio.open_nursery() as nursery:
            await nursery.start(forwarder.run)
            async with crowded_sale(postgres, forwarder, web=2) as (cluster, crowd):
                new.replicaof("NO", "ONE")
                old.replicaof("127.0.0.1", listen_on(new))
                async with Client(crowd.addresses[0]) as client:
                    await expect_503(client, used_code(crowd), within_seconds=3)
                sold_while_demoted = crowd.sold
                await trio.sleep(1.0)
                assert crowd.sold == sold_while_demoted < crowd.size, "a demoted server takes no command"
                forwarder.target = successor
                await crowd.wait_fresh_sales(seconds=2.0)
                assert all("Traceback" not in process.log for process in cluster.processes)
            nursery.cancel_scope.cancel()
