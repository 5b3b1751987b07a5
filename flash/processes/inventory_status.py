"""What an inventory process tells of itself: its card and samples for the status board."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import trio

from flash.actors.leader_counts import LeaderCounts
from flash.actors.led_terms import LedTerms, TermEvent
from flash.actors.term_turns import TermTurns
from flash.board.identity import Identity
from flash.board.messages import Card, Led, Mark, MarkKind, Queue, Sample
from flash.domain import SaleId
from flash.purchase_rpc.server import PurchaseServer
from flash.stores.postgres import Postgres
from flash.stores.redis_link import RedisLink

_ONE_BY_ONE_MAX = 3
"""More than so many events of a kind become one mark."""
_TOLD_MAX = 100
"""Of so many sales, the newest, the card tells that they are led. The control room shows no more than 50."""


@dataclass(frozen=True, slots=True)
class InventoryParts:
    """Those parts of an inventory process that know something worth telling.

    `list_held()`: the sales that it leads, and those that it would lead as soon as somebody comes.
    """

    counts: LeaderCounts
    terms: LedTerms
    turns: TermTurns
    server: PurchaseServer
    list_held: Callable[[], Collection[SaleId]]
    databases: tuple[Postgres, ...]
    links: tuple[RedisLink, ...]


class InventoryStatus:
    def __init__(self, identity: Identity, parts: InventoryParts) -> None:
        self._identity = identity
        self._parts = parts
        self._told_until = trio.current_time()

    def card(self) -> Card:
        newest = heapq.nlargest(_TOLD_MAX, self._parts.list_held())
        return self._identity.card(queues_of(self._parts), {}, [self._led(sale_id) for sale_id in newest])

    def _led(self, sale_id: SaleId) -> Led:
        term = self._parts.terms.current.get(sale_id)
        return Led(sale_id, 0, 0.0) if term is None else Led(sale_id, term.epoch, trio.current_time() - term.since)

    def sample(self) -> Sample:
        return Sample(self._identity.name, self._identity.age_seconds, sold=self._parts.counts.sold)

    def new_marks(self) -> list[Mark]:
        """The take-overs and failed terms since this was last called."""
        events = [event for event in self._parts.terms.events if event.at > self._told_until]
        self._told_until = max((event.at for event in events), default=self._told_until)
        taken = [event for event in events if event.is_take_over]
        failed = [event for event in events if event.reason is not None]
        return [*self._marks("take_over", taken), *self._marks("term_failed", failed)]

    def _marks(self, kind: MarkKind, events: Sequence[TermEvent]) -> list[Mark]:
        now, who = trio.current_time(), f"{self._identity.host}:{self._identity.pid}"
        if len(events) > _ONE_BY_ONE_MAX:
            verb = "took over" if kind == "take_over" else "failed to lead"
            return [Mark(now - events[0].at, kind, f"{who} {verb} {len(events)} sales")]
        return [Mark(now - event.at, kind, _text(who, event)) for event in events]


def queues_of(parts: InventoryParts) -> list[Queue]:
    return [Queue("commands", parts.server.waiting, None)]


def _text(who: str, event: TermEvent) -> str:
    if event.reason is None:
        return f"{who} took over sale {event.sale_id}, epoch {event.epoch}"
    return f"{who} failed to lead sale {event.sale_id}: {event.reason}"
