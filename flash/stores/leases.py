"""Leases in Redis: who may try to lead. They elect and never fence; PostgreSQL checks every write.

A lease is a key that holds its owner's token and expires. The token exists before anything is sent, so after a lost
answer the next call finds out whether the lease is ours. redis-py's `Lock` cannot do that.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import chain
from typing import Any

from redis.asyncio import Redis

from flash.deployment import Deployment
from flash.errors import OutcomeUnknown
from flash.stores.redis import call_redis

_KEYS_MAX = 250
"""Leases that one call of a script is about: Redis does nothing else for as long as that takes."""

# Each script answers with 1 or 0 for each of its keys. A key that somebody has written over is nobody's lease: it is of
# another type (then `pcall` returns a table), or it has no expiry, which every lease has. SET replaces either.
_ACQUIRE = """
local done = {}
for n, key in ipairs(KEYS) do
    local owner = redis.pcall('GET', key)
    done[n] = 0
    if not owner or type(owner) == 'table' or owner == ARGV[1] or redis.call('PTTL', key) == -1 then
        redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
        done[n] = 1
    end
end
return done
"""
_RENEW = """
local done = {}
for n, key in ipairs(KEYS) do
    done[n] = redis.pcall('GET', key) == ARGV[1] and redis.call('PEXPIRE', key, ARGV[2]) or 0
end
return done
"""
_RELEASE = """
local done = {}
for n, key in ipairs(KEYS) do
    done[n] = redis.pcall('GET', key) == ARGV[1] and redis.call('DEL', key) or 0
end
return done
"""


# The hosts that live stand in one hash: until when by Redis's clock, in milliseconds, and how many leases they hold.
# What is not of this form, somebody else has written; what ends too late was written by another clock. Neither lives.
_REPORT = """
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
local time, living = redis.call('TIME'), {}
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %d', now + ARGV[2], ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local told = redis.call('HGETALL', KEYS[1])
for n = 1, #told, 2 do
    local ends, count = string.match(told[n + 1], '^(%d+) (%d%d?%d?%d?%d?%d?%d?%d?)$')
    local is_host = #told[n] == 32 and string.match(told[n], '^%x+$') and ends
    if is_host and tonumber(ends) > now and tonumber(ends) <= now + 2 * ARGV[2] then
        table.insert(living, told[n])
        table.insert(living, tonumber(count))
    else
        redis.call('HDEL', KEYS[1], told[n])
    end
end
return living
"""
_LEAVE = "return redis.pcall('HDEL', KEYS[1], ARGV[1]) == 1 and 1 or 0"
# Its first key is the hash of the hosts, the others are leases. A host that has not reported lately may be gone.
_HAND_OVER = """
local done, time, entry = {}, redis.call('TIME'), redis.pcall('HGET', KEYS[1], ARGV[3])
local ends = type(entry) == 'string' and tonumber(string.match(entry, '^(%d+) ')) or 0
local left = ends - (time[1] * 1000 + math.floor(time[2] / 1000))
local lives = left > ARGV[2] / 2 and left <= 2 * ARGV[2]
for n = 2, #KEYS do
    done[n - 1] = 0
    if lives and redis.pcall('GET', KEYS[n]) == ARGV[1] then
        redis.call('SET', KEYS[n], ARGV[3], 'PX', ARGV[2])
        done[n - 1] = 1
    end
end
return done
"""


class Leases:
    """The leases of one process. A call is one round trip however many keys it names.

    `keys` are what the deployment calls them; what Redis knows them by has the deployment's id in it.

    Every method raises `Unavailable` or `OutcomeUnknown`; after either, assume that nothing is held.
    """

    def __init__(self, deployment: Deployment, client: Redis, lease_seconds: float) -> None:
        self._deployment = deployment
        self._client = client
        self._milliseconds = int(lease_seconds * 1000)
        self.name = self._token = secrets.token_hex(16)
        self._hosts_key = deployment.key("hosts")

    async def acquire(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that are ours now, taken or kept, for `lease_seconds` from when this was called."""
        return await self._for_each(_ACQUIRE, keys, self._milliseconds)

    async def renew(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that were still ours, and are for another `lease_seconds` from when this was called."""
        return await self._for_each(_RENEW, keys, self._milliseconds)

    async def release(self, keys: Sequence[str]) -> None:
        """Give up those of `keys` that are ours; the others are left alone."""
        await self._for_each(_RELEASE, keys)

    async def report(self, held: int) -> dict[str, int]:
        """Tell that this process lives, for as long as a lease, and holds `held` leases.

        How many each living process holds, by the name that `hand_over` knows it by.
        """
        told = await self._call(_REPORT, self._hosts_key, self._token, self._milliseconds, held)
        try:
            return {name.decode("ascii"): int(count) for name, count in zip(told[::2], told[1::2], strict=True)}
        except (AttributeError, TypeError, ValueError) as error:
            raise OutcomeUnknown("Redis did not tell which hosts there are") from error

    async def leave(self) -> None:
        """Nothing is handed over to this process from now on."""
        await self._call(_LEAVE, self._hosts_key, self._token)

    async def hand_over(self, keys: Sequence[str], host: str) -> list[str]:
        """Those of `keys` that were ours and are `host`'s now, which lives. They were nobody's at no time."""
        named = [self._deployment.key(key) for key in keys]
        args = self._token, self._milliseconds, host
        done = await self._call(_HAND_OVER, self._hosts_key, *named, *args, keys=1 + len(named))
        return [key for key, is_done in zip(keys, done, strict=True) if is_done]

    async def _call(self, script: str, *args: str | int, keys: int = 1) -> list[Any]:
        answer: list[Any] = await call_redis(self._client, self._client.eval, script, keys, *args)
        return answer

    async def _for_each(self, script: str, keys: Sequence[str], *args: int) -> list[str]:
        async def run_scripts() -> list[list[int]]:
            pipeline = self._client.pipeline(transaction=False)
            for start in range(0, len(named), _KEYS_MAX):
                some = named[start : start + _KEYS_MAX]
                pipeline.eval(script, len(some), *some, self._token, *args)
            done: list[list[int]] = await pipeline.execute()
            return done

        if not keys:
            return []
        named = [self._deployment.key(key) for key in keys]
        done = chain.from_iterable(await call_redis(self._client, run_scripts))
        return [key for key, is_done in zip(keys, done, strict=True) if is_done]
