"""What the elector may rely on, checked on the leases in Redis and on their twin alike."""

from __future__ import annotations

import trio

from flash.actors.lease_store import LeaseStore
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


async def test_hosts_hear_how_many_leases_each_living_one_holds(open_leases: OpenLeases) -> None:
    async with open_leases(LONG) as new_host:
        one, other, silent = new_host(), new_host(), new_host()
        assert await one.report(3) == {one.name: 3}
        assert await other.report(0) == {one.name: 3, other.name: 0}
        assert await one.report(4) == {one.name: 4, other.name: 0}
        assert silent.name not in await other.report(1)
        await one.leave()
        assert await other.report(1) == {other.name: 1}
        await one.leave()


async def test_a_host_that_is_not_heard_from_does_not_count(open_leases: OpenLeases) -> None:
    async with open_leases(SHORT) as new_host:
        one, other = new_host(), new_host()
        await one.report(3)
        with trio.fail_after(5):
            while await other.report(0) != {other.name: 0}:  # noqa: ASYNC110 nobody tells us
                await trio.sleep(0.01)
        await other.acquire(["a"])
        assert await other.hand_over(["a"], one.name) == []


async def test_a_lease_that_is_handed_over_is_never_nobodys(open_leases: OpenLeases) -> None:
    async with open_leases(LONG) as new_host:
        one, other, third = new_host(), new_host(), new_host()
        await other.report(0)
        await one.acquire(["a", "b"])
        await third.acquire(["c"])
        assert await one.hand_over(["a", "c", "nobody's"], other.name) == ["a"]
        assert await third.acquire(["a"]) == []
        assert await one.renew(["a", "b"]) == ["b"]
        assert await other.renew(["a", "c", "nobody's"]) == ["a"]


async def test_nothing_is_handed_over_to_a_host_that_has_left_or_was_never_there(open_leases: OpenLeases) -> None:
    async with open_leases(LONG) as new_host:
        one, other = new_host(), new_host()
        await one.acquire(["a"])
        assert await one.hand_over(["a"], other.name) == []
        await other.report(0)
        await other.leave()
        assert await one.hand_over(["a"], other.name) == []
        assert await one.renew(["a"]) == ["a"]
