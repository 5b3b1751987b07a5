"""What was true in the database, and when. It watches the twin from outside, and believes no fence."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import trio

from flash.domain import (
    Approved,
    Attempt,
    CheckoutId,
    Code,
    Confirmed,
    ItemId,
    MalformedAttempt,
    Pause,
    Purchase,
    RecordedAttempt,
    Sale,
    SaleId,
    Term,
)
from flash.errors import StorageFull, TermEnded
from flash.testing.twins.database import START, DatabaseTwin, Violation
from tests.simulation.spells import Spells


@dataclass
class Row:
    """One purchase that was stored, from when to when, and by which term. Only a replaced database ends one."""

    sale_id: SaleId
    purchase: Purchase
    code: Code
    term: Term
    begins: float
    ends: float = math.inf

    def __str__(self) -> str:
        p = self.purchase
        return f"item {p.item_id} is sold to {p.user_id} by checkout {p.checkout_id}, epoch {self.term.epoch}"

    def overlaps(self, begins: float, ends: float) -> bool:
        return self.begins <= ends and begins < self.ends


class WatchedDatabase(DatabaseTwin):
    """The twin, and a log of what it did."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.rows: list[Row] = []
        self.problems: list[str] = []
        self.terms: dict[SaleId, Term] = {}
        self.begun = self.ended_in_commit = self.replaced = self.decided_again = self.found_sold = 0
        self._decided: set[tuple[CheckoutId, str]] = set()
        self.forgotten_attempts: list[tuple[Attempt | MalformedAttempt, str]] = []
        self.known_codes = Spells[Code]()
        self.known_sales = Spells[SaleId]()
        self.paused_sales = Spells[SaleId]()
        self.no_room = 0.0
        """The share of writes for which the disk has no room."""
        self.found_full = 0
        self._luck = Random(1)

    def open_sales(self, count: int, period_seconds: int, size: int, user_limit: int) -> None:
        """As if the schedule had run for a while: `count` sales have begun, and nothing of them is sold."""
        for ago in reversed(range(count)):
            self._make_sale(START - timedelta(seconds=ago * period_seconds), size, user_limit)
        self.known_sales.become(self._sales)

    def begun_sales(self) -> list[SaleId]:
        """In order of their beginnings."""
        return [sale.id for sale in self._sales.values() if sale.starts_at <= self.now()]

    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]:
        self._find_room()
        made = await super().prepare_sales(period_seconds, size, user_limit)
        self.known_sales.become(self._sales)
        return made

    async def record_attempts(self, attempts: list[Attempt | MalformedAttempt]) -> list[RecordedAttempt]:
        self._find_room()
        recorded = await super().record_attempts(attempts)
        for attempt in recorded:
            if attempt.code is not None:
                self.known_codes.begin(attempt.code)
        return recorded

    async def pause(self, sale_id: SaleId, by: str, reason: str) -> Pause | None:
        pause = await super().pause(sale_id, by, reason)
        if pause is not None:
            self.paused_sales.begin(sale_id)
        return pause

    async def resume(self, sale_id: SaleId, by: str, reason: str) -> bool:
        self.paused_sales.end(sale_id)
        return await super().resume(sale_id, by, reason)

    def _find_room(self) -> None:
        if self.no_room and self._luck.random() < self.no_room:
            self.found_full += 1
            raise StorageFull("no space left on device")

    async def begin_term(self, sale_id: SaleId) -> tuple[Term, Sale, datetime]:
        self._find_room()
        term, sale, now = await super().begin_term(sale_id)
        self.begun += 1
        self.terms[sale_id] = term
        return term, sale, now

    async def confirm(
        self, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        if approved:
            self._find_room()
        decided = {(a.code.checkout_id, a.request_id) for a in approved}
        self.decided_again += len(decided & self._decided)
        self._decided |= decided
        try:
            confirmed = await super().confirm(term, sold_before, approved, redeemed)
        except Violation as error:
            self.problems.append(f"a constraint was broken: {error}")
            raise
        except TermEnded:
            self.ended_in_commit += 1
            raise
        self.found_sold += len(confirmed.receipts)
        if confirmed.sold and self.terms.get(term.sale_id) is not term:
            self.problems.append(f"a leader that was deposed has sold: epoch {term.epoch} of sale {term.sale_id}")
        if confirmed.sold and self.paused_sales.is_so(term.sale_id):
            self.problems.append(f"sold while sale {term.sale_id} was paused: {confirmed.sold}")
        for ask, purchase in zip(approved, confirmed.sold, strict=False):
            self.rows.append(Row(term.sale_id, purchase, ask.code, term, trio.current_time()))
        return confirmed

    def state(self) -> object:
        return super().state(), dict(self.terms)

    def restore(self, state: Any) -> None:
        state, terms = state
        super().restore(state)
        self.terms = dict(terms)

    def replace(self, state: object) -> None:
        """Come back as the older version of itself that `state` is."""
        before = [(attempt.attempt, attempt.outcome.value) for attempt in self.attempts]
        self.restore(state)
        self.replaced += 1
        self.forgotten_attempts += before[len(self.attempts) :]
        self.known_codes.become({attempt.code for attempt in self.attempts if attempt.code is not None})
        self.known_sales.become(self._sales)
        self.paused_sales.become([sale.id for sale in self._sales.values() if sale.pause is not None])
        here = {purchase.checkout_id: purchase for sale in self.sale_ids() for _, purchase in self.purchases(sale)}
        for row in self.rows:
            if row.ends == math.inf and here.get(row.purchase.checkout_id) is not row.purchase:
                row.ends = trio.current_time()

    def of_item(self, item_id: ItemId) -> Iterator[Row]:
        return (row for row in self.rows if row.purchase.item_id == item_id)

    def of_checkout(self, checkout_id: CheckoutId) -> Iterator[Row]:
        return (row for row in self.rows if row.purchase.checkout_id == checkout_id)

    def most_at_once(self, rows: Iterator[Row], begins: float, ends: float) -> int:
        """How many of `rows` were there at the same time, at most, between `begins` and `ends`."""
        changes: defaultdict[float, int] = defaultdict(int)
        for row in rows:
            if row.overlaps(begins, ends):
                changes[max(row.begins, begins)] += 1
                changes[row.ends] -= 1
        count = most = 0
        for at in sorted(changes):
            count += changes[at]
            most = max(most, count) if at <= ends else most
        return most
