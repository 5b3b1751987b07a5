"""Redis is not believed, and one of its keys hurts one sale at most: real processes, real stores."""

from __future__ import annotations

from contextlib import AsyncExitStack

import redis
import trio

from flash.domain import Refusal, Refused, SaleId
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.purchase_rpc import messages
from flash.testing.client import Client
from flash.testing.cluster import QUICK, running_cluster, until
from flash.testing.stores import fresh_database
from tests.cluster.history import Crowd, History, verify
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
