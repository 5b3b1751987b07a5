"""What is done to PostgreSQL and Valkey: ended, frozen, emptied, demoted, filled. Each heals what it did."""

from __future__ import annotations

import shutil
import signal
from random import Random

import trio

from drill.kinds import Kind
from drill.site import Site
from flash.local.embedded.store import Store
from flash.testing.stores import psql


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
    return await _freeze(site.valkey, random)


async def _freeze(store: Store, random: Random) -> str:
    seconds = random.uniform(0.2, 4.0)
    store.pause()
    try:
        await trio.sleep(seconds)
    finally:
        store.resume()
    return f"for {seconds:.1f} s"


async def _fill_redis(site: Site, random: Random, sale_id: int) -> str:
    return await _configure_redis(site, "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", random.uniform(0.2, 4.0))


async def _demote_redis(site: Site, random: Random, sale_id: int) -> str:
    # its primary would be at a port where nobody listens; it takes no writes, as after an election that it lost
    return await _configure_redis(site, "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", random.uniform(0.2, 4.0))


async def _configure_redis(site: Site, break_it: str, heal_it: str, seconds: float) -> str:
    answer = site.tell_valkey(break_it).decode().strip()
    try:
        await trio.sleep(seconds)
    finally:
        site.tell_valkey(heal_it)
    return f"for {seconds:.1f} s, answered {answer}"


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


async def _read_only_postgres(site: Site, random: Random, sale_id: int) -> str:
    """As while a standby is being promoted: sessions that begin now cannot write, and those of before are ended."""
    seconds = random.uniform(0.2, 4.0)
    _become(site, "on")
    try:
        await trio.sleep(seconds)
    finally:
        _become(site, "off")
    return f"for {seconds:.1f} s"


def _become(site: Site, read_only: str) -> None:
    psql(
        site.postgres,
        f"""
        SET default_transaction_read_only = off;
        ALTER DATABASE flash SET default_transaction_read_only = {read_only};
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'flash' AND pid <> pg_backend_pid();
        """,
    )


async def _freeze_postgres(site: Site, random: Random, sale_id: int) -> str:
    return await _freeze(site.postgres, random)


STORE_FAULTS = (
    Kind("flush-redis", "redis", "FLUSHALL", _flush_redis),
    Kind("kill-redis", "redis", "kill -9 of Valkey, started again with its data", _kill_redis),
    Kind("wipe-redis", "redis", "kill -9 of Valkey, started again without its data", _wipe_redis),
    Kind("stop-redis", "redis", "an orderly restart of Valkey", _stop_redis),
    Kind("freeze-redis", "redis", "SIGSTOP of Valkey for up to 4 s", _freeze_redis),
    Kind("fill-redis", "redis", "Valkey is out of memory (maxmemory) for up to 4 s", _fill_redis),
    Kind("demote-redis", "redis", "Valkey is demoted to a replica (READONLY) for up to 4 s", _demote_redis),
    Kind("restart-postgres", "postgres", "fast restart (SIGINT) of PostgreSQL", _restart_postgres),
    Kind("crash-postgres", "postgres", "immediate restart (SIGQUIT): recovery from the log", _crash_postgres),
    Kind("kill-postgres", "postgres", "kill -9 of the postmaster, then recovery", _kill_postgres),
    Kind("read-only-postgres", "postgres", "PostgreSQL takes no writes for up to 4 s", _read_only_postgres),
    Kind("freeze-postgres", "postgres", "SIGSTOP of all of PostgreSQL for up to 4 s", _freeze_postgres),
)
