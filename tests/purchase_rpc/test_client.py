"""The purchase client on a real Valkey, with nobody or a test at the other end: what it keeps and what it leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis
import trio

from flash.domain import Command, RequestId, SaleId
from flash.local.embedded import EmbeddedValkey
from flash.purchase_rpc import messages
from flash.purchase_rpc.client import PurchaseClient
from flash.stores.redis_link import RedisLink
from flash.testing.cluster import until
from tests.codes import a_code
from tests.deployments import DEPLOYMENT

INBOX = messages.inbox_key(DEPLOYMENT, SaleId(1))


def a_command(number: int) -> Command:
    return Command(a_code(number), RequestId(f"auto:{number}"))


@asynccontextmanager
async def serving(valkey: EmbeddedValkey) -> AsyncIterator[PurchaseClient]:
    async with (
        RedisLink(valkey.url, timeout_seconds=1) as sender,
        RedisLink(valkey.url, timeout_seconds=1) as listener,
        trio.open_nursery() as nursery,
    ):
        purchase_client = PurchaseClient(
            DEPLOYMENT, sender, listener, waiting_max=100, batch_max=100, timeout_seconds=30, settle_seconds=1
        )
        nursery.start_soon(purchase_client.run)
        yield purchase_client
        nursery.cancel_scope.cancel()


async def leave_early(purchase_client: PurchaseClient, valkey: EmbeddedValkey, commands: int) -> None:
    """Ask, and give up once the commands stand in the inbox."""
    async with trio.open_nursery() as nursery:
        for number in range(commands):
            nursery.start_soon(purchase_client.ask, a_command(number))
        with redis.from_url(valkey.url) as client:
            await until(lambda: client.xlen(INBOX))
        nursery.cancel_scope.cancel()


async def test_nothing_is_kept_of_commands_that_a_leader_has_dropped_unanswered(valkey: EmbeddedValkey) -> None:
    async with serving(valkey) as purchase_client:
        await leave_early(purchase_client, valkey, 10)
        await until(lambda: purchase_client._entries)
        with redis.from_url(valkey.url) as client:
            client.xtrim(INBOX, 0, approximate=False)
        await until(lambda: not purchase_client._entries)
        assert not purchase_client._table


async def test_an_inbox_that_nobody_reads_any_more_does_not_stay_in_redis(valkey: EmbeddedValkey) -> None:
    async with serving(valkey) as purchase_client:
        await leave_early(purchase_client, valkey, 1)
        with redis.from_url(valkey.url) as client:
            seconds_left = client.ttl(INBOX)
    assert 60 < seconds_left <= 120, "not before its last command has expired, and not for ever"
