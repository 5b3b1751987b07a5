"""The rules of one sale, checked against a model simple enough to be read at a glance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flash.domain import (
    Checkout,
    CheckoutId,
    Code,
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
    SaleId,
    Sold,
    UserId,
)
from flash.inventory import Inventory, decide_sold_out

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRET = b"s" * 16


def a_sale(stock: int = 3, user_limit: int = 2) -> Sale:
    return Sale(SaleId(1), NOON, ItemId(101), stock, user_limit, 0, is_open=True)


def a_command(checkout_id: int, request: str = "auto:1", secret: bytes = SECRET) -> Command:
    return Command(Code(SaleId(1), CheckoutId(checkout_id), secret), RequestId(request))


def a_checkout(item: int = 101, user: str = "ann", *, is_expired: bool = False) -> Checkout:
    return Checkout(SECRET, ItemId(item), UserId(user), is_expired)


def sell(inventory: Inventory, command: Command, checkout: Checkout) -> Purchase:
    outcome = inventory.decide(command, checkout, NOON)
    assert isinstance(outcome, Sold)
    inventory.apply(outcome.purchase)
    return outcome.purchase


def test_a_code_that_has_bought_gets_its_purchase_whatever_has_happened_since() -> None:
    inventory = Inventory(a_sale(stock=1))
    purchase = sell(inventory, a_command(1, "key:a"), a_checkout())
    gone = a_checkout(is_expired=True)
    assert inventory.decide(a_command(1, "key:a"), gone, NOON) == Repeated(purchase)
    assert inventory.decide(a_command(1, "key:b"), gone, NOON) == Refused(Refusal.CODE_ALREADY_USED, purchase)


@pytest.mark.parametrize(
    ("checkout", "secret"),
    [(None, SECRET), (a_checkout(is_expired=True), SECRET), (a_checkout(), b"x" * 16)],
    ids=["unknown", "expired", "wrong secret"],
)
def test_a_code_that_cannot_be_redeemed_is_invalid(checkout: Checkout | None, secret: bytes) -> None:
    ask = a_command(1, secret=secret)
    assert Inventory(a_sale()).decide(ask, checkout, NOON) == Refused(Refusal.INVALID_CODE)


def test_a_key_that_has_bought_with_one_code_is_refused_with_another() -> None:
    inventory = Inventory(a_sale())
    sell(inventory, a_command(1, "key:a"), a_checkout(101))
    again = inventory.decide(a_command(2, "key:a"), a_checkout(102), NOON)
    assert again == Refused(Refusal.IDEMPOTENCY_KEY_REUSED)


def test_the_limit_in_a_refusal_is_that_of_the_sale() -> None:
    inventory = Inventory(a_sale(user_limit=1))
    sell(inventory, a_command(1, "auto:1"), a_checkout(101))
    refused = inventory.decide(a_command(2, "auto:2"), a_checkout(102), NOON)
    assert refused == Refused(Refusal.USER_LIMIT_REACHED, user_limit=1)


def test_deciding_changes_nothing() -> None:
    inventory = Inventory(a_sale())
    assert inventory.decide(a_command(1), a_checkout(), NOON) == inventory.decide(a_command(1), a_checkout(), NOON)
    assert inventory.remaining == 3


@pytest.mark.parametrize(
    "second",
    [
        Purchase(CheckoutId(2), RequestId("auto:2"), ItemId(101), UserId("bob"), 1, NOON),
        Purchase(CheckoutId(1), RequestId("auto:2"), ItemId(102), UserId("bob"), 1, NOON),
        Purchase(CheckoutId(2), RequestId("auto:2"), ItemId(999), UserId("bob"), 1, NOON),
        Purchase(CheckoutId(2), RequestId("auto:2"), ItemId(102), UserId("ann"), 2, NOON),
    ],
    ids=["the item again", "the code again", "an item of another sale", "over the limit"],
)
def test_a_purchase_that_breaks_a_rule_is_not_applied(second: Purchase) -> None:
    first = Purchase(CheckoutId(1), RequestId("auto:1"), ItemId(101), UserId("ann"), 1, NOON)
    with pytest.raises(AssertionError):
        Inventory(a_sale(user_limit=1), [first, second])


def test_a_sold_out_sale_answers_from_what_is_stored() -> None:
    purchase = Purchase(CheckoutId(1), RequestId("key:a"), ItemId(101), UserId("ann"), 1, NOON)
    redeemed, unredeemed = Redemption(a_checkout(), purchase), Redemption(a_checkout(), None)
    assert decide_sold_out(a_command(1, "key:a"), redeemed) == Repeated(purchase)
    assert decide_sold_out(a_command(1, "key:b"), redeemed) == Refused(Refusal.CODE_ALREADY_USED, purchase)
    assert decide_sold_out(a_command(1), unredeemed) == Refused(Refusal.SOLD_OUT)
    assert decide_sold_out(a_command(1), Redemption(None, None)) == Refused(Refusal.INVALID_CODE)


class SaleMachine(RuleBasedStateMachine):
    """Any buyers in any order, with any number of new terms: the inventory agrees with a list of what was sold."""

    @initialize(stock=st.integers(1, 6), user_limit=st.integers(1, 3))
    def open(self, stock: int, user_limit: int) -> None:
        self.sale = a_sale(stock, user_limit)
        self.inventory = Inventory(self.sale)
        self.sold: list[Purchase] = []
        self.now = NOON
        self.checkouts: dict[int, Checkout] = {}

    @rule(checkout=st.integers(1, 9), request=st.integers(1, 12), item=st.integers(0, 5), user=st.sampled_from("abc"))
    def purchase(self, checkout: int, request: int, item: int, user: str) -> None:
        self.now += timedelta(seconds=1)
        known = self.checkouts.setdefault(checkout, a_checkout(101 + item % self.sale.stock, user))
        outcome = self.inventory.decide(a_command(checkout, f"key:{request}"), known, self.now)
        assert outcome == self.expected(checkout, RequestId(f"key:{request}"), known)
        if isinstance(outcome, Sold):
            self.inventory.apply(outcome.purchase)
            self.sold.append(outcome.purchase)

    @rule()
    def begin_a_new_term(self) -> None:
        self.inventory = Inventory(self.sale, reversed(self.sold))

    def expected(self, checkout: int, request: RequestId, known: Checkout) -> Outcome:
        mine = [p for p in self.sold if p.checkout_id == checkout]
        bought = [p for p in self.sold if p.user_id == known.user_id]
        if mine:
            return Repeated(mine[0]) if mine[0].request_id == request else Refused(Refusal.CODE_ALREADY_USED, mine[0])
        if any(p.request_id == request for p in self.sold):
            return Refused(Refusal.IDEMPOTENCY_KEY_REUSED)
        if len(self.sold) == self.sale.stock:
            return Refused(Refusal.SOLD_OUT)
        if any(p.item_id == known.item_id for p in self.sold):
            return Refused(Refusal.ITEM_SOLD)
        if len(bought) == self.sale.user_limit:
            return Refused(Refusal.USER_LIMIT_REACHED, user_limit=self.sale.user_limit)
        return Sold(Purchase(CheckoutId(checkout), request, known.item_id, known.user_id, len(bought) + 1, self.now))

    @invariant()
    def counts_agree(self) -> None:
        assert self.inventory.sold == len(self.sold) == self.sale.stock - self.inventory.remaining


TestSaleMachine = SaleMachine.TestCase
TestSaleMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
