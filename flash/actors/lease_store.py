"""What the lease elector knows of a lease, and needs of the outside world: leases, and word of what comes for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio


class LeaseStore(Protocol):
    """Each method returns the keys for which it succeeded, or raises a `FlashError` if Redis gave no answer."""

    async def acquire(self, keys: Sequence[str]) -> list[str]: ...
    async def renew(self, keys: Sequence[str]) -> list[str]: ...
    async def release(self, keys: Sequence[str]) -> None: ...

    name: str
    """What this host is called by the others."""

    async def report(self, held: int) -> Mapping[str, int]:
        """Tell that we live and hold so many; how many each living host holds, we among them."""
        ...

    async def leave(self) -> None:
        """Have nothing handed over to us from now on."""
        ...

    async def hand_over(self, keys: Sequence[str], host: str) -> list[str]:
        """Make those of `keys` that are ours `host`'s, if it lives, for as long as if it had acquired them now."""
        ...


class Demand(Protocol):
    """Tells when somebody wants a lease to be led."""

    async def watch(self, keys: Sequence[str]) -> None:
        """From now on, have `LeaseElector.lead_now` called once for each of `keys` that something comes for."""
        ...

    def unwatch(self, keys: Sequence[str]) -> None: ...

    def quiet_seconds(self, key: str) -> float:
        """For how long nothing has come for `key`, which is led; 0 as long as it is not known."""
        ...


@dataclass(slots=True, eq=False)
class Lease:
    """One that is ours until `trusted_until` (Trio time). `leading` is the scope of the task that leads, if any."""

    trusted_until: float
    leading: trio.CancelScope | None = None
    is_put_down: bool = False
    heir: str | None = None
    """The host that it is handed over to when our task has ended."""

    def end(self) -> None:
        """Stop leading, if we lead."""
        if self.leading is not None:
            self.leading.cancel()
