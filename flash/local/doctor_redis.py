"""What `flash doctor` finds out about Redis and its Sentinels, in words that say what to do.

It changes nothing there. It connects as the service does, so what it cannot reach, the service cannot either.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from flash import bridge
from flash.config import Config, mask
from flash.errors import ConfigError, FlashError, OutcomeUnknown, Unavailable
from flash.local.finding import Finding
from flash.local.redis_advice import advice
from flash.processes.lifecycle import redis_address
from flash.stores.keys import read_secrets
from flash.stores.postgres import open_postgres
from flash.stores.redis import eviction_warning, open_redis
from flash.stores.redis_acl import acl_lines
from flash.stores.redis_address import RedisAddress, SentinelGroup
from flash.stores.redis_link import RedisLink
from flash.stores.sentinel import Sentinels, UnknownName

_SUBJECT = "REDIS_URL"
_TIMEOUT_SECONDS = 5.0


def redis_findings(config: Config) -> Iterator[Finding]:
    """Whether the service can use the Redis of REDIS_URL."""
    url = config.redis_url
    if url is None:
        yield Finding("ok", _SUBJECT, "unset: `flash up` starts an embedded Valkey")
        return
    try:
        yield from bridge.run_in_loop(partial(_look, redis_address(config), mask(url)))
    except ConfigError as error:
        yield Finding("fail", _SUBJECT, str(error).removeprefix(f"{_SUBJECT} "))


async def _look(address: RedisAddress, shown: str) -> list[Finding]:
    found = [] if address.sentinels is None else await _look_at_sentinels(address, address.sentinels)
    if any(finding.verdict == "fail" for finding in found):
        return found
    return [*found, *await _look_at_server(address, shown)]


async def _look_at_server(address: RedisAddress, shown: str) -> list[Finding]:
    try:
        async with RedisLink(address, timeout_seconds=_TIMEOUT_SECONDS) as link:
            await link.execute(("PING",))
            replicas = None if address.sentinels is None else (await link.execute(("ROLE",)))[0][2]
        async with open_redis(address, timeout_seconds=_TIMEOUT_SECONDS) as client:
            warning = await eviction_warning(client)
    except (Unavailable, OutcomeUnknown) as error:
        return [Finding("fail", _SUBJECT, f"{shown}: {error}{advice(error)}")]
    found = [Finding("ok", _SUBJECT, f"{shown} answers")]
    if replicas == []:
        text = "no replica is connected to the primary, so nothing can take over: start one with replicaof"
        found.append(Finding("warn", "replicas", text))
    if warning is None:
        return [*found, Finding("ok", "eviction", "maxmemory-policy is noeviction")]
    return [*found, Finding("fail", "eviction", warning)]


async def _look_at_sentinels(address: RedisAddress, group: SentinelGroup) -> list[Finding]:
    sentinels = Sentinels(address, timeout_seconds=_TIMEOUT_SECONDS)
    named: set[tuple[str, int]] = set()
    silent: list[Unavailable] = []
    ignorant: list[Unavailable] = []
    for host, port in group.hosts:
        try:
            named.add(await sentinels.ask(host, port, seconds=_TIMEOUT_SECONDS / len(group.hosts)))
        except UnknownName as error:
            ignorant.append(error)
        except Unavailable as error:
            silent.append(error)
    return list(_judge(group, named, silent, ignorant))


def _judge(
    group: SentinelGroup, named: set[tuple[str, int]], silent: list[Unavailable], ignorant: list[Unavailable]
) -> Iterator[Finding]:
    if not named and ignorant:
        text = f"{ignorant[0]}: the name stands behind the hosts in REDIS_URL, `SENTINEL MASTERS` lists those there are"
        yield Finding("fail", "Sentinel", text)
    elif not named:
        reasons = "; ".join(map(str, silent))
        yield Finding("fail", "Sentinel", f"no Sentinel can be asked: {reasons}{advice(silent[0])}")
    elif len(named) > 1:
        text = "the Sentinels name different primaries, which passes when a fail-over ends: look again in a minute"
        yield Finding("warn", "Sentinel", text)
    for error in [*silent, *ignorant] if named else []:
        yield Finding("warn", "Sentinel", f"{error}{advice(error)}")
    if named and len(group.hosts) == 1:
        text = "REDIS_URL names one Sentinel: name all of them with commas between, so that one may be away"
        yield Finding("warn", "Sentinel", text)
    if len(named) == 1 and not silent and not ignorant:
        ((host, port),) = named
        yield Finding("ok", "Sentinel", f"the primary of {group.name} is {host}:{port}")


def acl_for(config: Config) -> tuple[list[str], list[str]]:
    """The `ACL SETUSER` lines for REDIS_URL, and what is to be said of them.

    Raises `ConfigError` if REDIS_URL cannot be used.
    """
    address = redis_address(config) if config.redis_url else RedisAddress.parse("redis://")
    notes = [
        "put a password, the one in REDIS_URL, where PASSWORD stands",
        "type it at the prompt of redis-cli on every server (a shell would take > and ~ for itself)",
        "then ACL SAVE if the server has an aclfile, else CONFIG REWRITE, or a restart forgets it",
    ]
    if address.sentinels is not None:
        notes.append("the first line is for the servers, the second for the Sentinels (sentinel_password in REDIS_URL)")
    try:
        deployment_id = _deployment_id(config)
    except FlashError as error:
        notes.append(f"these are the keys of every deployment, since the database does not tell ours ({error})")
        return acl_lines(address, None), notes
    return acl_lines(address, deployment_id), notes


def _deployment_id(config: Config) -> str:
    """Raises `FlashError` if there is no DATABASE_URL, or no database there that has been migrated."""

    async def ask(url: str) -> str:
        async with open_postgres(url, connections_max=1, timeout_seconds=5.0, name="flash doctor") as database:
            return (await read_secrets(database)).deployment.id

    return bridge.run_in_loop(ask, config.require("database_url"))
