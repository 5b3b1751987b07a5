"""Leadership on a clock that the test drives: when a host trusts its lease, and when it steps down."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.lease_elector import LeaseElector
from flash.errors import OutcomeUnknown, TermEnded

TTL, MARGIN = 3.0, 0.5


class Table:
    """Leases as Redis holds them, on Trio's clock, shared by the keepers of a test."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, float]] = {}

    def owner(self, key: str) -> str | None:
        owner, until = self.held.get(key, ("", 0.0))
        return owner if until > trio.current_time() else None


class FakeLeases:
    """One host's view of the table. `is_broken`: every answer is lost, whether or not the call was applied."""

    def __init__(self, table: Table, host: str) -> None:
        self.table, self.host = table, host
        self.is_broken = False
        self.releases = 0

    async def acquire(self, keys: Sequence[str]) -> list[str]:
        await trio.lowlevel.checkpoint()
        got = [key for key in keys if self.table.owner(key) in (None, self.host)]
        self._hold(got)
        return self._answer(got)

    async def renew(self, keys: Sequence[str]) -> list[str]:
        await trio.lowlevel.checkpoint()
        if self.is_broken:
            raise OutcomeUnknown("lost")
        kept = [key for key in keys if self.table.owner(key) == self.host]
        self._hold(kept)
        return kept

    async def release(self, keys: Sequence[str]) -> None:
        self.releases += 1
        await trio.lowlevel.checkpoint()
        for key in keys:
            if self.table.owner(key) == self.host:
                del self.table.held[key]
        self._answer([])

    def _hold(self, keys: Sequence[str]) -> None:
        self.table.held.update((key, (self.host, trio.current_time() + TTL)) for key in keys)

    def _answer(self, keys: list[str]) -> list[str]:
        if self.is_broken:
            raise OutcomeUnknown("lost")
        return keys


class Host:
    """A elector that leads by waiting, and a log of who led when."""

    def __init__(self, table: Table, name: str, log: list[tuple[float, str, str]], wanted: Sequence[str]) -> None:
        self.leases = FakeLeases(table, name)
        self.name, self.log = name, log
        self.leading: set[str] = set()
        self.error: Exception | None = None
        self.wanted = wanted
        self.elector = LeaseElector(
            self.leases,
            list_wanted=self._list_wanted,
            lead=self._lead,
            on_release=trio.lowlevel.checkpoint,
            lease_seconds=TTL,
            margin_seconds=MARGIN,
        )

    async def _list_wanted(self) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return self.wanted

    async def _lead(self, key: str) -> None:
        self.leading.add(key)
        self.log.append((trio.current_time(), self.name, "begins"))
        try:
            if self.error is not None:
                raise self.error
            await trio.sleep_forever()
        finally:
            self.leading.discard(key)
            self.log.append((trio.current_time(), self.name, "ends"))


async def advance(clock: MockClock, seconds: float) -> None:
    """Small steps, letting everybody do what is due in between."""
    for _ in range(round(seconds * 20)):
        clock.jump(0.05)
        await wait_all_tasks_blocked()


async def test_one_of_two_hosts_leads_and_keeps_leading(mock_clock: MockClock) -> None:
    table, log = Table(), list[tuple[float, str, str]]()
    hosts = [Host(table, name, log, ["sale"]) for name in ("a", "b")]
    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(host.elector.run)
        await advance(mock_clock, 60)
        assert [len(host.leading) for host in hosts] in ([1, 0], [0, 1])
        assert len(log) == 1
        nursery.cancel_scope.cancel()


async def test_trust_ends_before_the_lease_does_when_renewals_are_lost(mock_clock: MockClock) -> None:
    table, log = Table(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        assert host.leading
        host.leases.is_broken = True
        expires_at = table.held["sale"][1]
        await advance(mock_clock, TTL)
        (_, _, _), (ended_at, _, what), *_ = log
        assert what == "ends"
        assert ended_at <= expires_at - MARGIN + 0.05
        nursery.cancel_scope.cancel()


async def test_a_host_whose_answer_was_lost_finds_its_own_lease_again(mock_clock: MockClock) -> None:
    table, log = Table(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])
    host.leases.is_broken = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        assert table.owner("sale") == "a"
        assert not host.leading
        host.leases.is_broken = False
        await advance(mock_clock, 1.1)
        assert host.leading == {"sale"}
        nursery.cancel_scope.cancel()


async def test_a_stopped_host_gives_its_leases_back_and_another_takes_over_when_nudged(mock_clock: MockClock) -> None:
    table, log = Table(), list[tuple[float, str, str]]()
    first, second = Host(table, "a", log, ["sale"]), Host(table, "b", log, ["sale"])
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as firsts:
            firsts.start_soon(first.elector.run)
            await wait_all_tasks_blocked()
            nursery.start_soon(second.elector.run)
            await wait_all_tasks_blocked()
            assert first.leading
            firsts.cancel_scope.cancel()
        assert table.owner("sale") is None
        second.elector.wake_up()
        await wait_all_tasks_blocked()
        assert second.leading == {"sale"}
        assert log[-1][0] == log[-2][0], "no time passed in between"
        nursery.cancel_scope.cancel()


async def test_a_nudge_in_the_middle_of_a_scan_is_not_lost(mock_clock: MockClock) -> None:
    table, log = Table(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        table.held["next"] = ("b", trio.current_time() + 100)
        host.wanted = ["sale", "next"]
        answer = host.leases._answer

        def released_just_after(keys: list[str]) -> list[str]:
            host.leases._answer = answer  # type: ignore[method-assign]
            del table.held["next"]
            host.elector.wake_up()
            return answer(keys)

        host.leases._answer = released_just_after  # type: ignore[method-assign]
        host.elector.wake_up()
        await wait_all_tasks_blocked()
        assert host.leading == {"sale", "next"}
        assert len({at for at, _, _ in log}) == 1, "no time passed in between"
        nursery.cancel_scope.cancel()


async def test_a_lease_taken_away_ends_the_leading_at_the_next_renewal(mock_clock: MockClock) -> None:
    table, log = Table(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        table.held["sale"] = ("somebody else", trio.current_time() + 100)
        await advance(mock_clock, TTL / 3 + 0.1)
        assert not host.leading
        assert table.owner("sale") == "somebody else", "what is not ours is not released"
        nursery.cancel_scope.cancel()


async def test_a_broken_sale_is_let_alone_for_a_moment_and_hurts_no_other(mock_clock: MockClock) -> None:
    table, log = Table(), list[tuple[float, str, str]]()
    broken, sound = Host(table, "a", log, ["one"]), Host(table, "b", log, ["two"])
    broken.error = TermEnded("over")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(broken.elector.run)
        nursery.start_soon(sound.elector.run)
        await advance(mock_clock, 10)
        begun = [at for at, name, what in log if (name, what) == ("a", "begins")]
        assert 5 <= len(begun) <= 20
        assert min(b - a for a, b in pairwise(begun)) >= 0.5
        assert sound.leading == {"two"}
        broken.error = None
        await advance(mock_clock, 2)
        assert broken.leading == {"one"}
        nursery.cancel_scope.cancel()


async def test_a_bug_in_one_sale_does_not_end_the_host(mock_clock: MockClock) -> None:
    host = Host(Table(), "a", [], ["one"])
    host.error = AssertionError("sold twice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await advance(mock_clock, 2)
        host.error = None
        await advance(mock_clock, 2)
        assert host.leading == {"one"}
        nursery.cancel_scope.cancel()


async def test_a_thousand_quiet_sales_are_led_by_tasks_that_sleep(mock_clock: MockClock) -> None:
    host = Host(Table(), "a", [], [str(number) for number in range(1000)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await advance(mock_clock, 10)
        assert len(host.leading) == 1000
        assert len(host.log) == 1000, "nobody was stopped and started again"
        nursery.cancel_scope.cancel()
    assert host.leases.table.held == {}
    assert host.leases.releases == 1, "a stop with many leases takes one round trip, or it would not end in time"


async def test_one_lost_renewal_costs_no_lease(mock_clock: MockClock) -> None:
    table, log = Table(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await advance(mock_clock, 0.5)
        host.leases.is_broken = True
        await advance(mock_clock, 0.6)  # the renewal at 1 s is lost
        host.leases.is_broken = False
        await advance(mock_clock, 10)
        assert len(log) == 1
        nursery.cancel_scope.cancel()
