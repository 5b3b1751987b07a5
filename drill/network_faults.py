"""What is done to the network: one process is cut off from one store, in one direction or both, or is far from it.

Leaders and web processes talk through Redis alone, so a leader that is cut off from it is cut off from them. What is
held back is delivered once the fault is healed: the statement of a leader that has long been replaced, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from random import Random

import trio

from drill.buyers import KEY
from drill.kinds import NOBODY_LED, Inject, Kind
from drill.network import POSTGRES, PROXY, REDIS, STORES, Way
from drill.proxy import ANSWERS, REQUESTS, Link
from drill.site import LEASE_SECONDS, Site
from drill.witness import count_terms

_BOTH = (REQUESTS, ANSWERS)
_LONGEST_SECONDS = 6.0
"""Longer than a command lives, so that some of what is delivered late has been given up by everybody."""

_SUCCESSOR_SECONDS = 0.3
"""How long a successor that has begun waits for each answer of PostgreSQL: enough for what should come before it."""
_PURCHASE_SECONDS = 0.5
"""Somebody buys something in this time."""
_LOOK_SECONDS = 0.02


def _cut_leader(store: str) -> Inject:
    async def cut(site: Site, random: Random, sale_id: int) -> str:
        await site.wait_standby()
        leader = await site.leader(sale_id)
        if leader is None:
            return NOBODY_LED
        return await _hold(site, [leader.name], [store], _BOTH, _seconds(random))

    return cut


def _cut_web(store: str) -> Inject:
    async def cut(site: Site, random: Random, sale_id: int) -> str:
        # one of them, whose buyers go to another, or all, so that nobody is served
        names = [site.web[place].process.name for place in await site.web_up()]
        chosen = [random.choice(names)] if random.random() < 0.5 else names
        return await _hold(site, chosen, [store], _BOTH, _seconds(random))

    return cut


def _lose(direction: str) -> Inject:
    async def lose(site: Site, random: Random, sale_id: int) -> str:
        name = await _somebody(site, random, sale_id)
        return await _hold(site, [name], _some_stores(random), (direction,), _seconds(random))

    return lose


async def _commit_late(site: Site, random: Random, sale_id: int) -> str:
    """The statement in which a leader sells arrives just when its successor has begun, and has sold nothing yet."""
    await site.wait_standby()
    leader = await site.leader(sale_id)
    if leader is None:
        return NOBODY_LED
    others = [process.name for process in site.ready() if process is not leader]
    link = _proxied(site.hosts[leader.name].ways[POSTGRES])
    before = now = await count_terms(site.postgres.url, sale_id)
    with ExitStack() as slow:
        for name in others:
            for other in _links(site, name, [POSTGRES]):
                slow.enter_context(other.slow(_SUCCESSOR_SECONDS))
        with trio.move_on_after(_LONGEST_SECONDS):
            while now == before:
                with link.held(REQUESTS):
                    if await _holds_a_sale(link):
                        now = await _depose(site, leader.name, sale_id, before)
                await trio.sleep(_SUCCESSOR_SECONDS)
    return f"what {leader.name} asked in term {before} came in term {now}"


async def _holds_a_sale(link: Link) -> bool:
    """Whether a purchase is held soon: not if its statement has never been prepared on that connection."""
    with trio.move_on_after(_PURCHASE_SECONDS):
        while not link.is_holding(KEY.encode()):  # noqa: ASYNC110 nobody tells
            await trio.sleep(_LOOK_SECONDS)
        return True
    return False


async def _depose(site: Site, name: str, sale_id: int, term: int) -> int:
    """Let another process take the lease. Returns the number of its term, once it has begun."""
    now = term
    with site.hosts[name].ways[REDIS].held(*_BOTH):  # or this one would take the lease again
        site.tell_valkey(f"DEL {site.lease_of(sale_id)}")
        while now == term:
            await trio.sleep(_LOOK_SECONDS)
            now = await count_terms(site.postgres.url, sale_id)
    return now


async def _hang(site: Site, random: Random, sale_id: int) -> str:
    name, stores = await _somebody(site, random, sale_id), _some_stores(random)
    hanging = sum(link.hang() for link in _links(site, name, stores))
    return f"{hanging} connections of {name} to {_and(stores)}"


async def _reset(site: Site, random: Random, sale_id: int) -> str:
    name, stores, times = await _somebody(site, random, sale_id), _some_stores(random), random.randint(1, 10)
    cut = 0
    for _ in range(times):
        cut += sum(link.reset() for link in _links(site, name, stores))
        await trio.sleep(0.1)
    often = "once" if times == 1 else f"{times} times"
    return f"{cut} connections of {name} to {_and(stores)}, {often}"


def _slow(delay: Callable[[Random], float], rate: Callable[[Random], float]) -> Inject:
    async def slow(site: Site, random: Random, sale_id: int) -> str:
        name, stores, seconds = await _somebody(site, random, sale_id), _some_stores(random), random.uniform(1, 4)
        late, carried = delay(random), rate(random)
        with ExitStack() as stack:
            for link in _links(site, name, stores):
                stack.enter_context(link.slow(late, carried))
            await trio.sleep(seconds)
        return (
            f"{name} and {_and(stores)}: {late * 1000:.0f} ms each way, {carried / 1000:,.0f} KB/s, for {seconds:.1f} s"
        )

    return slow


async def _hold(
    site: Site, names: Sequence[str], stores: Sequence[str], directions: Sequence[str], seconds: float
) -> str:
    with ExitStack() as stack:
        for name in names:
            for store in stores:
                stack.enter_context(site.hosts[name].ways[store].held(*directions))
        await trio.sleep(seconds)
    return f"{_and(names)} and {_and(stores)}: no {_and(directions)} for {seconds:.1f} s"


def _seconds(random: Random) -> float:
    """Within the lease, past it, or past the time of a command."""
    low, high = random.choice(((0.2, LEASE_SECONDS), (LEASE_SECONDS, 3 * LEASE_SECONDS), (3.0, _LONGEST_SECONDS)))
    return random.uniform(low, high)


async def _somebody(site: Site, random: Random, sale_id: int) -> str:
    """The leader or a web process."""
    if random.random() < 0.5:
        await site.wait_standby()
        leader = await site.leader(sale_id)
        if leader is not None:
            return leader.name
    return site.web[random.choice(await site.web_up())].process.name


def _some_stores(random: Random) -> Sequence[str]:
    return random.choice(((REDIS,), (POSTGRES,), STORES))


def _links(site: Site, name: str, stores: Sequence[str]) -> list[Link]:
    return [_proxied(site.hosts[name].ways[store]) for store in stores]


def _proxied(way: Way) -> Link:
    assert isinstance(way, Link), "only a proxy can do this"
    return way


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)


def _none(random: Random) -> float:
    return 0.0


NETWORK_FAULTS = (
    Kind("cut-leader-redis", "network", "the leader and Redis hear nothing of each other", _cut_leader(REDIS)),
    Kind("cut-leader-postgres", "network", "the leader and PostgreSQL hear nothing", _cut_leader(POSTGRES)),
    Kind("cut-web-redis", "network", "one or all web processes and Redis hear nothing", _cut_web(REDIS)),
    Kind("cut-web-postgres", "network", "one or all web processes and PostgreSQL hear nothing", _cut_web(POSTGRES)),
    Kind("lose-answers", "network", "what a store answers to one process does not arrive", _lose(ANSWERS)),
    Kind("lose-requests", "network", "what one process asks a store does not arrive", _lose(REQUESTS)),
    Kind("late-commit", "network", "a leader's commit arrives after its successor has begun", _commit_late, PROXY),
    Kind("hang-connections", "network", "one process's connections hang open for good", _hang, PROXY),
    Kind("reset-connections", "network", "one process's connections are reset, up to 10 times", _reset, PROXY),
    Kind(
        "delay-network",
        "network",
        "everything between one process and a store takes up to 0.5 s longer",
        _slow(lambda random: random.uniform(0.01, 0.5), lambda random: 10_000_000),
        PROXY,
    ),
    Kind(
        "throttle-network",
        "network",
        "a connection of one process carries 2 to 50 KB/s",
        _slow(_none, lambda random: random.uniform(2_000, 50_000)),
        PROXY,
    ),
)
