"""The contract of leases between two owners. Whatever stands in for Redis must keep it: add it to `TABLES`.

No test waits for a lease to run out: how long it has left is read and set where the leases are kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest
import trio
from redis.asyncio import Redis

from flash import bridge
from flash.actors.lease_store import LeaseStore
from flash.errors import OutcomeUnknown
from flash.local.embedded import EmbeddedValkey
from flash.stores import leases as store
from flash.stores.redis import call_redis, open_redis
from tests.deployments import DEPLOYMENT

LEASE_SECONDS = 30.0
ALMOST = pytest.approx(LEASE_SECONDS, abs=5.0)


class LeaseTable(Protocol):
    """Where leases are kept."""

    def leases_of(self, owner: str) -> LeaseStore:
        """Those of a new owner, for `LEASE_SECONDS`."""
        ...

    async def seconds_left(self, key: str) -> float:
        """Until `key` runs out; 0 if nobody holds it."""
        ...

    async def set_seconds_left(self, key: str, seconds: float) -> None:
        """As if time had passed; 0 lets `key` run out."""
        ...


class ValkeyTable:
    def __init__(self, client: Redis) -> None:
        self._client = client

    def leases_of(self, owner: str) -> LeaseStore:
        return store.Leases(DEPLOYMENT, self._client, LEASE_SECONDS)

    async def seconds_left(self, key: str) -> float:
        return max(0.0, await call_redis(self._client, self._client.pttl, DEPLOYMENT.key(key)) / 1000)

    async def set_seconds_left(self, key: str, seconds: float) -> None:
        await call_redis(self._client, self._client.pexpire, DEPLOYMENT.key(key), int(seconds * 1000))


@asynccontextmanager
async def valkey_table(request: pytest.FixtureRequest) -> AsyncIterator[LeaseTable]:
    server: EmbeddedValkey = request.getfixturevalue("valkey")
    async with bridge.open_loop(), open_redis(server.url, timeout_seconds=5.0) as client:
        yield ValkeyTable(client)


OpenTable = Callable[[], AbstractAsyncContextManager[LeaseTable]]
TABLES: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[LeaseTable]]] = {
    "valkey": valkey_table,
}


@pytest.fixture(params=TABLES)
def open_table(request: pytest.FixtureRequest) -> OpenTable:
    manager = TABLES[request.param](request)
    return lambda: manager


async def test_a_lease_goes_to_the_first_who_asks_and_to_nobody_else(open_table: OpenTable) -> None:
    async with open_table() as table:
        ann, bob = table.leases_of("ann"), table.leases_of("bob")
        assert await ann.acquire(["k"]) == ["k"]
        await table.set_seconds_left("k", 10)
        assert await bob.acquire(["k"]) == []
        assert await table.seconds_left("k") <= 10, "asking in vain prolongs nothing"
        assert await ann.renew(["k"]) == ["k"]


async def test_an_owner_who_acquires_again_knows_its_lease_and_keeps_it_for_the_whole_time(
    open_table: OpenTable,
) -> None:
    async with open_table() as table:
        ann = table.leases_of("ann")
        await ann.acquire(["k"])
        assert await table.seconds_left("k") == ALMOST
        await table.set_seconds_left("k", 10)
        assert await ann.acquire(["k"]) == ["k"]
        assert await table.seconds_left("k") == ALMOST


async def test_renewing_keeps_a_lease_for_the_whole_time(open_table: OpenTable) -> None:
    async with open_table() as table:
        ann = table.leases_of("ann")
        await ann.acquire(["k"])
        await table.set_seconds_left("k", 10)
        assert await ann.renew(["k"]) == ["k"]
        assert await table.seconds_left("k") == ALMOST


async def test_renewing_the_lease_of_another_changes_nothing(open_table: OpenTable) -> None:
    async with open_table() as table:
        ann, bob = table.leases_of("ann"), table.leases_of("bob")
        await ann.acquire(["k"])
        await table.set_seconds_left("k", 10)
        assert await bob.renew(["k"]) == []
        assert await table.seconds_left("k") <= 10
        assert await bob.acquire(["k"]) == []
        assert await ann.renew(["k"]) == ["k"]


async def test_a_lease_that_nobody_holds_cannot_be_renewed(open_table: OpenTable) -> None:
    async with open_table() as table:
        ann = table.leases_of("ann")
        assert await ann.renew(["k"]) == []
        await ann.acquire(["k"])
        await table.set_seconds_left("k", 0)
        assert await ann.renew(["k"]) == []
        assert await table.seconds_left("k") == 0


async def test_a_lease_that_ran_out_is_free_and_its_last_owner_can_do_nothing_to_the_next(
    open_table: OpenTable,
) -> None:
    async with open_table() as table:
        ann, bob = table.leases_of("ann"), table.leases_of("bob")
        await ann.acquire(["k"])
        await table.set_seconds_left("k", 0)
        assert await bob.acquire(["k"]) == ["k"]
        assert await ann.renew(["k"]) == []
        await ann.release(["k"])
        assert await ann.acquire(["k"]) == []
        assert await bob.renew(["k"]) == ["k"]


async def test_a_released_lease_is_free_at_once(open_table: OpenTable) -> None:
    async with open_table() as table:
        ann, bob = table.leases_of("ann"), table.leases_of("bob")
        await ann.acquire(["k"])
        await ann.release(["k"])
        assert await table.seconds_left("k") == 0
        assert await ann.renew(["k"]) == []
        assert await bob.acquire(["k"]) == ["k"]


async def test_releasing_the_lease_of_another_changes_nothing(open_table: OpenTable) -> None:
    async with open_table() as table:
        ann, bob = table.leases_of("ann"), table.leases_of("bob")
        await ann.acquire(["k"])
        await bob.release(["k"])
        assert await table.seconds_left("k") == ALMOST
        assert await bob.acquire(["k"]) == []
        assert await ann.renew(["k"]) == ["k"]


async def test_each_of_many_leases_is_decided_separately_and_reported_in_order(open_table: OpenTable) -> None:
    async with open_table() as table:
        ann, bob = table.leases_of("ann"), table.leases_of("bob")
        assert await ann.acquire(["b", "d"]) == ["b", "d"]
        assert await bob.acquire(["e", "d", "c", "b", "a"]) == ["e", "c", "a"]
        assert await ann.renew(["a", "b", "c", "d", "e"]) == ["b", "d"]
        await bob.release(["a", "b", "c"])
        assert await ann.acquire(["a", "b", "c", "d", "e"]) == ["a", "b", "c", "d"]
        assert await bob.renew(["a", "b", "c", "d", "e"]) == ["e"]


async def test_nothing_is_asked_of_nothing(open_table: OpenTable) -> None:
    async with open_table() as table:
        ann = table.leases_of("ann")
        assert await ann.acquire([]) == []
        assert await ann.renew([]) == []
        await ann.release([])


@pytest.mark.parametrize("kind", ["list", "string"])
async def test_a_lease_that_somebody_has_written_over_is_nobodys(valkey: EmbeddedValkey, kind: str) -> None:
    async with bridge.open_loop(), open_redis(valkey.url, timeout_seconds=5) as client:
        table = ValkeyTable(client)
        ann, bob = table.leases_of("ann"), table.leases_of("bob")
        assert await ann.acquire(["k", "other"]) == ["k", "other"]
        await call_redis(client, client.delete, DEPLOYMENT.key("k"))
        write = client.rpush if kind == "list" else client.set
        await call_redis(client, write, DEPLOYMENT.key("k"), "not a token")
        assert await ann.renew(["k", "other"]) == ["other"]
        await ann.release(["k"])
        assert await bob.acquire(["other", "k"]) == ["k"]
        assert await table.seconds_left("k") == ALMOST


async def test_an_error_in_one_call_leaves_another_call_its_connection(valkey: EmbeddedValkey) -> None:
    async with bridge.open_loop(), open_redis(valkey.url, timeout_seconds=5) as client:

        async def wait_for_an_entry() -> None:
            assert await call_redis(client, client.blpop, ["waited for"], 4) == (b"waited for", b"x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_an_entry)
            with trio.fail_after(5):
                while True:
                    if (await call_redis(client, client.info, "clients"))["blocked_clients"]:
                        break
                    await trio.sleep(0.01)
            with pytest.raises(OutcomeUnknown, match="unknown command"):
                await call_redis(client, client.execute_command, "NO-SUCH-COMMAND")
            await call_redis(client, client.rpush, "waited for", "x")


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        (b"\xff\xfe", b"9999999999999 0"),
        (b"a" * 32, b"9999999999999 0"),
        (b"a" * 32, b"%d 99999999999999999999999"),
        (b"a" * 32, b"not an entry"),
        (b"a" * 31, b"%d 0"),
    ],
)
async def test_what_a_stranger_writes_among_the_hosts_is_no_host(
    valkey: EmbeddedValkey, name: bytes, entry: bytes
) -> None:
    async with bridge.open_loop(), open_redis(valkey.url, timeout_seconds=5) as client:
        table = ValkeyTable(client)
        ann = table.leases_of("ann")
        seconds, _ = await call_redis(client, client.time)
        entry = entry % (1000 * seconds + 2_000) if b"%d" in entry else entry
        await call_redis(client, client.hset, DEPLOYMENT.key("hosts"), name, entry)
        counts = await ann.report(3)
        assert counts == {ann.name: 3}
        assert await call_redis(client, client.hlen, DEPLOYMENT.key("hosts")) == 1


async def test_a_demoted_server_loses_the_connections_of_its_leases(valkey: EmbeddedValkey) -> None:
    async with bridge.open_loop(), open_redis(valkey.url, timeout_seconds=1) as client:
        ann = ValkeyTable(client).leases_of("ann")
        assert await ann.acquire(["k"]) == ["k"]
        before = await call_redis(client, client.client_id)
        await call_redis(client, client.replicaof, "127.0.0.1", 1)
        with pytest.raises(OutcomeUnknown, match="read only"):
            await ann.renew(["k"])
        await call_redis(client, client.replicaof, "NO", "ONE")
        assert await call_redis(client, client.client_id) != before
        assert await ann.renew(["k"]) == ["k"]


async def test_a_lease_whose_answer_was_lost_is_found_by_asking_again(valkey: EmbeddedValkey) -> None:
    async with bridge.open_loop(), open_redis(valkey.url, timeout_seconds=0.3) as client:
        table = ValkeyTable(client)
        ann, bob = table.leases_of("ann"), table.leases_of("bob")
        assert await ann.acquire(["other"]) == ["other"]  # so that there is a connection to lose
        valkey.pause()
        with pytest.raises(OutcomeUnknown):
            await ann.acquire(["k"])
        valkey.resume()
        while not await table.seconds_left("k"):  # Valkey may answer us before it reads what it got while frozen
            pass
        assert await bob.acquire(["k"]) == []
        assert await ann.acquire(["k"]) == ["k"]


async def test_leases_leave_a_demoted_primary_for_whatever_its_address_leads_to_next(valkey: EmbeddedValkey) -> None:
    async with bridge.open_loop(), open_redis(valkey.url, timeout_seconds=5, connections_max=1) as client:
        ann = ValkeyTable(client).leases_of("ann")
        assert await ann.acquire(["k"]) == ["k"]
        before = await call_redis(client, client.client_id)
        await call_redis(client, client.execute_command, "REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(OutcomeUnknown, match="read only"):
            await ann.renew(["k"])
        assert await call_redis(client, client.client_id) != before, "the connection is a new one"
        await call_redis(client, client.execute_command, "REPLICAOF", "NO", "ONE")
        assert await ann.renew(["k"]) == ["k"]
