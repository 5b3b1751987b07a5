"""Leadership on a clock that the test drives: when a host trusts its lease, and when it steps down."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.actors.lease_elector import LeaseElector
from flash.errors import OutcomeUnknown, TermEnded
from flash.testing.twins.leases import LeasesTwin, LeaseTable

TTL, MARGIN, IDLE = 3.0, 0.5, 10.0
LOST = OutcomeUnknown("lost")


class Doorbell:
    """Which leases are watched, and for how long nothing has come for one that is led."""

    def __init__(self) -> None:
        self.watched: set[str] = set()
        self.quiet: dict[str, float] = {}

    async def watch(self, keys: Sequence[str]) -> None:
        assert self.watched.isdisjoint(keys)
        self.watched.update(keys)
        await trio.lowlevel.checkpoint()

    def unwatch(self, keys: Sequence[str]) -> None:
        self.watched.difference_update(keys)

    def quiet_seconds(self, key: str) -> float:
        return self.quiet.get(key, 0.0)


class Host:
    """An elector that leads by waiting, and a log of who led when. It leads all that it can, unless told otherwise."""

    def __init__(
        self,
        table: LeaseTable,
        name: str,
        log: list[tuple[float, str, str]],
        wanted: Sequence[str],
        led_always: int = 1_000,
    ) -> None:
        self.leases = LeasesTwin(table, name, TTL)
        self.table, self.name, self.log = table, name, log
        self.doorbell = Doorbell()
        self.leading: set[str] = set()
        self.error: Exception | None = None
        self.wanted = wanted
        self.tells: list[Host] = []
        """Whom it tells when there is something to take."""
        self.elector = LeaseElector(
            self.leases,
            self.doorbell,
            list_wanted=self._list_wanted,
            lead=self._lead,
            on_release=self._on_release,
            lease_seconds=TTL,
            margin_seconds=MARGIN,
            led_always=led_always,
            idle_seconds=IDLE,
        )

    async def _list_wanted(self) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return self.wanted

    async def _on_release(self) -> None:
        await trio.lowlevel.checkpoint()
        for host in self.tells:
            host.elector.wake_up()

    def ring(self, key: str) -> None:
        """Something has come for `key`."""
        self.doorbell.watched.remove(key)
        self.elector.lead_now(key)

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
    table, log = LeaseTable(), list[tuple[float, str, str]]()
    hosts = [Host(table, name, log, ["sale"]) for name in ("a", "b")]
    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(host.elector.run)
        await advance(mock_clock, 60)
        assert [len(host.leading) for host in hosts] in ([1, 0], [0, 1])
        assert len(log) == 1
        nursery.cancel_scope.cancel()


async def test_trust_ends_before_the_lease_does_when_renewals_are_lost(mock_clock: MockClock) -> None:
    table, log = LeaseTable(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        assert host.leading
        host.leases.faults.fail_before(LOST, times=math.inf)
        expires_at = table.held["sale"][1]
        await advance(mock_clock, TTL)
        (_, _, _), (ended_at, _, what), *_ = log
        assert what == "ends"
        assert ended_at <= expires_at - MARGIN + 0.05
        nursery.cancel_scope.cancel()


async def test_a_host_whose_answer_was_lost_finds_its_own_lease_again(mock_clock: MockClock) -> None:
    table, log = LeaseTable(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])
    host.leases.faults.fail_after(LOST, times=math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        assert table.owner("sale") == "a"
        assert not host.leading
        host.leases.faults.heal()
        await advance(mock_clock, 1.1)
        assert host.leading == {"sale"}
        nursery.cancel_scope.cancel()


async def test_a_stopped_host_gives_its_leases_back_and_another_takes_over_when_woken_up(mock_clock: MockClock) -> None:
    table, log = LeaseTable(), list[tuple[float, str, str]]()
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


async def test_a_wake_up_in_the_middle_of_a_scan_is_not_lost(mock_clock: MockClock) -> None:
    table, log = LeaseTable(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        table.held["next"] = ("b", trio.current_time() + 100)
        host.wanted = ["sale", "next"]

        async def release_just_after(name: str, _args: tuple[object, ...]) -> None:
            if name == "acquire" and table.owner("next") == "b":
                del table.held["next"]
                host.elector.wake_up()

        host.leases.faults.on_after = release_just_after
        host.elector.wake_up()
        await wait_all_tasks_blocked()
        assert host.leading == {"sale", "next"}
        assert len({at for at, _, _ in log}) == 1, "no time passed in between"
        nursery.cancel_scope.cancel()


async def test_a_lease_taken_away_ends_the_leading_at_the_next_renewal(mock_clock: MockClock) -> None:
    table, log = LeaseTable(), list[tuple[float, str, str]]()
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
    table, log = LeaseTable(), list[tuple[float, str, str]]()
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
    host = Host(LeaseTable(), "a", [], ["one"])
    host.error = AssertionError("sold twice")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await advance(mock_clock, 2)
        host.error = None
        await advance(mock_clock, 2)
        assert host.leading == {"one"}
        nursery.cancel_scope.cancel()


async def test_a_thousand_quiet_sales_are_led_by_tasks_that_sleep(mock_clock: MockClock) -> None:
    host, releases = Host(LeaseTable(), "a", [], [str(number) for number in range(1000)]), list[str]()

    async def note(name: str, _args: tuple[object, ...]) -> None:
        if name == "release":
            releases.append(name)

    host.leases.faults.on_before = note
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await advance(mock_clock, 10)
        assert len(host.leading) == 1000
        assert len(host.log) == 1000, "nobody was stopped and started again"
        nursery.cancel_scope.cancel()
    assert host.table.held == {}
    assert len(releases) == 1, "a stop with many leases takes one round trip, or it would not end in time"


async def test_one_lost_renewal_costs_no_lease(mock_clock: MockClock) -> None:
    table, log = LeaseTable(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await advance(mock_clock, 0.5)
        host.leases.faults.fail_before(LOST, times=math.inf)
        await advance(mock_clock, 0.6)  # the renewal at 1 s is lost
        host.leases.faults.heal()
        await advance(mock_clock, 10)
        assert len(log) == 1
        nursery.cancel_scope.cancel()


async def test_a_renewal_counts_from_the_asking_and_not_from_the_answer(mock_clock: MockClock) -> None:
    table, log, asked = LeaseTable(), list[tuple[float, str, str]](), list[float]()
    host = Host(table, "a", log, ["sale"])

    async def renew_once(name: str, _args: tuple[object, ...]) -> None:
        if name == "renew":
            asked.append(trio.current_time())
            if len(asked) > 1:
                raise LOST

    async def answer_late(name: str, _args: tuple[object, ...]) -> None:
        if name == "renew":
            await trio.sleep(1.0)

    host.leases.faults.on_before, host.leases.faults.on_after = renew_once, answer_late
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        await advance(mock_clock, 2 * TTL)
        _, (ended_at, _, _), *_ = log
        assert TTL - MARGIN < ended_at <= asked[0] + TTL - MARGIN + 0.05
        nursery.cancel_scope.cancel()


async def test_trust_counts_from_the_asking_and_not_from_the_answer(mock_clock: MockClock) -> None:
    table, log = LeaseTable(), list[tuple[float, str, str]]()
    host = Host(table, "a", log, ["sale"])

    async def answer_late(name: str, _args: tuple[object, ...]) -> None:
        if name == "acquire" and not log:  # the first time alone: at the end nobody moves the clock any more
            await trio.sleep(1.0)

    async def lose_renewals(name: str, _args: tuple[object, ...]) -> None:
        if name == "renew":
            raise LOST

    host.leases.faults.on_before, host.leases.faults.on_after = lose_renewals, answer_late
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        await advance(mock_clock, TTL)
        (began_at, _, _), (ended_at, _, _), *_ = log
        assert began_at >= 1.0
        assert ended_at <= TTL - MARGIN + 0.05, "it was asked for at 0"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(*hosts: Host) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for host in hosts:
            nursery.start_soon(host.elector.run)
        await wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def test_a_quiet_sale_is_led_when_something_comes_and_put_down_when_nothing_does(mock_clock: MockClock) -> None:
    host = Host(LeaseTable(), "a", [], ["new", "old", "older"], led_always=1)
    async with running(host):
        assert (host.leading, host.doorbell.watched) == ({"new"}, {"old", "older"})
        host.ring("old")
        await wait_all_tasks_blocked()
        assert host.leading == {"new", "old"}
        host.doorbell.quiet = {"old": IDLE - 1, "new": IDLE + 1}
        await advance(mock_clock, 2)
        assert host.leading == {"new", "old"}, "the newest is led although nobody buys"
        host.doorbell.quiet["old"] = IDLE
        await advance(mock_clock, 1.1)
        assert (host.leading, host.doorbell.watched) == ({"new"}, {"old", "older"})
        host.ring("old")
        await wait_all_tasks_blocked()
        assert host.leading == {"new", "old"}
        await advance(mock_clock, 60)
        assert host.table.owner("old") == host.table.owner("older") == "a"
    assert host.table.held == {}
    assert host.doorbell.watched == set()


async def test_the_most_urgent_are_led_before_the_last_leases_are_taken(mock_clock: MockClock) -> None:
    wanted = [str(number) for number in range(2_000)]
    host, seen = Host(LeaseTable(), "a", [], wanted, led_always=3), list[tuple[int, set[str]]]()

    async def note(name: str, args: tuple[object, ...]) -> None:
        if name == "acquire":
            await trio.testing.wait_all_tasks_blocked()
            seen.append((len(host.elector.held), set(host.leading)))

    host.leases.faults.on_before = note
    async with running(host):
        await wait_all_tasks_blocked(cushion=0.01)
    (none, _), (first, leading), *_ = seen
    assert none == 0
    assert 0 < first < 500
    assert leading == {"0", "1", "2"}
    assert max(held for held, _ in seen) > 1_500


async def test_a_lease_that_is_not_surely_ours_is_not_led_when_something_comes(mock_clock: MockClock) -> None:
    host = Host(LeaseTable(), "a", [], ["new", "old"], led_always=1)
    async with running(host):
        host.leases.faults.fail_before(LOST, times=math.inf)
        await advance(mock_clock, TTL)
        host.ring("old")
        await wait_all_tasks_blocked()
        assert host.leading == set()
        host.leases.faults.heal()
        await advance(mock_clock, 1.1)
        assert (host.leading, host.doorbell.watched) == ({"new"}, {"old"})


async def test_a_quiet_lease_taken_away_is_not_watched_any_more(mock_clock: MockClock) -> None:
    host = Host(LeaseTable(), "a", [], ["new", "old"], led_always=1)
    async with running(host):
        host.table.held["old"] = ("somebody else", trio.current_time() + 100)
        await advance(mock_clock, TTL / 3 + 0.1)
        assert host.doorbell.watched == set()
        assert host.table.owner("old") == "somebody else"


async def test_a_sale_that_wants_no_leader_any_more_is_let_go(mock_clock: MockClock) -> None:
    host = Host(LeaseTable(), "a", [], ["new", "old", "older"], led_always=1)
    async with running(host):
        host.ring("old")
        host.wanted = ["new"]
        await advance(mock_clock, 1.1)
        assert host.doorbell.watched == set()
        assert host.table.owner("older") is None
        assert host.table.owner("old") == "a", "it is led until there is nothing left to lead"


async def test_what_fails_to_be_led_is_watched_again_by_whoever_takes_it(mock_clock: MockClock) -> None:
    host = Host(LeaseTable(), "a", [], ["new", "old"], led_always=1)
    async with running(host):
        host.error = TermEnded("over")
        host.ring("old")
        await wait_all_tasks_blocked()
        assert host.table.owner("old") is None
        host.error = None
        await advance(mock_clock, 2)
        assert host.doorbell.watched == {"old"}


async def test_a_host_that_joins_gets_its_share_of_quiet_leases_and_nobody_is_ever_without_one(
    mock_clock: MockClock,
) -> None:
    wanted = [str(number) for number in range(300)]
    table = LeaseTable()
    first, second = (Host(table, name, [], wanted, led_always=4) for name in "ab")
    first.tells, second.tells = [second], [first]
    async with running(first):
        assert len(first.elector.held) == 300
        async with running(second):
            for _ in range(160):
                await advance(mock_clock, 0.1)
                assert all(table.owner(key) for key in wanted)
            assert sorted([len(first.elector.held), len(second.elector.held)])[0] >= 135
            assert first.doorbell.watched | first.leading == set(first.elector.held)
            assert second.doorbell.watched | second.leading == set(second.elector.held)
            assert not set(first.elector.held) & set(second.elector.held)
            assert first.leading == {"0", "1", "2", "3"}, "those that are led stay as long as others will do"
            moves = len(first.log) + len(second.log)
            await advance(mock_clock, 20)
            assert len(first.log) + len(second.log) == moves, "they have come to rest"
        await advance(mock_clock, 0.1)
        assert len(first.elector.held) == 300, "the other has given back everything"


async def test_leases_that_are_led_are_handed_over_one_by_one_when_there_are_no_others(mock_clock: MockClock) -> None:
    wanted = [str(number) for number in range(8)]
    table, log = LeaseTable(), list[tuple[float, str, str]]()
    first, second = (Host(table, name, log, wanted) for name in "ab")
    first.tells, second.tells = [second], [first]
    async with running(first), running(second):
        await advance(mock_clock, 20)
        assert (len(first.leading), len(second.leading)) == (5, 3)
        ends = [at for at, name, what in log if (name, what) == ("a", "ends")]
        assert all(later - earlier >= 0.9 for earlier, later in pairwise(ends))
        begins = [at for at, name, what in log if (name, what) == ("b", "begins")]
        assert [round(b - a, 2) for a, b in zip(ends, begins, strict=True)] == [0, 0, 0]


async def test_a_lease_handed_over_to_a_host_that_just_stops_is_not_lost(mock_clock: MockClock) -> None:
    wanted = [str(number) for number in range(20)]
    table = LeaseTable()
    first, second = (Host(table, name, [], wanted, led_always=1) for name in "ab")
    first.tells = []  # so that the other does not hear of what it is given

    async def stop_other(name: str, _args: tuple[object, ...]) -> None:
        if name == "hand_over":
            stopping.cancel_scope.cancel()

    first.leases.faults.on_after = stop_other
    async with running(first):
        async with trio.open_nursery() as stopping:
            stopping.start_soon(second.elector.run)
            await advance(mock_clock, 10)
        first.leases.faults.on_after = _nothing
        await advance(mock_clock, 1.1)
        assert len(first.elector.held) == 20


async def _nothing(_name: str, _args: tuple[object, ...]) -> None:
    pass


async def test_the_newest_sale_stays_where_it_is_led_however_late_it_came(mock_clock: MockClock) -> None:
    table = LeaseTable()
    first, second = (Host(table, name, [], ["s3", "s2", "s1"]) for name in "ab")
    first.tells, second.tells = [second], [first]
    async with running(first):
        first.wanted = second.wanted = ["s4", "s3", "s2", "s1"]
        await advance(mock_clock, 2)
        async with running(second):
            await advance(mock_clock, 20)
            assert second.leading == {"s1"}


async def test_a_host_that_comes_and_dies_again_and_again_is_given_nothing(mock_clock: MockClock) -> None:
    table, wanted = LeaseTable(), [str(number) for number in range(20)]
    host = Host(table, "a", [], wanted, led_always=4)
    async with running(host):
        for number in range(10):
            dying = Host(table, f"b{number}", [], wanted, led_always=4)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(dying.elector.run)
                await advance(mock_clock, 2)
                dying.leases.faults.fail_before(LOST, times=math.inf)  # it cannot say goodbye
                nursery.cancel_scope.cancel()
            assert len(host.elector.held) == 20


async def test_a_host_whose_terms_fail_is_not_given_those_of_others(mock_clock: MockClock) -> None:
    table, log = LeaseTable(), list[tuple[float, str, str]]()
    healthy, broken = (Host(table, name, log, ["s4", "s3", "s2", "s1"]) for name in "ab")
    broken.error = TermEnded("over")
    async with running(broken), running(healthy):
        await advance(mock_clock, 60)
        assert len(healthy.leading) == 4
        since = trio.current_time()
        await advance(mock_clock, 60)
        ended = [what for at, name, what in log if (name, what) == ("a", "ends") and at > since]
        assert len(ended) <= 2, "it is tried again after half a minute"
