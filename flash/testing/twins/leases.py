"""The leases of `flash.stores.leases` in memory, on Trio's clock. No Redis and no randomness."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from flash.testing.twins.faults import Faults


class LeaseTable:
    """What one Redis holds: each lease's token, and until when (Trio time). The hosts of a test share it."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, float]] = {}
        self.hosts: dict[str, tuple[int, float]] = {}
        """How many leases each host says that it holds, and until when it counts as living."""

    def owner(self, key: str) -> str | None:
        """The token of whoever holds `key` now."""
        token, until = self.held.get(key, ("", 0.0))
        return token if until > trio.current_time() else None


class LeasesTwin:
    """One host's leases; `token` must be its own."""

    def __init__(self, table: LeaseTable, token: str, lease_seconds: float) -> None:
        self.faults = Faults()
        self.name = token
        self._table = table
        self._token = token
        self._lease_seconds = lease_seconds

    async def acquire(self, keys: Sequence[str]) -> list[str]:
        await self.faults.before("acquire", keys)
        acquired = [key for key in keys if self._table.owner(key) in (None, self._token)]
        self._hold(acquired)
        await self.faults.after("acquire", keys)
        return acquired

    async def renew(self, keys: Sequence[str]) -> list[str]:
        await self.faults.before("renew", keys)
        renewed = self._ours(keys)
        self._hold(renewed)
        await self.faults.after("renew", keys)
        return renewed

    async def release(self, keys: Sequence[str]) -> None:
        await self.faults.before("release", keys)
        for key in self._ours(keys):
            del self._table.held[key]
        await self.faults.after("release", keys)

    async def report(self, held: int) -> dict[str, int]:
        await self.faults.before("report", held)
        now = trio.current_time()
        self._table.hosts[self.name] = held, now + self._lease_seconds
        living = {name: count for name, (count, until) in self._table.hosts.items() if until > now}
        await self.faults.after("report", held)
        return living

    async def leave(self) -> None:
        await self.faults.before("leave")
        self._table.hosts.pop(self.name, None)
        await self.faults.after("leave")

    async def hand_over(self, keys: Sequence[str], host: str) -> list[str]:
        await self.faults.before("hand_over", keys, host)
        _, lives_until = self._table.hosts.get(host, (0, 0.0))
        reported_lately = lives_until - trio.current_time() > self._lease_seconds / 2
        handed = self._ours(keys) if reported_lately else []
        until = trio.current_time() + self._lease_seconds
        self._table.held.update((key, (host, until)) for key in handed)
        await self.faults.after("hand_over", keys, host)
        return handed

    def _ours(self, keys: Sequence[str]) -> list[str]:
        return [key for key in keys if self._table.owner(key) == self._token]

    def _hold(self, keys: Sequence[str]) -> None:
        until = trio.current_time() + self._lease_seconds
        self._table.held.update((key, (self._token, until)) for key in keys)
