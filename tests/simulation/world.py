"""One run of one plan: hosts, stores, buyers and faults; then everything heals, and the sales must sell out."""

from __future__ import annotations

import gc
import logging
import math
import random as global_random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio
import trio._core._run as scheduler

from flash.domain import ItemId
from flash.errors import first_of
from flash.http.message import Request, Response
from tests.simulation.buyers import Buyer
from tests.simulation.checks import check
from tests.simulation.clock import VirtualClock
from tests.simulation.cluster import Cluster
from tests.simulation.faults import inflict
from tests.simulation.history import History
from tests.simulation.plan import FAULTS_END, Fault, Plan
from tests.simulation.timeline import WatchedDatabase

SELL_OUT_SECONDS, MORE_SECONDS = 60.0, 15.0
"""How long after everything has healed a sale may take to sell out, and how much longer each further one: the buyers
are as few, and their network may be slow."""


@dataclass
class Report:
    plan: Plan
    wrong: list[str]
    coverage: Counter[str]
    trace: list[str] = field(repr=False, default_factory=list)


def run_plan(plan: Plan, *, keeps_trace: bool = False, make: Callable[[Plan], World] | None = None) -> Report:
    """The same plan gives the same report. There is a trace if something is wrong, or if it `keeps_trace`.

    `make`: another kind of world.
    """
    world = (make or World)(plan)
    with _drawn_from(plan.seed), _logging_to(world.trace):
        try:
            trio.run(world.run, clock=world.clock)
        except BaseExceptionGroup as error:
            world.wrong.append(f"the run has crashed: {first_of(error)!r}")
    return world.report(keeps_trace)


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """What the processes draw, and which task comes first, follow from `seed`. So does when garbage is seen: never."""
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate(), global_random.getstate()
    was_collecting = gc.isenabled()
    gc.disable()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # as Hypothesis has it, through pytest-trio
    scheduler._r.seed(seed)
    global_random.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before[0]  # type: ignore[misc]
        scheduler._r.setstate(before[1])
        global_random.setstate(before[2])
        if was_collecting:
            gc.enable()


@contextmanager
def _logging_to(trace: list[Any]) -> Iterator[None]:
    handler, log = _Trace(trace), logging.getLogger("flash")
    before = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before


class _Trace(logging.Handler):
    """What the processes log, with virtual times. It is formatted only if somebody reads it."""

    def __init__(self, trace: list[tuple[float, str, tuple[Any, ...]]]) -> None:
        super().__init__()
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        self._trace.append((trio.current_time(), str(record.msg), tuple(record.args or ())))


class World:
    """The cluster, its buyers and its faults. It is also what buyers see."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = VirtualClock()
        self.trace: list[tuple[float, str, tuple[Any, ...]]] = []
        self.history = History()
        self.database = WatchedDatabase(random=Random(plan.seed))
        self.wrong: list[str] = []
        self._faults = Counter[str]()
        self.cluster: Cluster

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                await self._run_in(nursery)
        finally:
            self.clock.clear()

    async def _run_in(self, nursery: trio.Nursery) -> None:
        if self.plan.sales > 1:
            self.database.open_sales(self.plan.sales, self.plan.period_seconds, self.plan.stock, self.plan.user_limit)
        self.cluster = Cluster(self.plan, self.clock, nursery, self.database)
        self.cluster.start()
        for number in range(self.plan.buyers):
            luck = Random(self.plan.seed * 1_000 + number)
            buyer = Buyer(f"buyer-{number}", self, self.history, luck, self.plan.think_seconds)
            nursery.start_soon(buyer.run)
        for fault in self.plan.faults:
            nursery.start_soon(self._inflict, fault)
        await trio.sleep(FAULTS_END)
        await self.cluster.heal()
        await self._sell_out()
        nursery.cancel_scope.cancel()

    async def _inflict(self, fault: Fault) -> None:
        await trio.sleep(fault.at)
        self._faults[fault.kind] += 1
        self.trace.append((trio.current_time(), "FAULT %s", (fault,)))
        await inflict(self.cluster, fault)

    async def ask(self, which: int, request: Request) -> tuple[str, Response | None]:
        return await self.cluster.ask(which, request)

    def on_offer(self) -> tuple[list[ItemId], list[ItemId]]:
        stock = self.plan.stock
        unsold, all_items = list[ItemId](), list[ItemId]()
        for sale in reversed(self.database.begun_sales()):
            sold = {purchase.item_id for _, purchase in self.database.purchases(sale)}
            if len(sold) < stock and not (unsold and self.plan.one_at_a_time):
                items = [ItemId(item) for item in range((sale - 1) * stock + 1, sale * stock + 1)]
                all_items += items
                unsold += [item for item in items if item not in sold]
        return unsold, all_items

    async def _sell_out(self) -> None:
        """Of the sales that have begun; others may open meanwhile."""
        await trio.sleep_until(self.cluster.asleep_until + 0.1)
        wanted = self.database.begun_sales()
        seconds = SELL_OUT_SECONDS + MORE_SECONDS * (self.plan.sales - 1)
        with trio.move_on_after(seconds):
            while any(len(self.database.purchases(sale)) < self.plan.stock for sale in wanted):  # noqa: ASYNC110
                await trio.sleep(0.25)
            return
        left = {sale: self.plan.stock - len(self.database.purchases(sale)) for sale in wanted}
        self.wrong.append(f"not sold out {seconds:g} s after everything has healed; left by sale: {left}")

    def report(self, keeps_trace: bool) -> Report:
        wrong = self.wrong + check(self.plan, self.history, self.database)
        return Report(self.plan, wrong, self._coverage(), self._lines() if wrong or keeps_trace else [])

    def _coverage(self) -> Counter[str]:
        counts = Counter[str]({f"fault: {kind}": times for kind, times in self._faults.items()})
        counts.update({f"call: {said}": times for said, times in self.history.counts().items()})
        counts["run with many open sales"] += self.plan.sales > 1
        counts.update(self.cluster.redis.seen.counts)
        counts["host of the next release beside one of this"] += self.cluster.is_mixed
        counts["write that found the disk full"] += self.database.found_full
        counts["process that slept through the end of all faults"] += self.cluster.asleep_until > FAULTS_END
        counts["term begun"] += self.database.begun
        counts["term ended in its commit"] += self.database.ended_in_commit
        counts["performed after its caller was gone"] += self.cluster.network.late
        counts["call lost before it was performed"] += self.cluster.network.lost_before
        counts["answer lost after it was performed"] += self.cluster.network.lost_after
        counts["command decided again"] += self.database.decided_again
        counts["command found sold by an earlier batch"] += self.database.found_sold
        counts["sold"] += len(self.database.rows)
        counts["forgotten by a replaced database"] += sum(row.ends < math.inf for row in self.database.rows)
        counts["final no"] += len(self.history.final)
        for calls in self.history.purchases().values():
            unknown = any(call.said == "outcome_unknown" for call in calls)
            counts["unknown that was a yes"] += unknown and calls[-1].said == "ok"
            counts["unknown that was a no"] += unknown and calls[-1].said in ("item_sold", "sold_out")
        return counts

    def _lines(self) -> list[str]:
        lines = [(at, message % arguments if arguments else message) for at, message, arguments in self.trace]
        lines += [(call.begins, str(call)) for call in self.history.calls]
        lines += [(row.begins, str(row)) for row in self.database.rows]
        return [f"{at:8.3f}  {text}" for at, text in sorted(lines)]
