"""What each fault of a plan does to a cluster, and for how long. Those that `plan` draws are exactly these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from flash.purchase_rpc import messages
from tests.simulation.cluster import Cluster, Running
from tests.simulation.plan import Fault
from tests.simulation.stores import DEPLOYMENT

_LOSS = 0.2
_HEAVY_LOSS = 0.5
_NO_ROOM = 0.7
_SLOW_SECONDS = 0.3
_EXPIRE_EVERY_SECONDS = 0.3
_STANDBY_DOWN_SECONDS_MAX = 1.0


async def inflict(cluster: Cluster, fault: Fault) -> None:
    """Returns when the fault is over."""
    await FAULTS[fault.kind](cluster, fault)


# Hosts


def _inventory(cluster: Cluster, fault: Fault) -> Running | None:
    leaders = {cluster.redis.leases.owner(key) for key in cluster.redis.leases.held} if fault.which % 2 else set()
    leading = {number: running for number, running in cluster.inventories.items() if running.host.name in leaders}
    return _one_of(leading or cluster.inventories, fault)


def _web(cluster: Cluster, fault: Fault) -> Running | None:
    return _one_of(cluster.webs, fault)


def _one_of(running: dict[int, Running], fault: Fault) -> Running | None:
    """It may be gone already."""
    return running.get(sorted(running)[fault.which % len(running)]) if running else None


_Choose = Callable[[Cluster, Fault], Running | None]


async def _kill(choose: _Choose, cluster: Cluster, fault: Fault) -> None:
    if (victim := choose(cluster, fault)) is not None:
        victim.host.is_dead = True
        victim.life.cancel()


async def _stop(choose: _Choose, cluster: Cluster, fault: Fault) -> None:
    if (victim := choose(cluster, fault)) is not None:
        victim.stop.set()


async def _pause(choose: _Choose, cluster: Cluster, fault: Fault) -> None:
    if (victim := choose(cluster, fault)) is not None:
        victim.host.door.shut()
        cluster.asleep_until = max(cluster.asleep_until, trio.current_time() + fault.seconds)
        await trio.sleep(fault.seconds)
        victim.host.door.open(cluster.random)


async def _pause_and_forget(cluster: Cluster, fault: Fault) -> None:
    """The leases are lost while a leader stands still: its successor begins before it knows."""
    async with trio.open_nursery() as both:
        both.start_soon(_pause, _inventory, cluster, fault)
        await trio.sleep(cluster.random.uniform(0.0, 0.3))
        _lose_redis(cluster)


async def _upgrade(choose: _Choose, cluster: Cluster, fault: Fault) -> None:
    """It is stopped, and starts again as a process of the next release."""
    if (victim := choose(cluster, fault)) is not None:
        cluster.upgrade(victim)


async def _cut(choose: _Choose, store: str, cluster: Cluster, fault: Fault) -> None:
    if (victim := choose(cluster, fault)) is not None:
        victim.host.cut_from.add(store)
        await trio.sleep(fault.seconds)
        victim.host.cut_from.discard(store)


async def _cut_web(cluster: Cluster, fault: Fault) -> None:
    await _cut(_web, "redis" if fault.which % 2 else "postgres", cluster, fault)


# Both stores


async def _freeze(name: str, cluster: Cluster, fault: Fault) -> None:
    cluster.store(name).door.shut()
    await trio.sleep(fault.seconds)
    cluster.store(name).door.open(cluster.random)


async def _restart(name: str, cluster: Cluster, fault: Fault) -> None:
    """Redis has no persistence here: it comes back empty."""
    store = cluster.store(name)
    store.connections += 1
    store.is_down = True
    await trio.sleep(fault.seconds)
    if name == "redis":
        _lose_redis(cluster)
    store.is_down = False


# PostgreSQL


async def _fill_disk(cluster: Cluster, fault: Fault) -> None:
    """Some writes find room still."""
    cluster.database.no_room = _NO_ROOM
    await trio.sleep(fault.seconds)
    cluster.database.no_room = 0.0


async def _pause_sale(cluster: Cluster, fault: Fault) -> None:
    """By the operator."""
    begun = cluster.database.begun_sales()
    if begun:
        sale_id = begun[-1 - fault.which % len(begun)]
        await cluster.database.pause(sale_id, "operator", "a fault")
        await trio.sleep(fault.seconds)
        await cluster.database.resume(sale_id, "operator", "a fault")


async def _replace(cluster: Cluster, fault: Fault) -> None:
    """An asynchronous standby takes over, which lacks what came after its last state."""
    cluster.postgres.connections += 1
    cluster.postgres.is_down = True
    await trio.sleep(min(fault.seconds, _STANDBY_DOWN_SECONDS_MAX))
    # No standby knows what came after it fell behind, also not a later one.
    last = fault.at - 0.5 * fault.which
    cluster.states = [(at, state) for at, state in cluster.states if at <= last] or cluster.states[:1]
    cluster.database.replace(cluster.states[-1][1])
    if cluster.is_healed:  # the operator sees that sales are paused that they have resumed
        await cluster.resume_sales()
    cluster.postgres.is_down = False


# Redis


def _lose_redis(cluster: Cluster) -> None:
    cluster.redis.streams.lose_everything()
    cluster.redis.leases.held.clear()


async def _flush(cluster: Cluster, fault: Fault) -> None:
    _lose_redis(cluster)


async def _demote(cluster: Cluster, fault: Fault) -> None:
    cluster.redis.is_replica = True
    await trio.sleep(fault.seconds)
    cluster.redis.is_replica = False


async def _expire_early(cluster: Cluster, fault: Fault) -> None:
    """Again and again: whoever looks next leads, while its predecessor still trusts its lease."""
    with trio.move_on_after(fault.seconds):
        while True:
            cluster.redis.leases.held.clear()
            await trio.sleep(_EXPIRE_EVERY_SECONDS)


async def _expire_late(cluster: Cluster, fault: Fault) -> None:
    held = cluster.redis.leases.held
    held.update({key: (token, until + fault.seconds) for key, (token, until) in held.items()})


async def _set_clock(cluster: Cluster, fault: Fault) -> None:
    cluster.redis.streams.set_clock(-fault.seconds if fault.which % 2 else fault.seconds)


async def _forge(cluster: Cluster, fault: Fault) -> None:
    inbox = messages.inbox_key(DEPLOYMENT, cluster.database.sale_ids()[0])
    cluster.redis.streams.perform(("XADD", inbox, "*", "b", "forged", "s", "0" * 16))


async def _wrong_type(cluster: Cluster, fault: Fault) -> None:
    inbox = messages.inbox_key(DEPLOYMENT, cluster.database.sale_ids()[-1])
    cluster.redis.streams.perform(("SET", inbox, "x"))


# The network


async def _lose(name: str, share: float, cluster: Cluster, fault: Fault) -> None:
    cluster.store(name).loss = share
    await trio.sleep(fault.seconds)
    cluster.store(name).loss = 0.0


async def _lossy(cluster: Cluster, fault: Fault) -> None:
    async with trio.open_nursery() as both:
        both.start_soon(_lose, "postgres", _LOSS, cluster, fault)
        both.start_soon(_lose, "redis", _LOSS, cluster, fault)


async def _slow(cluster: Cluster, fault: Fault) -> None:
    cluster.network.delay_seconds = _SLOW_SECONDS
    await trio.sleep(fault.seconds)
    cluster.network.delay_seconds = cluster.plan.delay_seconds


FAULTS: dict[str, Callable[[Cluster, Fault], Awaitable[None]]] = {
    "kill": partial(_kill, _inventory),
    "stop": partial(_stop, _inventory),
    "pause": partial(_pause, _inventory),
    "pause and forget": _pause_and_forget,
    "cut redis": partial(_cut, _inventory, "redis"),
    "cut postgres": partial(_cut, _inventory, "postgres"),
    "kill web": partial(_kill, _web),
    "stop web": partial(_stop, _web),
    "pause web": partial(_pause, _web),
    "cut web": _cut_web,
    "upgrade": partial(_upgrade, _inventory),
    "upgrade web": partial(_upgrade, _web),
    "pause sale": _pause_sale,
    "disk full": _fill_disk,
    "freeze redis": partial(_freeze, "redis"),
    "restart redis": partial(_restart, "redis"),
    "flush redis": _flush,
    "demote redis": _demote,
    "lease expires early": _expire_early,
    "lease expires late": _expire_late,
    "set redis clock": _set_clock,
    "forge a command": _forge,
    "wrong type": _wrong_type,
    "freeze postgres": partial(_freeze, "postgres"),
    "restart postgres": partial(_restart, "postgres"),
    "replace postgres": _replace,
    "lossy": _lossy,
    "lossy redis": partial(_lose, "redis", _HEAVY_LOSS),
    "lossy postgres": partial(_lose, "postgres", _HEAVY_LOSS),
    "slow": _slow,
}
