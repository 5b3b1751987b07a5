"""What is done to the processes of the service: ended, frozen, deposed. Only those that the drill has started."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import trio

from drill.kinds import NOBODY_LED, Kind
from drill.site import LEASE_SECONDS, Site
from flash.processes.child import Child
from flash.testing.cluster import Process


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
    return "once" if times == 1 else f"{times} times"


async def _kill_scheduler(site: Site, random: Random, sale_id: int) -> str:
    await site.wait_standby()
    scheduler = site.scheduler()
    if scheduler is None:
        return "nobody scheduled"
    site.end(scheduler, Child.kill)
    site.nursery.start_soon(site.start_inventory)
    return scheduler.name


async def _stop_web(site: Site, random: Random, sale_id: int) -> str:
    return await _end_web(site, random, Child.terminate)


async def _kill_web(site: Site, random: Random, sale_id: int) -> str:
    return await _end_web(site, random, Child.kill)


async def _end_web(site: Site, random: Random, how: Callable[[Process], None]) -> str:
    place = random.choice(await site.web_up())
    web = site.web[place]
    process, web.is_up = web.process, False
    site.end(process, how)
    await process.wait()
    site.nursery.start_soon(site.start_web, place)
    return process.name


async def _pause_web(site: Site, random: Random, sale_id: int) -> str:
    place = random.choice(await site.web_up())
    return await _pause(site.web[place].process, random.uniform(0.2, 3.0))


PROCESS_FAULTS = (
    Kind("kill-leader", "leader", "kill -9 of the process that leads the sale; another is started", _kill_leader),
    Kind("pause-leader", "leader", "SIGSTOP of the leader, within its lease or past it", _pause_leader),
    Kind("stop-leader", "leader", "SIGTERM of the leader: a planned hand-over", _stop_leader),
    Kind("delete-lease", "leader", "the sale's lease vanishes, up to 15 times in turn", _delete_lease),
    Kind("kill-scheduler", "leader", "kill -9 of the process that makes the sales", _kill_scheduler),
    Kind("stop-web", "web", "SIGTERM of a web process under load; another takes its port", _stop_web),
    Kind("kill-web", "web", "kill -9 of a web process; another takes its port", _kill_web),
    Kind("pause-web", "web", "SIGSTOP of a web process for up to 3 s", _pause_web),
)
