"""The rules of one sale: what is left, and who may still buy. No clock, no connection, no await.

`decide` only looks; `apply` only changes. The actor persists a purchase between the two, and a new term replays the
stored purchases through the same `apply`.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from flash.domain import (
    Checkout,
    CheckoutId,
    Command,
    ItemId,
    Outcome,
    Purchase,
    Redemption,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    Sale,
    Sold,
    UserId,
)


class Inventory:
    """The state of one sale. `purchases` are the ones already stored, in any order."""

    def __init__(self, sale: Sale, purchases: Iterable[Purchase] = ()) -> None:
        self.sale = sale
        self._item_ids = sale.item_ids
        self._sold_items: set[ItemId] = set()
        self._by_checkout: dict[CheckoutId, Purchase] = {}
        self._by_request: dict[RequestId, CheckoutId] = {}
        self._bought: Counter[UserId] = Counter()
        for purchase in purchases:
            self.apply(purchase)

    @property
    def sold(self) -> int:
        return len(self._sold_items)

    @property
    def remaining(self) -> int:
        return self.sale.stock - len(self._sold_items)

    def decide(self, ask: Command, checkout: Checkout | None, now: datetime) -> Outcome:
        """What the buyer gets if `ask` is decided next. `checkout` is what the database knows of the code.

        A code that has bought gets its purchase back, whatever has happened since (sold out, expired). That is how a
        buyer whose answer was lost gets the receipt.
        """
        settled = _settled(ask, Redemption(checkout, self._by_checkout.get(ask.code.checkout_id)))
        if settled is not None:
            return settled
        assert checkout is not None
        if ask.request_id in self._by_request:
            return Refused(Refusal.IDEMPOTENCY_KEY_REUSED)
        if not self.remaining:
            return Refused(Refusal.SOLD_OUT)
        if checkout.item_id in self._sold_items:
            return Refused(Refusal.ITEM_SOLD)
        slot = self._bought[checkout.user_id] + 1
        if slot > self.sale.user_limit:
            return Refused(Refusal.USER_LIMIT_REACHED, user_limit=self.sale.user_limit)
        return Sold(Purchase(ask.code.checkout_id, ask.request_id, checkout.item_id, checkout.user_id, slot, now))

    def apply(self, purchase: Purchase) -> None:
        """Count `purchase` as made. A purchase that breaks a rule is a bug, here or in the store."""
        assert purchase.item_id in self._item_ids, f"item {purchase.item_id} does not belong to sale {self.sale.id}"
        assert purchase.item_id not in self._sold_items, f"item {purchase.item_id} sold twice"
        assert purchase.checkout_id not in self._by_checkout, f"checkout {purchase.checkout_id} sold twice"
        self._sold_items.add(purchase.item_id)
        self._by_checkout[purchase.checkout_id] = purchase
        self._by_request[purchase.request_id] = purchase.checkout_id
        self._bought[purchase.user_id] += 1
        assert self._bought[purchase.user_id] <= self.sale.user_limit, f"{purchase.user_id!r} is over the limit"


def decide_all(
    inventory: Inventory,
    commands: Iterable[Command],
    checkouts: dict[CheckoutId, Checkout],
    now: datetime,
) -> list[Outcome]:
    """Decide `commands` in order. Each sees the ones before it as made."""
    outcomes = []
    for command in commands:
        outcome = inventory.decide(command, checkouts.get(command.code.checkout_id), now)
        if isinstance(outcome, Sold):
            inventory.apply(outcome.purchase)
        outcomes.append(outcome)
    return outcomes


def decide_sold_out(ask: Command, redemption: Redemption) -> Outcome:
    """What the buyer gets from a sale that is known to be sold out. No leader is needed to decide it."""
    return _settled(ask, redemption) or Refused(Refusal.SOLD_OUT)


def _settled(ask: Command, redemption: Redemption) -> Outcome | None:
    """The answer if the code alone settles it, whatever the sale has left; otherwise None."""
    checkout, earlier = redemption.checkout, redemption.purchase
    if earlier is not None:
        if earlier.request_id == ask.request_id:
            return Repeated(earlier)
        return Refused(Refusal.CODE_ALREADY_USED, earlier)
    if checkout is None or checkout.is_expired or not hmac.compare_digest(checkout.secret, ask.code.secret):
        return Refused(Refusal.INVALID_CODE)
    return None
