"""A sale goes on whatever happens to its hosts and stores: real processes, real stores, buyers who keep trying.

Every test ends with a check of the history: nothing acknowledged is missing, nothing is oversold, the audit is clean.
"""

from __future__ import annotations

import re
import shutil
import signal
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import orjson
import pytest
import redis
import trio

from flash.codes import pack
from flash.deployment import Deployment
from flash.domain import SaleId
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.purchase_rpc import messages
from flash.testing.client import Answer, Client, host_and_port
from flash.testing.cluster import QUICK, Cluster, running_cluster, until
from tests.cluster.history import Crowd, History, rows, verify
from tests.codes import a_code
from tests.deployments import deployment_of

SIZE = 300
REQUEST_SECONDS = 2.0
TAKEOVER_SECONDS = float(QUICK["FLASH_LEASE_TTL"]) + 2
RECOVERY_SECONDS = 5.0
ONE = SaleId(1)


def unreadable_entries(deployment: Deployment) -> list[messages.Fields]:
    """Entries that no web process of ours would add. PostgreSQL would refuse some of them if they got that far."""
    inbox, replies = messages.inbox_key(deployment, ONE), messages.reply_key(deployment, "0")

    def command(
        reply_to: str = replies, ttl_ms: int = 5000, number: object = 1, sale: int = 1, request_id: object = "auto:x"
    ) -> bytes:
        code = b64encode(pack(a_code(1, sale=sale))).decode()
        return orjson.dumps([reply_to, ttl_ms, 4 * 10**12, [number], code, [request_id]])

    payloads = [
        b"\xff\x00garbage",
        b"",
        b"[]",
        b"7",
        orjson.dumps([replies, 5000, 4 * 10**12, [], "", []]),
        orjson.dumps([replies, 5000, 4 * 10**12, [1], "not base64", ["x"]]),
        command(sale=2),
        command(request_id=None),
        command(request_id="\0"),
        command(number=1.5),
        command(reply_to=deployment.key(messages.lease_key(ONE))),
        command(ttl_ms=10**15),
    ]
    return [
        {b"v": b"2", b"c": command()},
        {b"v": b"1", b"c": command()},
        messages.sealed(deployment, messages.COMMAND, inbox, {b"v": b"2", b"d": b"[]"}),
        messages.sealed(deployment, messages.REPLY, inbox, {b"v": b"2", b"c": command()}),
        *(messages.sealed(deployment, messages.COMMAND, inbox, {b"v": b"2", b"c": p}) for p in payloads),
    ]


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


@asynccontextmanager
async def crowded_sale(
    postgres: str, valkey: HasUrl, *, web: int = 1, inventory: int = 2, **settings: str
) -> AsyncIterator[tuple[Cluster, Crowd]]:
    """A cluster and a crowd that has bought a third of the sale. At the end of the block, all of it must be sold."""
    settings = {**QUICK, "FLASH_SALE_SIZE": str(SIZE), "FLASH_REQUEST_TIMEOUT": str(REQUEST_SECONDS), **settings}
    async with running_cluster(postgres, valkey.url, web=web, inventory=inventory, **settings) as (cluster, addresses):
        crowd = Crowd(addresses, SIZE)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(crowd.run)
                await crowd.wait_sold(SIZE // 3)
                yield cluster, crowd
        assert crowd.sold == SIZE, f"{crowd.sold} of {SIZE} were acknowledged"
        await verify(crowd.history, postgres, sold_out=True)


async def test_a_leader_killed_twice_costs_a_moment_and_no_purchase(postgres: str, valkey: EmbeddedValkey) -> None:
    # three hosts: one must be ready the second time even if the new one is still starting
    async with crowded_sale(postgres, valkey, inventory=3) as (cluster, crowd), trio.open_nursery() as nursery:
        for part in (1, 2):
            await crowd.wait_sold(SIZE * part // 3)
            epoch, leader = await cluster.term_of()
            leader.kill()
            assert crowd.sold < SIZE
            nursery.start_soon(cluster.start_inventory)
            await cluster.term_of(beyond=epoch, seconds=TAKEOVER_SECONDS)
            await crowd.wait_fresh_sales(seconds=TAKEOVER_SECONDS)


async def test_a_leader_frozen_past_its_lease_commits_nothing_more(postgres: str, valkey: EmbeddedValkey) -> None:
    async with crowded_sale(postgres, valkey) as (cluster, crowd):
        epoch, leader = await cluster.term_of()
        leader.pause()
        await cluster.term_of(beyond=epoch, seconds=TAKEOVER_SECONDS)
        of_old_epoch = f"SELECT count(*) FROM purchases WHERE epoch = {epoch}"
        before = await rows(postgres, of_old_epoch)
        seen = len(leader.log)
        await crowd.wait_fresh_sales(seconds=TAKEOVER_SECONDS)
        assert crowd.sold < SIZE
        leader.resume()
        await leader.wait_for(r"stopped leading \{sale:1\}:lease", after=seen)
        await crowd.wait_sold(SIZE)
        assert await rows(postgres, of_old_epoch) == before


async def test_purchases_recover_when_redis_is_flushed(postgres: str, valkey: EmbeddedValkey) -> None:
    async with crowded_sale(postgres, valkey, web=2) as (_, crowd):
        for part in (1, 2):
            await crowd.wait_sold(SIZE * part // 3)
            with redis.from_url(valkey.url) as client:
                client.flushall()
            assert crowd.sold < SIZE
            await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)


async def test_checkouts_go_on_without_valkey_and_purchases_resume_with_it_even_if_it_lost_its_data(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with crowded_sale(postgres, valkey, web=2) as (_, crowd):
        await trio.to_thread.run_sync(valkey.kill)
        assert crowd.sold < SIZE
        async with Client(crowd.addresses[0]) as client:
            for item in range(1, SIZE + 1):
                if await crowd.history.checkout(client, f"probe-{item}", item):
                    break
            else:
                raise AssertionError("no code was issued")
            for _ in range(3):
                await expect_503(client, used_code(crowd), within_seconds=REQUEST_SECONDS)
        shutil.rmtree(valkey.home)
        await trio.to_thread.run_sync(valkey.start)
        await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)


async def test_a_frozen_valkey_costs_quick_503s_and_purchases_resume_with_it(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with crowded_sale(postgres, valkey, web=2) as (_, crowd):
        valkey.pause()
        assert crowd.sold < SIZE
        async with Client(crowd.addresses[0]) as client:
            for _ in range(2):
                await expect_503(client, used_code(crowd), within_seconds=REQUEST_SECONDS + 0.5)
        valkey.resume()
        await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL], ids=["fast", "immediate", "killed"])
async def test_a_restart_of_postgresql_costs_503s_and_no_purchase(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey, how: signal.Signals
) -> None:
    async with crowded_sale(own_postgres.url, valkey) as (_, crowd):
        own_postgres.child.signal(how)
        await own_postgres.child.wait()
        assert crowd.sold < SIZE
        async with Client(crowd.addresses[0]) as client:
            await expect_503(client, used_code(crowd), within_seconds=REQUEST_SECONDS + 0.5)
            assert (await client.post("/checkout?user_id=ann&id=1")).status == 503
        await trio.to_thread.run_sync(own_postgres.start)
        await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)


async def test_a_frozen_postgresql_costs_bounded_503s_and_the_sale_goes_on_when_it_wakes(
    own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    async with crowded_sale(own_postgres.url, valkey, FLASH_DATABASE_TIMEOUT="1") as (_, crowd):
        code = used_code(crowd)
        own_postgres.pause()
        assert crowd.sold < SIZE
        async with (
            Client(crowd.addresses[0]) as one,
            Client(crowd.addresses[0]) as other,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(partial(expect_503, one, code, within_seconds=REQUEST_SECONDS + 0.5))
            with trio.fail_after(5):
                assert (await other.post("/checkout?user_id=ann&id=1")).status == 503
        own_postgres.resume()
        await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)


async def test_a_lease_that_vanishes_ten_times_a_second_costs_only_throughput(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with crowded_sale(postgres, valkey) as (cluster, crowd):
        epoch, _ = await cluster.term_of()
        lease = (await deployment_of(postgres)).key(messages.lease_key(ONE))
        with redis.from_url(valkey.url) as client:
            while crowd.sold < SIZE:
                client.delete(lease)
                await trio.sleep(0.1)
        assert (await cluster.term_of())[0] > epoch, "nobody ever took the free lease"


async def test_unreadable_entries_become_dead_letters_and_the_sale_goes_on(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    async with crowded_sale(postgres, valkey, inventory=1) as (cluster, crowd):
        leader = await cluster.leader_of()
        deployment = await deployment_of(postgres)
        inbox, dead_letters = messages.inbox_key(deployment, ONE), messages.dead_letter_key(deployment, ONE)
        unreadable = unreadable_entries(deployment)
        with redis.from_url(valkey.url) as client:
            for fields in unreadable:
                client.xadd(inbox, {**fields})
            assert crowd.sold < SIZE
            for _ in unreadable:
                await leader.wait_for(r"is a dead letter")
            await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)
            await crowd.wait_sold(SIZE)
            assert client.xlen(dead_letters) == len(unreadable)
            await until(lambda: client.xlen(inbox) == 0)
        assert len(re.findall("is a dead letter", leader.log)) == len(unreadable)
        assert "stopped leading" not in leader.log


async def test_a_killed_web_process_costs_only_its_own_requests(postgres: str, valkey: EmbeddedValkey) -> None:
    async with crowded_sale(postgres, valkey, web=2, inventory=1) as (cluster, crowd):
        leader = await cluster.leader_of()
        leader.pause()  # so that the web process dies with entries in the inbox
        inbox = messages.inbox_key(await deployment_of(postgres), ONE)
        with redis.from_url(valkey.url) as client:
            await until(lambda: client.xlen(inbox) >= 2)
        cluster.named("web")[0].kill()
        assert crowd.sold < SIZE
        leader.resume()
        await crowd.wait_fresh_sales(seconds=RECOVERY_SECONDS)


async def test_a_buyer_who_leaves_before_the_answer_has_bought_and_finds_the_receipt(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    history = History()
    async with running_cluster(postgres, valkey.url, web=1, inventory=1, FLASH_LEASE_TTL="30") as (cluster, addresses):
        async with Client(addresses[0]) as client:
            code = await history.checkout(client, "ann", 7)
            assert code is not None
            leader = await cluster.leader_of()
            leader.pause()
            stream = await trio.open_tcp_stream(*host_and_port(addresses[0]))
            await stream.send_all(
                b"POST /purchase?code=%b HTTP/1.1\r\nHost: x\r\nIdempotency-Key: ann-1\r\n\r\n" % code.encode()
            )
            inbox = messages.inbox_key(await deployment_of(postgres), ONE)
            with redis.from_url(valkey.url) as valkey_client:
                await until(lambda: valkey_client.xlen(inbox))
            await stream.aclose()
            assert (await client.get(f"/purchases/{code}")).json()["code"] == "not_purchased"
            leader.resume()
            receipt = await purchase_of(code, client)
            answer = await history.purchase(client, code, "ann-1")
            assert answer is not None
            assert answer.json() == {"message": "Purchase successful", **receipt.json()}
            other = await history.purchase(client, code, "ann-2")
            assert other is not None
            assert other.json()["code"] == "code_already_used"
        await verify(history, postgres, sold_out=False)


async def test_a_leader_told_to_stop_hands_over_at_once(postgres: str, valkey: EmbeddedValkey) -> None:
    # the leases live so long that their expiry cannot be the reason
    async with crowded_sale(postgres, valkey, FLASH_LEASE_TTL="30", FLASH_LEASE_MARGIN="0.5") as (cluster, crowd):
        epoch, leader = await cluster.term_of()
        leader.terminate()
        assert crowd.sold < SIZE
        await cluster.term_of(beyond=epoch, seconds=5)
        await crowd.wait_fresh_sales(seconds=5)
        assert await leader.wait() == 0
        assert "Traceback" not in leader.log
    assert not crowd.history.unknown, "a hand-over must not cost anybody an answer"


async def purchase_of(code: str, client: Client) -> Answer:
    """The receipt, as soon as there is one."""
    with trio.fail_after(RECOVERY_SECONDS):
        while True:
            answer = await client.get(f"/purchases/{code}")
            if answer.status == 200:
                return answer
            await trio.sleep(0.01)


def used_code(crowd: Crowd) -> str:
    """A code that has bought already: whatever happens to it, the sale stays as it is."""
    return next(iter(crowd.history.sold))


async def expect_503(client: Client, code: str, *, within_seconds: float) -> None:
    """Send one purchase, which must be answered 503 with `Retry-After` in time."""
    with trio.fail_after(within_seconds):
        answer = await client.post(f"/purchase?code={code}", [(b"idempotency-key", b"probe")])
    assert answer.status == 503, answer.body
    assert answer.header(b"retry-after") is not None
