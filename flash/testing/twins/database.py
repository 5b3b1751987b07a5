"""PostgreSQL in memory, as far as checkouts, terms and the schedule go: the same methods, the same answers, no SQL.

Its clock is Trio's, counted on from `START`, so a test moves it. What schema.sql refuses, `confirm` refuses as
a `Violation`, and changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import trio

from flash.codes import KEY_BYTES, digest_user
from flash.domain import (
    Approved,
    Attempt,
    CheckoutId,
    CheckoutOutcome,
    Code,
    Confirmed,
    Epoch,
    ItemId,
    LegacyCode,
    MalformedAttempt,
    Pause,
    Purchase,
    RecordedAttempt,
    Redemption,
    RequestId,
    Sale,
    SaleId,
    Term,
    UserId,
)
from flash.errors import TermEnded
from flash.inventory import ReceiptKey, receipt_key
from flash.testing.twins.faults import Faults
from flash.testing.twins.rows import AttemptRow, SaleRow

TOKEN_BYTES = 16
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
_LEAD_SECONDS = 5
_OUTDATED_SECONDS = 10


class Violation(Exception):
    """A constraint of schema.sql would be broken: a bug in whoever asked."""


class DatabaseTwin:
    """One database. `random` makes the terms' tokens."""

    def __init__(self, *, code_ttl_seconds: float = 3600.0, random: Random | None = None) -> None:
        self.faults = Faults()
        self.digest_user: Callable[[UserId], bytes] = partial(digest_user, bytes(KEY_BYTES))
        """What stands for a user in the codes that it issues."""
        self.attempts: list[AttemptRow] = []
        """Every attempt that was ever recorded; a checkout's id is its place in here, from 1."""
        self._code_ttl = timedelta(seconds=code_ttl_seconds)
        self._random = random or Random(0)
        self._sales: dict[SaleId, SaleRow] = {}

    def now(self) -> datetime:
        """The time by the database's clock."""
        return START + timedelta(seconds=trio.current_time())

    def state(self) -> object:
        """All that is in it, for `restore`."""
        sales = {id: replace(sale, purchases=dict(sale.purchases)) for id, sale in self._sales.items()}
        return list(self.attempts), sales

    def restore(self, state: Any) -> None:
        """Come back as what it was when `state` was taken: a standby that lacks the last seconds, or a backup."""
        attempts, sales = state
        self.attempts = list(attempts)
        self._sales = {id: replace(sale, purchases=dict(sale.purchases)) for id, sale in sales.items()}

    def sale_ids(self) -> list[SaleId]:
        return list(self._sales)

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
        found = [self._redemption(code) for code in codes]
        await self.faults.after("find_redemptions", codes)
        return found

    async def find_legacy(self, legacy: LegacyCode) -> Code | None:
        """None: no code of release 0.1 was ever issued here."""
        await self.faults.before("find_legacy", legacy)
        await self.faults.after("find_legacy", legacy)
        return None

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
        return sorted(found, key=lambda sale_id: self._sales[sale_id].starts_at, reverse=True)

    async def begin_term(self, sale_id: SaleId) -> tuple[Term, Sale, datetime]:
        await self.faults.before("begin_term", sale_id)
        sale = self._sales.get(sale_id)
        if sale is None:
            raise TermEnded(f"sale {sale_id} does not exist")
        sale.epoch += 1
        sale.token = self._random.randbytes(TOKEN_BYTES)
        begun = Term(sale_id, Epoch(sale.epoch), sale.token), self._view(sale), self.now()
        await self.faults.after("begin_term", sale_id)
        return begun

    async def read_purchases(self, term: Term) -> AsyncIterator[list[tuple[CheckoutId, RequestId, ItemId, UserId]]]:
        await self.faults.before("read_purchases", term)
        earlier = [p for epoch, p in self.purchases(term.sale_id) if epoch < term.epoch]
        await self.faults.after("read_purchases", term)
        for p in earlier:
            yield [(p.checkout_id, p.request_id, p.item_id, p.user_id)]

    async def confirm(
        self, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        await self.faults.before("confirm", term, sold_before, approved, redeemed)
        confirmed = self._confirm(term, sold_before, approved, redeemed)
        await self.faults.after("confirm", term, sold_before, approved, redeemed)
        return confirmed

    # the operator

    async def pause(self, sale_id: SaleId, by: str, reason: str) -> Pause | None:
        await self.faults.before("pause", sale_id, by, reason)
        sale = self._sales.get(sale_id)
        if sale is not None and sale.pause is None:
            sale.pause = Pause(by, self.now())
        pause = None if sale is None else sale.pause
        await self.faults.after("pause", sale_id, by, reason)
        return pause

    async def resume(self, sale_id: SaleId, by: str, reason: str) -> bool:
        await self.faults.before("resume", sale_id, by, reason)
        sale = self._sales.get(sale_id)
        if sale is not None:
            sale.pause = None
        await self.faults.after("resume", sale_id, by, reason)
        return sale is not None

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
            assert isinstance(attempt, Attempt)
            digest, now = self.digest_user(attempt.user_id), int(self.now().timestamp())
            code = Code(sale.id, CheckoutId(len(self.attempts) + 1), attempt.item_id, now, digest)
        self.attempts.append(AttemptRow(attempt, outcome, code, self.now()))
        if code is not None or sale is None:
            return RecordedAttempt(outcome, code)
        return RecordedAttempt(outcome, None, (sale.starts_at - self.now()).total_seconds())

    def _outcome(self, attempt: Attempt | MalformedAttempt, sale: SaleRow | None) -> CheckoutOutcome:
        if isinstance(attempt, MalformedAttempt):
            return CheckoutOutcome.INVALID_REQUEST
        if sale is None:
            return CheckoutOutcome.ITEM_NOT_FOUND
        if sale.starts_at > self.now():
            return CheckoutOutcome.SALE_NOT_OPEN
        if sale.sold_out_at is not None:
            return CheckoutOutcome.SOLD_OUT
        return CheckoutOutcome.ITEM_SOLD if attempt.item_id in sale.purchases else CheckoutOutcome.ISSUED

    def _sale_of(self, item_id: ItemId) -> SaleRow | None:
        for sale in self._sales.values():
            if sale.first_item_id <= item_id < sale.first_item_id + sale.stock:
                return sale
        return None

    def _row(self, code: Code) -> AttemptRow | None:
        """The checkout that issued `code`, and not another one of the same number."""
        row = self.attempts[code.checkout_id - 1] if 1 <= code.checkout_id <= len(self.attempts) else None
        if row is None or row.code is None:
            return None
        known = (row.code.sale_id, row.code.item_id, row.code.user_digest)
        return row if known == (code.sale_id, code.item_id, code.user_digest) else None

    def _redemption(self, code: Code) -> Redemption:
        row, sale = self._row(code), self._sales.get(code.sale_id)
        sold = None if sale is None else sale.purchases.get(code.item_id)
        purchase = sold[1] if sold is not None and self._receipt_key(sold[1]) == receipt_key(code) else None
        is_sold_out = sale is not None and sale.sold_out_at is not None
        return Redemption(row is not None and row.attempted_at >= self.now() - self._code_ttl, purchase, is_sold_out)

    def _receipt_key(self, purchase: Purchase) -> ReceiptKey:
        return purchase.checkout_id, purchase.item_id, self.digest_user(purchase.user_id)

    def _confirm(
        self, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        receipts = [p for id in redeemed if (p := self._bought(id)) is not None]
        if missing := [a for a in approved if self._row(a.code) is None]:
            return Confirmed(None, [], missing, receipts)
        sale = self._sales.get(term.sale_id)
        fence = None if sale is None else (sale.epoch, sale.token, len(sale.purchases))
        if sale is None or fence != (term.epoch, term.token, sold_before):
            raise TermEnded(f"epoch {term.epoch} of sale {term.sale_id} is over")
        if sale.pause is not None and approved:
            return Confirmed(None, [], [], receipts, is_paused=True)
        now = self.now()
        sold = [self._purchase(a, now) for a in approved]
        self._check(sale, sold)
        sale.purchases.update({p.item_id: (term.epoch, p) for p in sold})
        if sold and len(sale.purchases) == sale.stock:
            sale.sold_out_at = now
        return Confirmed(now, sold, [], receipts, is_paused=sale.pause is not None)

    def _purchase(self, approved: Approved, now: datetime) -> Purchase:
        code = approved.code
        attempt = self.attempts[code.checkout_id - 1].attempt
        assert isinstance(attempt, Attempt)
        return Purchase(code.checkout_id, approved.request_id, code.item_id, attempt.user_id, approved.slot, now)

    def _bought(self, id: CheckoutId) -> Purchase | None:
        sold = (purchase for sale in self._sales.values() for _, purchase in sale.purchases.values())
        return next((purchase for purchase in sold if purchase.checkout_id == id), None)

    def _check(self, sale: SaleRow, purchases: list[Purchase]) -> None:
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
            if is_other and sale.starts_at > soon and sale.epoch == 0 and not sale.purchases and not sale.pause:
                del self._sales[sale.id]

    def _make_sale(self, starts_at: datetime, size: int, user_limit: int) -> SaleId:
        sale_id = SaleId(max(self._sales, default=0) + 1)
        first = max((sale.first_item_id + sale.stock for sale in self._sales.values()), default=1)
        self._sales[sale_id] = SaleRow(sale_id, starts_at, ItemId(first), size, user_limit)
        return sale_id

    def _view(self, sale: SaleRow) -> Sale:
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
