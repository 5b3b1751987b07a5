"""Decides what this host leads: takes leases, starts what they entitle to, and stops it when trust in them ends.

A lease is the `CancelScope` around the leading task. Its deadline lies `margin_seconds` before Redis lets go, counted
from the moment the lease was asked for, and every renewal moves it. When in doubt, step down. The elector never sees a
command, and safety does not depend on it: every write is fenced in PostgreSQL.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from flash.errors import FlashError

log = logging.getLogger(__name__)

_RELEASE_SECONDS = 1.0
_RENEW_RETRY_SECONDS = 0.1
_PAUSE_SECONDS = 0.5
"""How long this host leaves a lease alone after its leading task has failed."""


class LeaseStore(Protocol):
    """Each method returns the keys for which it succeeded, or raises a `FlashError` if Redis gave no answer."""

    async def acquire(self, keys: Sequence[str]) -> list[str]: ...
    async def renew(self, keys: Sequence[str]) -> list[str]: ...
    async def release(self, keys: Sequence[str]) -> None: ...


class LeaseElector:
    """Leads as many of the wanted leases as this host can get.

    `list_wanted()` names the leases that want a leader. `lead(key)` leads until it is cancelled, fails, or has nothing
    left to lead. `on_release()` tells the other hosts that there is something to take.
    """

    def __init__(
        self,
        leases: LeaseStore,
        *,
        list_wanted: Callable[[], Awaitable[Sequence[str]]],
        lead: Callable[[str], Awaitable[None]],
        on_release: Callable[[], Awaitable[None]],
        lease_seconds: float,
        margin_seconds: float,
    ) -> None:
        self._leases = leases
        self._list_wanted = list_wanted
        self._lead = lead
        self._on_release = on_release
        self._trusted_seconds = lease_seconds - margin_seconds
        self._scan_seconds = min(1.0, lease_seconds / 3)
        self._renew_seconds = lease_seconds / 3
        self._led: dict[str, trio.CancelScope] = {}
        self._paused_until: dict[str, float] = {}
        self._woken = trio.Event()

    def wake_up(self) -> None:
        """Look for leases now instead of at the next scan."""
        self._woken.set()

    async def run(self) -> None:
        """Lead until cancelled; then release everything, all at once."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_renewing)
                while True:
                    self._woken = trio.Event()  # before the scan: a wake-up during it is about what it may miss
                    await self._scan(nursery)
                    with trio.move_on_after(self._scan_seconds):
                        await self._woken.wait()
        finally:
            await self._release(list(self._led))
            self._led.clear()

    async def _scan(self, nursery: trio.Nursery) -> None:
        """Try for every lease that wants a leader."""
        try:
            wanted = [key for key in await self._list_wanted() if key not in self._led and not self._is_paused(key)]
            asked_at = trio.current_time()
            # Shielded: nobody would release a lease that was acquired but not noted here.
            with trio.CancelScope(shield=True):
                acquired = await self._leases.acquire(wanted)
            for key in acquired:
                scope = trio.CancelScope(deadline=asked_at + self._trusted_seconds)
                self._led[key] = scope
                nursery.start_soon(self._lead_within, key, scope)
        except FlashError as error:
            log.warning("cannot look for leases: %s", error)

    def _is_paused(self, key: str) -> bool:
        until = self._paused_until.get(key)
        if until is not None and until <= trio.current_time():
            del self._paused_until[key]
            until = None
        return until is not None

    async def _keep_renewing(self) -> None:
        pause_seconds = self._renew_seconds
        while True:
            await trio.sleep(pause_seconds)
            pause_seconds = self._renew_seconds
            led = dict(self._led)
            asked_at = trio.current_time()
            try:
                renewed = set(await self._leases.renew(list(led)))
            except FlashError as error:
                log.warning("cannot renew %d leases: %s", len(led), error)
                pause_seconds = _RENEW_RETRY_SECONDS  # one lost answer need not cost a lease; trust ends by itself
                continue
            for key, scope in led.items():
                if self._led.get(key) is not scope:
                    continue  # released meanwhile, and perhaps acquired again: this answer is not about that one
                if key in renewed:
                    scope.deadline = asked_at + self._trusted_seconds
                else:
                    log.warning("lost %s", key)
                    scope.cancel()

    async def _lead_within(self, key: str, trust: trio.CancelScope) -> None:
        try:
            with trust:
                await self._lead(key)
            if trust.cancelled_caught:
                log.warning("stopped leading %s: we may no longer hold its lease", key)
        except FlashError as error:
            log.warning("stopped leading %s: %s", key, error)
            self._pause(key)
        except Exception:  # one broken sale must not take the others of this host with it
            log.exception("stopped leading %s because of a bug or damaged data", key)
            self._pause(key)
        finally:
            if trio.current_effective_deadline() > -math.inf:  # else this host stops, and `run` releases all at once
                # in this order: a scan in between would acquire it with our token, only for it to be released here
                await self._release([key])
                del self._led[key]

    def _pause(self, key: str) -> None:
        self._paused_until[key] = trio.current_time() + _PAUSE_SECONDS

    async def _release(self, keys: list[str]) -> None:
        """Shielded, so that the other hosts hear of it, and bounded, so that it cannot hang a shutdown."""
        with trio.move_on_after(_RELEASE_SECONDS, shield=True):
            try:
                await self._leases.release(keys)
                await self._on_release()
            except FlashError as error:
                log.warning("could not release %d leases, they will expire: %s", len(keys), error)
