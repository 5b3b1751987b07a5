"""PostgreSQL in memory, as far as checkouts, terms and the schedule go: the same methods, the same answers, no SQL.

Its clock is Trio's, counted on from `START`, so a test moves it. What schema.sql refuses, `sell` refuses as a
`Violation`, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import trio

from flash.codes import SECRET_BYTES
from flash.domain import (
    Attempt,
    Checkout,
    CheckoutId,
    CheckoutOutcome,
    Code,
    Epoch,
    ItemId,
    MalformedAttempt,
    Purchase,
    RecordedAttempt,
    Redemption,
    Sale,
    SaleId,
    Term,
)
from flash.errors import TermEnded
from flash.testing.twins.faults import Faults

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
_LEAD_SECONDS = 5
_OUTDATED_SECONDS = 10


class Violation(Exception):
    """A constraint of schema.sql would be broken: a bug in whoever asked."""


@dataclass(slots=True)
class _Sale:
    id: SaleId
    starts_at: datetime
    first_item_id: ItemId
    stock: int
    user_limit: int
    epoch: int = 0
    sold_out_at: datetime | None = None
    purchases: dict[ItemId, tuple[int, Purchase]] = field(default_factory=dict)
    """By item, each with the epoch that sold it."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    attempt: Attempt | MalformedAttempt
    outcome: CheckoutOutcome
    code: Code | None
    attempted_at: datetime


class DatabaseTwin:
    """One database. `random` makes the codes' secrets."""

    def __init__(self, *, code_ttl_seconds: float = 3600.0, random: Random | None = None) -> None:
        self.faults = Faults()
        self.attempts: list[_Attempt] = []
        """Every attempt that was ever recorded; a checkout's id is its place in here, from 1."""
        self._code_ttl = timedelta(seconds=code_ttl_seconds)
        self._random = random or Random(0)
        self._sales: dict[SaleId, _Sale] = {}

    def now(self) -> datetime:
        """The time by the database's clock."""
        return START + timedelta(seconds=trio.current_time())

    def purchases(self, sale_id: SaleId) -> list[tuple[int, Purchase]]:
        """What has been sold, each with the epoch that sold it, in order of items."""
        return [sold for _, sold in sorted(self._sales[sale_id].purchases.items())]

    # checkouts

    async def record_attempts(self, attempts: list[Attempt | MalformedAttempt]) -> list[RecordedAttempt]:
        await self.faults.before("record_attempts", attempts)
        recorded = [self._record(attempt) for attempt in attempts]
        await self.faults.after("record_attempts", attempts)
        return recorded

    async def find_redemptions(self, codes: list[Code]) -> list[Redemption]:
        await self.faults.before("find_redemptions", codes)
        found = [
            Redemption(self._checkout(code.sale_id, code.checkout_id), self._bought(code.checkout_id)) for code in codes
        ]
        await self.faults.after("find_redemptions", codes)
        return found

    # terms

    async def list_leadable(self) -> list[SaleId]:
        await self.faults.before("list_leadable")
        now, lead = self.now(), timedelta(seconds=_LEAD_SECONDS)
        found = [
            sale.id
            for sale in self._sales.values()
            if sale.starts_at <= now + lead and (sale.sold_out_at is None or sale.sold_out_at > now - lead)
        ]
        await self.faults.after("list_leadable")
        return found

    async def begin_term(self, sale_id: SaleId) -> tuple[Term, Sale, list[Purchase]]:
        await self.faults.before("begin_term", sale_id)
        sale = self._sales.get(sale_id)
        if sale is None:
            raise TermEnded(f"sale {sale_id} does not exist")
        sale.epoch += 1
        begun = Term(sale_id, Epoch(sale.epoch)), self._view(sale), [p for _, p in self.purchases(sale_id)]
        await self.faults.after("begin_term", sale_id)
        return begun

    async def find_checkouts(
        self, sale_id: SaleId, ids: list[CheckoutId]
    ) -> tuple[datetime, dict[CheckoutId, Checkout]]:
        await self.faults.before("find_checkouts", sale_id, ids)
        found = {id: checkout for id in ids if (checkout := self._checkout(sale_id, id)) is not None}
        now = self.now()
        await self.faults.after("find_checkouts", sale_id, ids)
        return now, found

    async def sell(self, term: Term, purchases: list[Purchase]) -> None:
        await self.faults.before("sell", term, purchases)
        sale = self._sales.get(term.sale_id)
        if sale is None or sale.epoch != term.epoch:
            raise TermEnded(f"epoch {term.epoch} of sale {term.sale_id} is over")
        self._check(sale, purchases)
        sale.purchases.update({p.item_id: (term.epoch, p) for p in purchases})
        if len(sale.purchases) == sale.stock:
            sale.sold_out_at = max(p.purchased_at for p in purchases)
        await self.faults.after("sell", term, purchases)

    # the schedule

    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]:
        await self.faults.before("prepare_sales", period_seconds, size, user_limit)
        self._discard_outdated(period_seconds, size, user_limit)
        now = self.now().timestamp()
        period = int(now // period_seconds)
        made = [
            self._make_sale(starts_at, size, user_limit)
            for starts_at in (datetime.fromtimestamp((period + ahead) * period_seconds, UTC) for ahead in (0, 1))
            if all(sale.starts_at != starts_at for sale in self._sales.values())
        ]
        await self.faults.after("prepare_sales", period_seconds, size, user_limit)
        return made, (period + 1) * period_seconds - now

    async def unsold_sales(self) -> tuple[SaleId, frozenset[SaleId]]:
        await self.faults.before("unsold_sales")
        unsold = frozenset(sale.id for sale in self._sales.values() if sale.sold_out_at is None)
        newest = max(self._sales, default=SaleId(0))
        await self.faults.after("unsold_sales")
        return newest, unsold

    def _record(self, attempt: Attempt | MalformedAttempt) -> RecordedAttempt:
        sale = self._sale_of(attempt.item_id) if isinstance(attempt, Attempt) else None
        outcome = self._outcome(attempt, sale)
        code = None
        if outcome is CheckoutOutcome.ISSUED:
            assert sale is not None
            code = Code(sale.id, CheckoutId(len(self.attempts) + 1), self._random.randbytes(SECRET_BYTES))
        self.attempts.append(_Attempt(attempt, outcome, code, self.now()))
        if code is not None or sale is None:
            return RecordedAttempt(outcome, code)
        return RecordedAttempt(outcome, None, (sale.starts_at - self.now()).total_seconds())

    def _outcome(self, attempt: Attempt | MalformedAttempt, sale: _Sale | None) -> CheckoutOutcome:
        if isinstance(attempt, MalformedAttempt):
            return CheckoutOutcome.INVALID_REQUEST
        if sale is None:
            return CheckoutOutcome.ITEM_NOT_FOUND
        if sale.starts_at > self.now():
            return CheckoutOutcome.SALE_NOT_OPEN
        if sale.sold_out_at is not None:
            return CheckoutOutcome.SOLD_OUT
        return CheckoutOutcome.ITEM_SOLD if attempt.item_id in sale.purchases else CheckoutOutcome.ISSUED

    def _sale_of(self, item_id: ItemId) -> _Sale | None:
        for sale in self._sales.values():
            if sale.first_item_id <= item_id < sale.first_item_id + sale.stock:
                return sale
        return None

    def _checkout(self, sale_id: SaleId, id: CheckoutId) -> Checkout | None:
        if not 1 <= id <= len(self.attempts):
            return None
        row = self.attempts[id - 1]
        if row.code is None or row.code.sale_id != sale_id:
            return None
        assert isinstance(row.attempt, Attempt)
        is_expired = row.attempted_at < self.now() - self._code_ttl
        return Checkout(row.code.secret, row.attempt.item_id, row.attempt.user_id, is_expired)

    def _bought(self, id: CheckoutId) -> Purchase | None:
        sold = (purchase for sale in self._sales.values() for _, purchase in sale.purchases.values())
        return next((purchase for purchase in sold if purchase.checkout_id == id), None)

    def _check(self, sale: _Sale, purchases: list[Purchase]) -> None:
        """The constraints of the table `purchases`, and of `sales.sold`."""
        made = [purchase for _, purchase in sale.purchases.values()] + purchases
        codes = [p.checkout_id for p in made]
        if len(set(codes)) < len(codes) or any(self._bought(p.checkout_id) for p in purchases):
            raise Violation("a code is sold twice")
        if len({p.item_id for p in made}) < len(made):
            raise Violation("an item is sold twice")
        if len({(p.user_id, p.slot) for p in made}) < len(made):
            raise Violation("a slot is taken twice")
        if any(not 1 <= p.slot <= 10 for p in purchases) or len(made) > sale.stock:
            raise Violation("more is sold than may be")

    def _discard_outdated(self, period_seconds: int, size: int, user_limit: int) -> None:
        """A prepared sale that was made with other settings makes way, unless it begins at once."""
        soon = self.now() + timedelta(seconds=_OUTDATED_SECONDS)
        for sale in list(self._sales.values()):
            is_other = (sale.stock, sale.user_limit) != (
                size,
                user_limit,
            ) or sale.starts_at.timestamp() % period_seconds
            if is_other and sale.starts_at > soon and sale.epoch == 0 and not sale.purchases:
                del self._sales[sale.id]

    def _make_sale(self, starts_at: datetime, size: int, user_limit: int) -> SaleId:
        sale_id = SaleId(max(self._sales, default=0) + 1)
        first = max((sale.first_item_id + sale.stock for sale in self._sales.values()), default=1)
        self._sales[sale_id] = _Sale(sale_id, starts_at, ItemId(first), size, user_limit)
        return sale_id

    def _view(self, sale: _Sale) -> Sale:
        is_open = sale.starts_at <= self.now()
        sold = len(sale.purchases)
        return Sale(sale.id, sale.starts_at, sale.first_item_id, sale.stock, sale.user_limit, sold, is_open)


class RedemptionsTwin:
    """One look-up at a time, as the redemptions' batcher answers."""

    def __init__(self, database: DatabaseTwin) -> None:
        self._database = database

    async def ask(self, code: Code) -> Redemption:
        (redemption,) = await self._database.find_redemptions([code])
        return redemption
