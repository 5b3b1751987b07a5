"""The sale: web processes, the leader, the stores, and buyers who want an item, any item.

A buyer looks at the page, checks out an item that is shown as unsold, buys it, and looks again if somebody was quicker.
After a 503 they come back when they were told to. Nobody comes back after "sold out". The rules of admission are the
service's own, and so are its defaults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from benchmarks.hour.costs import Costs, Size
from benchmarks.hour.stations import Action, Batches, Clock, Cores, Postgres
from flash.actors.admission import Admission, retry_after
from flash.actors.fair_shares import UserShares
from flash.domain import SaleId
from flash.errors import Overloaded

_SALE = SaleId(1)
_PAGE_SECONDS = 0.25
"""How old what a buyer sees may be."""


@dataclass(slots=True, eq=False)
class Web:
    """One web process: a core, its batches of checkouts, and its admission of purchases."""

    core: Cores
    checkouts: Batches
    admission: Admission
    knows_sold_out: bool = False


@dataclass(slots=True, eq=False)
class Buyer:
    number: int
    came_at: float
    web: Web
    item: int = 0
    asked_at: float = 0.0


@dataclass
class Hour:
    """One run. Times are virtual seconds since the hour."""

    size: Size
    costs: Costs
    seed: int = 1
    clock: Clock = field(default_factory=Clock)
    answers: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, list[float]] = field(default_factory=lambda: {"checkout": [], "purchase": []})
    stayed: list[float] = field(default_factory=list)
    """From coming to going, of everybody."""
    sold_out_at: float = 0.0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.postgres = Postgres(self.clock, self.costs, self.size.postgres_cores)
        self.redis = Cores(self.clock, 1)
        self.leader_core = Cores(self.clock, 1)
        self.leader = Batches(self.clock, self._lead, workers=1, wait_max=float("inf"), waiting_limit=10**9)
        self.webs = [self._web() for _ in range(self.size.web_processes)]
        self._unsold = list(range(self.size.stock))
        self._place = list(range(self.size.stock))
        """Where an item stands among the unsold; -1 when it is sold."""
        self._page = list(self._unsold)

    def _web(self) -> Web:
        window, shares = self.size.window, UserShares(64)
        admission = Admission(waiting_max=4_096, wait_max_seconds=1.0, window=window, user_shares=shares)
        return Web(Cores(self.clock, 1), Batches(self.clock, self.postgres.execute), admission)

    def run(self) -> None:
        self._arrive(0)
        self._refresh_page()
        self.clock.run()

    def _arrive(self, number: int) -> None:
        self._look(Buyer(number, self.clock.now, self.random.choice(self.webs)))
        if number + 1 < self.size.buyers:
            when = (number + 1) * self.size.arrive_within / self.size.buyers
            self.clock.at(when, lambda: self._arrive(number + 1))

    def _refresh_page(self) -> None:
        self._page = list(self._unsold)
        if self._unsold and self.clock.now < self.size.arrive_within + self.size.patience:
            self.clock.at(self.clock.now + _PAGE_SECONDS, self._refresh_page)

    def _look(self, buyer: Buyer) -> None:
        if not self._page:
            self._leave(buyer, "page: sold out")
            return
        buyer.item, buyer.asked_at = self.random.choice(self._page), self.clock.now
        self._checkout(buyer)

    def _checkout(self, buyer: Buyer) -> None:
        web = buyer.web
        if not web.checkouts.has_room():
            wait = web.checkouts.wait.seconds(len(web.checkouts.waiting), self.clock.now)
            web.core.work(self.costs.web_refusal, lambda: self._come_back(buyer, "checkout: 503", wait, self._checkout))
            return
        web.core.work(self.costs.web_checkout, lambda: web.checkouts.ask(lambda: self._checked_out(buyer)))

    def _checked_out(self, buyer: Buyer) -> None:
        self._heard("checkout", buyer)
        if not self._unsold:
            self._leave(buyer, "checkout: sold out")
        elif self._place[buyer.item] < 0:
            self.answers["checkout: item sold"] += 1
            self._look(buyer)
        else:
            self.answers["checkout: issued"] += 1
            buyer.asked_at = self.clock.now
            self._purchase(buyer)

    def _purchase(self, buyer: Buyer) -> None:
        web = buyer.web
        if web.knows_sold_out:
            web.core.work(self.costs.web_refusal, lambda: self._leave(buyer, "purchase: sold out"))
            return
        try:
            ticket = web.admission.admit(_SALE, buyer.number, self.clock.now)
        except Overloaded as error:
            seconds = error.retry_after_seconds or 1.0
            web.core.work(
                self.costs.web_refusal, lambda: self._come_back(buyer, "purchase: 503", seconds, self._purchase)
            )
            return

        def decided() -> None:
            outcome = self._decide(buyer.item)
            self.clock.at(self.clock.now + 2 * self.costs.hop, lambda: answered(outcome))

        def answered(outcome: str) -> None:
            ticket.done(self.clock.now, is_answered=True)
            self._purchased(buyer, outcome)

        def travel() -> None:
            self.redis.work(
                self.costs.redis_purchase,
                lambda: self.clock.at(self.clock.now + 2 * self.costs.hop, lambda: self.leader.ask(decided)),
            )

        web.core.work(self.costs.web_purchase, travel)

    def _lead(self, rows: int, then: Action) -> None:
        """One batch of the leader: its core, then one statement."""
        self.leader_core.work(rows * self.costs.leader_purchase, lambda: self.postgres.execute(rows, then))

    def _decide(self, item: int) -> str:
        if not self._unsold:
            return "sold out"
        place = self._place[item]
        if place < 0:
            return "item sold"
        last = self._unsold.pop()
        if last != item:
            self._unsold[place] = last
            self._place[last] = place
        self._place[item] = -1
        if not self._unsold:
            self.sold_out_at = self.clock.now
        return "sold"

    def _purchased(self, buyer: Buyer, outcome: str) -> None:
        self._heard("purchase", buyer)
        if outcome == "item sold":
            self.answers["purchase: item sold"] += 1
            self._look(buyer)
            return
        buyer.web.knows_sold_out |= outcome == "sold out"
        self._leave(buyer, f"purchase: {outcome}")

    def _come_back(self, buyer: Buyer, answer: str, seconds: float, again: Callable[[Buyer], None]) -> None:
        """After the time that a 503 names, with the jitter that the service adds to it."""
        self.answers[answer] += 1
        wait = max(1.0, retry_after(seconds)) * (1 + self.random.random() / 2)
        if self.clock.now + wait > buyer.came_at + self.size.patience:
            self._leave(buyer, "left: no patience")
            return

        def ask() -> None:
            buyer.asked_at = self.clock.now
            again(buyer)

        self.clock.at(self.clock.now + wait, ask)

    def _heard(self, what: str, buyer: Buyer) -> None:
        self.latencies[what].append(self.clock.now - buyer.asked_at)

    def _leave(self, buyer: Buyer, answer: str) -> None:
        self.answers[answer] += 1
        self.stayed.append(self.clock.now - buyer.came_at)
