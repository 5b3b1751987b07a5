"""Breaks the site, again and again, and waits after each fault until something was sold again.

Which fault comes next follows from the seed: every round has each chosen fault as often as it was chosen, shuffled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import trio

from drill.buyers import Crowd
from drill.faults import FAULTS
from drill.kinds import Kind
from drill.site import LEASE_SECONDS, Site

RESUME_SECONDS = LEASE_SECONDS + 5.0
"""How long after the last fault is healed the first purchase may be asked for and acknowledged."""


@dataclass(slots=True)
class Fault:
    """One fault that was injected. Times are Trio's; `resumed` is None if nothing was sold in time afterwards."""

    kind: Kind
    began: float
    healed: float = 0.0
    what: str = ""
    resumed: float | None = None
    was_idle: bool = False
    """Nobody wanted to buy anything meanwhile, so nothing follows from what was not sold."""


class Injector:
    """`at_once` faults of different targets at a time, `every_seconds` from one beginning to the next at least."""

    def __init__(
        self,
        site: Site,
        crowd: Crowd,
        names: Sequence[str],
        *,
        seed: int,
        at_once: int,
        every_seconds: float,
        tell: Callable[[Fault], None],
    ) -> None:
        self.faults: list[Fault] = []
        self._site, self._crowd, self._names, self._seed = site, crowd, names, seed
        self._at_once, self._every_seconds, self._tell = at_once, every_seconds, tell

    async def run(self, seconds: float, rounds: int = 0) -> None:
        """Begin no fault after that many seconds or, unless it is 0, rounds. All are healed when this returns."""
        deadline = trio.current_time() + seconds
        for number, kinds in enumerate(plan(self._names, self._seed, self._at_once)):
            began = trio.current_time()
            if began >= deadline or len(self.faults) >= rounds * len(self._names) > 0:
                return
            await self._break(kinds, number)
            await trio.sleep_until(min(began + self._every_seconds, deadline))

    async def _break(self, kinds: Sequence[Kind], number: int) -> None:
        faults = [Fault(kind, trio.current_time()) for kind in kinds]
        self.faults += faults
        async with trio.open_nursery() as nursery:
            for fault in faults:
                nursery.start_soon(self._inject, fault, Random(f"{self._seed} {number} {fault.kind.name}"))
        healed = max(fault.healed for fault in faults)
        resumed = await self._crowd.wait_sale(healed, RESUME_SECONDS)
        for fault in faults:
            fault.resumed = resumed
            fault.was_idle = any(time >= healed for time in self._crowd.idle_at[-1:])
            self._tell(fault)

    async def _inject(self, fault: Fault, random: Random) -> None:
        fault.what = await fault.kind.inject(self._site, random, self._crowd.shelves.sale_id)
        fault.healed = trio.current_time()


def plan(names: Sequence[str], seed: int, at_once: int) -> Iterator[list[Kind]]:
    """What happens together, for ever. A name that was chosen twice comes twice in a round."""
    random, waiting = Random(f"{seed} plan"), list[Kind]()
    while True:
        if not waiting:
            waiting = [FAULTS[name] for name in random.sample(names, len(names))]
        together: list[Kind] = []
        for kind in list(waiting):
            if len(together) < at_once and kind.target not in {other.target for other in together}:
                together.append(kind)
                waiting.remove(kind)
        yield together
