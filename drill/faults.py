"""What can be done to a site, by name. Each fault begins, lasts, and is healed when its function returns.

A function returns what it did, in a few words. It takes its luck from a seeded `Random`, and breaks only processes that
the drill has started.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import trio

from drill.site import LEASE_SECONDS, Site
from flash.processes.child import Child
from flash.testing.cluster import Process

Inject: TypeAlias = Callable[[Site, Random, int], Awaitable[str]]
"""Breaks something of the site while the given sale is being bought, and heals it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`target` is what it breaks: two faults of one target never happen at once."""

    name: str
    target: str
    meaning: str
    inject: Inject


async def _kill_leader(site: Site, random: Random, sale_id: int) -> str:
    return await _end_leader(site, sale_id, Child.kill)


async def _stop_leader(site: Site, random: Random, sale_id: int) -> str:
    return await _end_leader(site, sale_id, Child.terminate)


async def _end_leader(site: Site, sale_id: int, how: Callable[[Process], None]) -> str:
    await site.wait_standby()
    leader = await site.leader(sale_id)
    if leader is None:
        return NOBODY_LED
    site.end(leader, how)
    site.nursery.start_soon(site.start_inventory)
    return leader.name


async def _pause_leader(site: Site, random: Random, sale_id: int) -> str:
    # half of them within the lease: nobody takes over, and the leader finds its own batch half done
    is_short = random.random() < 0.5
    seconds = random.uniform(0.2, LEASE_SECONDS) if is_short else random.uniform(LEASE_SECONDS, 3 * LEASE_SECONDS)
    await site.wait_standby()
    leader = await site.leader(sale_id)
    return NOBODY_LED if leader is None else await _pause(leader, seconds)


async def _pause(process: Process, seconds: float) -> str:
    process.pause()
    try:
        await trio.sleep(seconds)
    finally:
        process.resume()
    return f"{process.name} for {seconds:.1f} s"


async def _delete_lease(site: Site, random: Random, sale_id: int) -> str:
    key, times = site.lease_of(sale_id), random.randint(1, 15)
    for _ in range(times):
        site.tell_valkey(f"DEL {key}")
        await trio.sleep(0.1)
    return f"{times} times"


async def _kill_web(site: Site, random: Random, sale_id: int) -> str:
    place = random.choice(await site.web_up())
    web = site.web[place]
    process, web.is_up = web.process, False
    site.end(process, Child.kill)
    await process.wait()
    site.nursery.start_soon(site.start_web, place)
    return process.name


async def _pause_web(site: Site, random: Random, sale_id: int) -> str:
    place = random.choice(await site.web_up())
    return await _pause(site.web[place].process, random.uniform(0.2, 3.0))


async def _flush_redis(site: Site, random: Random, sale_id: int) -> str:
    return "answered " + site.tell_valkey("FLUSHALL").decode().strip()


async def _kill_redis(site: Site, random: Random, sale_id: int) -> str:
    return await _restart_valkey(site, random, signal.SIGKILL)


async def _stop_redis(site: Site, random: Random, sale_id: int) -> str:
    return await _restart_valkey(site, random, signal.SIGTERM)


async def _wipe_redis(site: Site, random: Random, sale_id: int) -> str:
    return await _restart_valkey(site, random, signal.SIGKILL, is_wiped=True)


async def _restart_valkey(site: Site, random: Random, how: signal.Signals, *, is_wiped: bool = False) -> str:
    seconds = random.uniform(0.0, 1.5)
    site.valkey.child.signal(how)
    await site.valkey.child.wait()
    if is_wiped:
        shutil.rmtree(site.valkey.home)
    await trio.sleep(seconds)
    await site.start_store(site.valkey)
    return f"away for {seconds:.1f} s"


async def _freeze_redis(site: Site, random: Random, sale_id: int) -> str:
    seconds = random.uniform(0.2, 4.0)
    site.valkey.pause()
    try:
        await trio.sleep(seconds)
    finally:
        site.valkey.resume()
    return f"for {seconds:.1f} s"


async def _restart_postgres(site: Site, random: Random, sale_id: int) -> str:
    return await _end_postgres(site, random, signal.SIGINT)


async def _crash_postgres(site: Site, random: Random, sale_id: int) -> str:
    return await _end_postgres(site, random, signal.SIGQUIT)


async def _kill_postgres(site: Site, random: Random, sale_id: int) -> str:
    return await _end_postgres(site, random, signal.SIGKILL)


async def _end_postgres(site: Site, random: Random, how: signal.Signals) -> str:
    seconds = random.uniform(0.0, 1.0)
    site.postgres.child.signal(how)
    await site.postgres.child.wait()
    await trio.sleep(seconds)
    await site.start_store(site.postgres)
    return f"away for {seconds:.1f} s, then recovering"


async def _freeze_postgres(site: Site, random: Random, sale_id: int) -> str:
    seconds = random.uniform(0.2, 4.0)
    site.postgres.pause()
    try:
        await trio.sleep(seconds)
    finally:
        site.postgres.resume()
    return f"for {seconds:.1f} s"


NOBODY_LED = "nobody led the sale"
_ALL = (
    Kind("kill-leader", "leader", "kill -9 of the process that leads the sale; another is started", _kill_leader),
    Kind("pause-leader", "leader", "SIGSTOP of the leader, within its lease or past it", _pause_leader),
    Kind("stop-leader", "leader", "SIGTERM of the leader: a planned hand-over", _stop_leader),
    Kind("delete-lease", "leader", "the sale's lease vanishes, up to 15 times in turn", _delete_lease),
    Kind("kill-web", "web", "kill -9 of a web process; another takes its port", _kill_web),
    Kind("pause-web", "web", "SIGSTOP of a web process for up to 3 s", _pause_web),
    Kind("flush-redis", "redis", "FLUSHALL", _flush_redis),
    Kind("kill-redis", "redis", "kill -9 of Valkey, started again with its data", _kill_redis),
    Kind("wipe-redis", "redis", "kill -9 of Valkey, started again without its data", _wipe_redis),
    Kind("stop-redis", "redis", "an orderly restart of Valkey", _stop_redis),
    Kind("freeze-redis", "redis", "SIGSTOP of Valkey for up to 4 s", _freeze_redis),
    Kind("restart-postgres", "postgres", "fast restart (SIGINT) of PostgreSQL", _restart_postgres),
    Kind("crash-postgres", "postgres", "immediate restart (SIGQUIT): recovery from the log", _crash_postgres),
    Kind("kill-postgres", "postgres", "kill -9 of the postmaster, then recovery", _kill_postgres),
    Kind("freeze-postgres", "postgres", "SIGSTOP of all of PostgreSQL for up to 4 s", _freeze_postgres),
)
FAULTS = {kind.name: kind for kind in _ALL}
GROUPS = {target: [kind.name for kind in _ALL if kind.target == target] for target in ("leader", "web", "redis")}
GROUPS["postgres"] = [kind.name for kind in _ALL if kind.target == "postgres"]
GROUPS["stores"] = [*GROUPS["redis"], *GROUPS["postgres"]]
GROUPS["all"] = list(FAULTS)
