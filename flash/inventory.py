"""The rules of one sale: what is left, and who may still buy. No clock, no connection, no await.

`decide` only looks; `apply` only changes, and `undo` takes it back. The actor stores what was approved between deciding
and answering, and a new term replays the stored purchases through the same `apply`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from flash.domain import (
    Approved,
    CheckoutId,
    Code,
    Command,
    Decision,
    ItemId,
    Outcome,
    Purchase,
    Redeemed,
    Redemption,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    Sale,
    Sold,
)

_KEY = "key:"
"""How a request id begins that a client has chosen."""


class Inventory:
    """The state of one sale, of which nothing is sold at first: `apply` what is stored already.

    A code is valid for `code_ttl_seconds`. Memory is 8 bytes an item and a counter for each buyer. While it
    `is_paused`, or unless it `has_room` for purchases, nothing is sold, and everything else is answered as ever.
    """

    def __init__(self, sale: Sale, code_ttl_seconds: float) -> None:
        self.sale = sale
        self.sold = 0
        self.has_room = True
        self.is_paused = False
        self._first_item_id = sale.first_item_id
        self._code_ttl_seconds = code_ttl_seconds
        self._checkouts = array("q", bytes(8 * sale.stock))
        """By item: the checkout that bought it, or 0."""
        self._bought: Counter[bytes] = Counter()
        self._keys: dict[tuple[bytes, RequestId], CheckoutId] = {}

    @property
    def remaining(self) -> int:
        return self.sale.stock - self.sold

    def decide(self, ask: Command, now: float) -> Decision:
        """What the buyer gets if `ask` is decided next. `now` is in seconds since 1970, by the database's clock.

        A code that has bought gets its purchase back, whatever has happened since (sold out, expired). That is how a
        buyer whose answer was lost gets the receipt.
        """
        code = ask.code
        place = code.item_id - self._first_item_id
        if not 0 <= place < self.sale.stock:
            return Refused(Refusal.INVALID_CODE)
        buyer = self._checkouts[place]
        if buyer == code.checkout_id:
            return Redeemed(code.checkout_id)
        if code.issued_at < now - self._code_ttl_seconds:
            return Refused(Refusal.INVALID_CODE)
        if (code.user_digest, ask.request_id) in self._keys:
            return Refused(Refusal.IDEMPOTENCY_KEY_REUSED)
        if not self.remaining:
            return Refused(Refusal.SOLD_OUT)
        if buyer:
            return Refused(Refusal.ITEM_SOLD)
        slot = self._bought[code.user_digest] + 1
        if slot > self.sale.user_limit:
            return Refused(Refusal.USER_LIMIT_REACHED, user_limit=self.sale.user_limit)
        if self.is_paused:
            return Refused(Refusal.PAUSED)
        if not self.has_room:
            return Refused(Refusal.NO_ROOM)
        return Approved(code, ask.request_id, slot)

    def apply(self, item_id: ItemId, checkout_id: CheckoutId, user_digest: bytes, request_id: RequestId) -> None:
        """Count a purchase as made. One that breaks a rule is a bug, here or in the store."""
        place = item_id - self._first_item_id
        assert 0 <= place < self.sale.stock, f"item {item_id} does not belong to sale {self.sale.id}"
        assert not self._checkouts[place], f"item {item_id} sold twice"
        assert checkout_id > 0, f"item {item_id} was sold to checkout {checkout_id}"
        bought = self._bought[user_digest] + 1
        assert bought <= self.sale.user_limit, f"a buyer of item {item_id} is over the limit"
        self.sold += 1
        self._checkouts[place] = checkout_id
        self._bought[user_digest] = bought
        if request_id.startswith(_KEY):
            self._keys[user_digest, request_id] = checkout_id

    def undo(self, approved: Approved) -> None:
        """Take back what was applied and could not be stored."""
        code = approved.code
        place = code.item_id - self._first_item_id
        assert self._checkouts[place] == code.checkout_id
        self.sold -= 1
        self._checkouts[place] = 0
        self._bought[code.user_digest] -= 1
        self._keys.pop((code.user_digest, approved.request_id), None)


def decide_all(
    inventory: Inventory, commands: Iterable[Command], now: float, void: Collection[Code] = ()
) -> list[Decision]:
    """Decide `commands` in order. Each sees the ones before it as made. Codes in `void` are invalid."""
    decisions: list[Decision] = []
    for command in commands:
        code = command.code
        decision = Refused(Refusal.INVALID_CODE) if code in void else inventory.decide(command, now)
        if isinstance(decision, Approved):
            inventory.apply(code.item_id, code.checkout_id, code.user_digest, command.request_id)
        decisions.append(decision)
    return decisions


ReceiptKey = tuple[CheckoutId, ItemId, bytes]


def receipt_key(code: Code) -> ReceiptKey:
    """What a purchase and a code must have in common before its holder sees it: checkout, item and user digest.

    The checkout alone will not do: a database that remembers less gives its ids out again.
    """
    return code.checkout_id, code.item_id, code.user_digest


def settle(ask: Command, decision: Decision, receipts: Mapping[ReceiptKey, Purchase]) -> Outcome:
    """The answer, once the database has stored and confirmed it. `receipts` are those of the codes that have bought."""
    if isinstance(decision, Refused):
        return decision
    purchase = receipts.get(receipt_key(ask.code))
    if isinstance(decision, Approved):
        assert purchase is not None
        return Sold(purchase)
    return Refused(Refusal.INVALID_CODE) if purchase is None else _redeemed(ask, purchase)


def is_invalid(outcome: Outcome) -> bool:
    """Whether the code was called invalid, which depends on the time: it may have expired."""
    return outcome == Refused(Refusal.INVALID_CODE)


def decide_sold_out(ask: Command, redemption: Redemption) -> Outcome:
    """What the buyer gets from a sale that is known to be sold out. No leader is needed to decide it."""
    if redemption.purchase is not None:
        return _redeemed(ask, redemption.purchase)
    return Refused(Refusal.SOLD_OUT if redemption.is_valid else Refusal.INVALID_CODE)


def _redeemed(ask: Command, purchase: Purchase) -> Outcome:
    if purchase.request_id == ask.request_id:
        return Repeated(purchase)
    return Refused(Refusal.CODE_ALREADY_USED, purchase)
