"""What the elector may rely on, checked on the leases in Redis and on their twin alike."""

from __future__ import annotations

import trio

from flash.actors.lease_elector import LeaseStore
from tests.testing.conftest import OpenLeases

LONG, SHORT = 30.0, 0.3


async def wait_acquired(leases: LeaseStore, key: str) -> None:
    with trio.fail_after(5):
        while True:
            if await leases.acquire([key]):
                return
            await trio.sleep(0.01)


async def test_one_of_two_hosts_gets_a_lease(open_leases: OpenLeases) -> None:
    async with open_leases(LONG) as new_host:
        one, other = new_host(), new_host()
        assert await one.acquire(["a", "b"]) == ["a", "b"]
        assert await other.acquire(["c", "b", "d"]) == ["c", "d"]


async def test_a_host_that_asks_again_finds_its_own_lease(open_leases: OpenLeases) -> None:
    async with open_leases(LONG) as new_host:
        one = new_host()
        assert await one.acquire(["a"]) == ["a"]
        assert await one.acquire(["a"]) == ["a"]


async def test_only_a_leases_owner_renews_it(open_leases: OpenLeases) -> None:
    async with open_leases(LONG) as new_host:
        one, other = new_host(), new_host()
        await one.acquire(["a"])
        await other.acquire(["b"])
        assert await other.renew(["a", "b", "nobody's"]) == ["b"]
        assert await one.renew(["a"]) == ["a"]


async def test_only_a_leases_owner_releases_it(open_leases: OpenLeases) -> None:
    async with open_leases(LONG) as new_host:
        one, other = new_host(), new_host()
        await one.acquire(["a"])
        await other.release(["a"])
        assert await other.acquire(["a"]) == []
        await one.release(["a"])
        assert await other.acquire(["a"]) == ["a"]


async def test_a_lease_expires_and_its_late_owner_cannot_renew_it(open_leases: OpenLeases) -> None:
    async with open_leases(SHORT) as new_host:
        one, other = new_host(), new_host()
        await one.acquire(["a"])
        asked_at = trio.current_time()
        await wait_acquired(other, "a")
        assert trio.current_time() - asked_at >= SHORT - 0.1
        assert await one.renew(["a"]) == []
        await one.release(["a"])
        assert await other.renew(["a"]) == ["a"]


async def test_renewing_and_asking_again_both_count_from_now_on(open_leases: OpenLeases) -> None:
    async with open_leases(SHORT) as new_host:
        one, other = new_host(), new_host()
        began_at = trio.current_time()
        await one.acquire(["renewed", "asked again"])
        while trio.current_time() < began_at + 2 * SHORT:
            assert await one.renew(["renewed"]) == ["renewed"]
            assert await one.acquire(["asked again"]) == ["asked again"]
            await trio.sleep(0.02)
        assert await other.acquire(["renewed", "asked again"]) == []


async def test_a_call_without_keys_returns_nothing(open_leases: OpenLeases) -> None:
    async with open_leases(LONG) as new_host:
        one = new_host()
        assert await one.acquire([]) == []
        assert await one.renew([]) == []
        await one.release([])
