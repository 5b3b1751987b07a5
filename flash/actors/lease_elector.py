"""Decides what this host leads: takes leases, starts what they entitle to, and stops it when trust in them ends.

The first of the wanted leases are led at once. Of all others it only holds the lease, which costs a few bytes, and
leads when something comes for one, until nothing has come for a while. So a thousand quiet sales are one renewal.

Hosts tell each other how many leases they hold, and one that has too many hands some over, quiet ones first: in Redis a
lease changes its owner without ever being nobody's.

A lease that is led is the `CancelScope` around the leading task. Its deadline lies `margin_seconds` before Redis lets
go, counted from the moment the lease was asked for, and every renewal moves it. When in doubt, step down. The elector
never sees a command, and safety does not depend on it: every write is fenced in PostgreSQL.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Collection, Sequence

import trio

from flash.actors.lease_sharing import ProvenHosts, surplus
from flash.actors.lease_store import Demand, Lease, LeaseStore
from flash.errors import FlashError
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

LED_ALWAYS = 8
"""So many of the newest sales are led whether or not anybody buys: their first buyers should not wait."""
IDLE_SECONDS = 30.0
"""A sale that nothing came for in this time is put down, unless it is one of those."""
_TAKE_MAX = 256
"""Leases that are asked for at a time, so that the first of them are led before the last are taken."""
_HANDED_OVER_MAX, _SHARE_SECONDS = 64, 1.0
"""Quiet leases that are handed over at a time, and how long the others have then to tell what they hold."""
_FAILED_SECONDS = 30.0
"""For so long after a term has failed here this host takes no part in sharing: it would be given leases for ever."""
_RELEASE_SECONDS = 1.0
_RENEW_RETRY_SECONDS = 0.1
_PAUSE_SECONDS = 0.5
"""How long this host leaves a lease alone after its leading task has failed."""
_NAMED_MAX = 3


class LeaseElector:
    """Holds as many of the wanted leases as this host can get, and leads those that somebody wants to be led.

    `list_wanted()` names the leases that want a leader, the most urgent first; the first `led_always` are led in any
    case. `lead(key)` leads until it is cancelled, fails, or has nothing left to lead. `on_release()` tells the other
    hosts that there is something to take.
    """

    def __init__(
        self,
        leases: LeaseStore,
        demand: Demand,
        *,
        list_wanted: Callable[[], Awaitable[Sequence[str]]],
        lead: Callable[[str], Awaitable[None]],
        on_release: Callable[[], Awaitable[None]],
        lease_seconds: float,
        margin_seconds: float,
        led_always: int = LED_ALWAYS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._leases = leases
        self._demand = demand
        self._list_wanted = list_wanted
        self._lead = lead
        self._on_release = on_release
        self._trusted_seconds = lease_seconds - margin_seconds
        self._scan_seconds = min(1.0, lease_seconds / 3)
        self._renew_seconds = lease_seconds / 3
        self._led_always = led_always
        self._idle_seconds = idle_seconds
        self._held: dict[str, Lease] = {}
        self._wanted: Sequence[str] = ()
        self._hosts = ProvenHosts(leases.name, 2 * lease_seconds)
        self._shared_at = self._failed_at = -math.inf
        self._warn = ThrottledLogger(log)
        self._paused_until: dict[str, float] = {}
        self._woken = trio.Event()
        self._tasks: trio.Nursery | None = None

    @property
    def held(self) -> Collection[str]:
        """The leases of this host, those that it leads and those that it would lead at once."""
        return self._held.keys()

    def wake_up(self) -> None:
        """Look for leases now instead of at the next scan."""
        self._woken.set()

    def lead_now(self, key: str) -> None:
        """Something has come for `key`: lead it if its lease is ours."""
        lease = self._held.get(key)
        if lease is None or lease.leading is not None:
            return
        if lease.trusted_until > trio.current_time():
            self._start(key, lease)
        else:  # the next scan finds out whose it is
            self._forget([key])
            self.wake_up()

    async def run(self) -> None:
        """Lead until cancelled; then release everything, all at once."""
        try:
            async with trio.open_nursery() as self._tasks:
                self._tasks.start_soon(self._keep_renewing)
                while True:
                    self._woken = trio.Event()  # before the scan: a wake-up during it is about what it may miss
                    await self._scan()
                    with trio.move_on_after(self._scan_seconds):
                        await self._woken.wait()
        finally:
            self._demand.unwatch(list(self._held))
            await self._leave()
            self._held.clear()

    async def _scan(self) -> None:
        """Try for every lease that wants a leader, and let go of those that want none."""
        try:
            self._wanted = wanted = await self._list_wanted()
            await self._give_back_unwanted(set(wanted))
            missing = [key for key in wanted if key not in self._held and not self._is_paused(key)]
            for start in range(0, len(missing), _TAKE_MAX):
                await self._take(missing[start : start + _TAKE_MAX], wanted[: self._led_always])
        except FlashError as error:
            log.warning("cannot look for leases: %s", error)
            return
        self._lead_first(wanted[: self._led_always])
        self._put_down_idle(wanted[: self._led_always])
        try:
            await self._share()  # at last: who cannot share leads all the same
        except FlashError as error:
            self._warn("cannot share leases with other hosts: %s", error)

    async def _take(self, keys: Sequence[str], first: Sequence[str]) -> None:
        asked_at = trio.current_time()
        # Shielded: nobody would release a lease that was acquired but not noted here.
        with trio.CancelScope(shield=True):
            acquired = await self._leases.acquire(keys)
        self._held.update((key, Lease(asked_at + self._trusted_seconds)) for key in acquired)
        self._lead_first(first)
        if quiet := [key for key in acquired if self._is_quiet(key)]:
            await self._demand.watch(quiet)

    def _is_quiet(self, key: str) -> bool:
        """Whether the lease is ours and nobody leads."""
        lease = self._held.get(key)
        return lease is not None and lease.leading is None

    def _lead_first(self, first: Sequence[str]) -> None:
        for key in first:
            self.lead_now(key)

    def _put_down_idle(self, first: Sequence[str]) -> None:
        """What it remembers of a sale is in the database: it is read again when somebody comes."""
        for key, lease in self._held.items():
            if lease.leading is None or key in first or self._demand.quiet_seconds(key) < self._idle_seconds:
                continue
            lease.is_put_down = True
            lease.end()

    async def _share(self) -> None:
        """Tell the others what we hold, and hand some over if that is more than our share."""
        if trio.current_time() < self._failed_at + _FAILED_SECONDS:
            await self._leases.leave()
            return
        counts = self._hosts.among(await self._leases.report(len(self._held)), trio.current_time())
        if trio.current_time() < self._shared_at + _SHARE_SECONDS:
            return
        for host, number in surplus(counts, self._leases.name, _HANDED_OVER_MAX).items():
            self._shared_at = trio.current_time()
            if not await self._hand_over(number, host):
                break

    async def _hand_over(self, number: int, host: str) -> bool:
        """Quiet ones, of the oldest sales; if there are none, one that is led, after its end. Whether it went well."""
        oldest_first = [key for key in reversed(self._wanted) if key in self._held]
        if quiet := [key for key in oldest_first if self._is_quiet(key)][:number]:
            self._forget(quiet)
            return await self._give(quiet, host)
        if led := [lease for lease in map(self._held.__getitem__, oldest_first) if lease.leading and not lease.heir]:
            led[0].heir = host
            led[0].end()
        return True

    async def _give(self, keys: Sequence[str], host: str) -> bool:
        """Shielded, so that the new owner hears of them, and bounded. Should that fail, the next scan finds out."""
        with trio.move_on_after(_RELEASE_SECONDS, shield=True):
            try:
                await self._leases.hand_over(keys, host)
                await self._on_release()
            except FlashError as error:
                log.warning("could not hand over %d leases: %s", len(keys), error)
            else:
                return True
        return False

    async def _give_back_unwanted(self, wanted: Collection[str]) -> None:
        if unwanted := [key for key in self._held if key not in wanted and self._is_quiet(key)]:
            self._forget(unwanted)
            await self._leases.release(unwanted)

    def _forget(self, keys: Sequence[str]) -> None:
        """These are not ours any more, or not for sure. Nobody leads them."""
        self._demand.unwatch(keys)
        for key in keys:
            del self._held[key]

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
            asked, asked_at = dict(self._held), trio.current_time()
            try:
                renewed = set(await self._leases.renew(list(asked)))
            except FlashError as error:
                log.warning("cannot renew %d leases: %s", len(asked), error)
                pause_seconds = _RENEW_RETRY_SECONDS  # one lost answer need not cost a lease; trust ends by itself
                continue
            # One that was released meanwhile, and perhaps acquired again, is not what this answer is about.
            still = {key: lease for key, lease in asked.items() if self._held.get(key) is lease}
            self._trust(still, renewed, asked_at + self._trusted_seconds)

    def _trust(self, leases: dict[str, Lease], renewed: Collection[str], until: float) -> None:
        """Those of `leases` that were renewed are ours `until` then; the others are lost."""
        for key, lease in leases.items():
            if key in renewed:
                lease.trusted_until = until
                if lease.leading is not None:
                    lease.leading.deadline = until
        lost = [key for key in leases if key not in renewed]
        if lost:
            log.warning("lost %d leases: %s", len(lost), ", ".join(lost[:_NAMED_MAX]))
        for key in lost:
            leases[key].trusted_until = -math.inf
            leases[key].end()
        self._forget([key for key in lost if leases[key].leading is None])

    def _start(self, key: str, lease: Lease) -> None:
        assert self._tasks is not None
        self._demand.unwatch([key])
        lease.leading, lease.is_put_down = trio.CancelScope(deadline=lease.trusted_until), False
        self._tasks.start_soon(self._lead_within, key, lease, lease.leading)

    async def _lead_within(self, key: str, lease: Lease, trust: trio.CancelScope) -> None:
        is_kept = False
        try:
            with trust:
                await self._lead(key)
            is_ours = lease.trusted_until > trio.current_time()
            is_kept = is_ours and (lease.is_put_down or lease.heir is not None or not trust.cancelled_caught)
            if not is_kept:
                log.warning("stopped leading %s: we may no longer hold its lease", key)
        except FlashError as error:
            log.warning("stopped leading %s: %s", key, error)
            self._note_failure(key)
        except Exception:  # one broken sale must not take the others of this host with it
            log.exception("stopped leading %s because of a bug or damaged data", key)
            self._note_failure(key)
        finally:
            if trio.current_effective_deadline() > -math.inf:  # else this host stops, and `run` releases all at once
                await self._after_leading(key, lease, is_kept)

    async def _after_leading(self, key: str, lease: Lease, is_kept: bool) -> None:
        if is_kept and lease.heir is not None:
            await self._give([key], lease.heir)
            del self._held[key]
        elif is_kept:
            lease.leading = None
            await self._demand.watch([key])
        else:
            # in this order: a scan in between would acquire it with our token, only for it to be released here
            await self._release([key])
            del self._held[key]

    async def _leave(self) -> None:
        """Give back everything, also what was handed over to us and we have not seen yet."""
        with trio.move_on_after(_RELEASE_SECONDS, shield=True):
            try:
                await self._leases.leave()
            except FlashError as error:
                log.warning("could not say goodbye to the other hosts: %s", error)
            await self._try_to_release(list({**self._held, **dict.fromkeys(self._wanted)}))

    def _note_failure(self, key: str) -> None:
        self._failed_at = trio.current_time()
        self._paused_until[key] = self._failed_at + _PAUSE_SECONDS

    async def _release(self, keys: list[str]) -> None:
        """Shielded, so that the other hosts hear of it, and bounded, so that it cannot hang a shutdown."""
        with trio.move_on_after(_RELEASE_SECONDS, shield=True):
            await self._try_to_release(keys)

    async def _try_to_release(self, keys: list[str]) -> None:
        try:
            await self._leases.release(keys)
            await self._on_release()
        except FlashError as error:
            log.warning("could not release %d leases, they will expire: %s", len(keys), error)
