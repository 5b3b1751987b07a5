"""The rules of one sale, checked against a model simple enough to be read at a glance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flash.domain import (
    Approved,
    CheckoutId,
    Code,
    Command,
    Decision,
    ItemId,
    Purchase,
    Redeemed,
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
from flash.inventory import Inventory, decide_all, decide_sold_out, receipt_key, settle
from tests.codes import a_code, digest

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = NOON.timestamp()
TTL_SECONDS = 3600.0


def a_sale(stock: int = 3, user_limit: int = 2) -> Sale:
    return Sale(SaleId(1), NOON, ItemId(101), stock, user_limit, 0, is_open=True)


def an_inventory(stock: int = 3, user_limit: int = 2) -> Inventory:
    return Inventory(a_sale(stock, user_limit), TTL_SECONDS)


def a_command(
    checkout: int, request: str = "auto:1", item: int = 101, user: str = "ann", *, is_expired: bool = False
) -> Command:
    issued_at = int(NOW) - (3601 if is_expired else 0)
    return Command(a_code(checkout, item=item, user=user, issued_at=issued_at), RequestId(request))


def sell(inventory: Inventory, command: Command) -> Approved:
    (decision,) = decide_all(inventory, [command], NOW)
    assert isinstance(decision, Approved)
    return decision


def stored(command: Command, user: str = "ann", slot: int = 1) -> Purchase:
    code = command.code
    return Purchase(code.checkout_id, command.request_id, code.item_id, UserId(user), slot, NOON)


def test_a_code_that_has_bought_gets_its_purchase_whatever_has_happened_since() -> None:
    inventory = an_inventory(stock=1)
    command = a_command(1, "key:a")
    sell(inventory, command)
    purchase = stored(command)
    receipts = {receipt_key(command.code): purchase}
    for request, outcome in (
        ("key:a", Repeated(purchase)),
        ("key:b", Refused(Refusal.CODE_ALREADY_USED, purchase)),
    ):
        again = a_command(1, request, is_expired=True)
        decision = inventory.decide(again, NOW)
        assert decision == Redeemed(CheckoutId(1))
        assert settle(again, decision, receipts) == outcome


def test_a_paused_sale_refuses_only_what_it_would_have_sold() -> None:
    inventory = an_inventory(stock=2, user_limit=1)
    bought = a_command(1, "key:a")
    sell(inventory, bought)
    inventory.is_paused = True
    asked = {
        a_command(2, item=102, user="bob"): Refused(Refusal.PAUSED),
        bought: Redeemed(CheckoutId(1)),
        a_command(3, item=101, user="bob"): Refused(Refusal.ITEM_SOLD),
        a_command(4, item=102): Refused(Refusal.USER_LIMIT_REACHED, user_limit=1),
        a_command(5, item=102, user="bob", is_expired=True): Refused(Refusal.INVALID_CODE),
    }
    assert dict(zip(asked, decide_all(inventory, asked, NOW), strict=True)) == asked
    assert inventory.sold == 1
    inventory.is_paused = False
    sell(inventory, a_command(2, item=102, user="bob"))


def test_a_code_is_valid_to_its_last_second() -> None:
    code = a_code(1, item=101, issued_at=int(NOW) - 3600)
    assert isinstance(an_inventory().decide(Command(code, RequestId("auto:1")), NOW), Approved)
    assert an_inventory().decide(Command(code, RequestId("auto:1")), NOW + 1) == Refused(Refusal.INVALID_CODE)


@pytest.mark.parametrize("item", [100, 104, 1, 2**40])
def test_a_code_for_an_item_of_another_sale_is_invalid(item: int) -> None:
    assert an_inventory().decide(a_command(1, item=item), NOW) == Refused(Refusal.INVALID_CODE)


def test_nobody_sees_a_receipt_of_another_buyer_whose_checkout_had_the_same_number() -> None:
    inventory = an_inventory()
    mine, theirs = a_command(1, user="ann"), a_command(1, user="bob")
    sell(inventory, theirs)
    receipts = {receipt_key(theirs.code): stored(theirs, "bob")}
    assert settle(mine, inventory.decide(mine, NOW), receipts) == Refused(Refusal.INVALID_CODE)
    elsewhere = a_command(1, item=102, user="bob")
    assert not isinstance(inventory.decide(elsewhere, NOW), Redeemed)


def test_a_key_that_has_bought_with_one_code_is_refused_with_another() -> None:
    inventory = an_inventory()
    sell(inventory, a_command(1, "key:a"))
    assert inventory.decide(a_command(2, "key:a", 102), NOW) == Refused(Refusal.IDEMPOTENCY_KEY_REUSED)


def test_two_buyers_may_choose_the_same_key() -> None:
    inventory = an_inventory()
    sell(inventory, a_command(1, "key:1", 101, "ann"))
    assert isinstance(inventory.decide(a_command(2, "key:1", 102, "bob"), NOW), Approved)


def test_the_limit_in_a_refusal_is_that_of_the_sale() -> None:
    inventory = an_inventory(user_limit=1)
    sell(inventory, a_command(1, "auto:1"))
    refused = inventory.decide(a_command(2, "auto:2", 102), NOW)
    assert refused == Refused(Refusal.USER_LIMIT_REACHED, user_limit=1)


def test_without_room_nothing_is_sold_and_whoever_gets_nothing_anyway_hears_why() -> None:
    inventory = an_inventory(user_limit=1)
    sell(inventory, a_command(1, "auto:1"))
    inventory.has_room = False
    assert inventory.decide(a_command(1, "auto:1"), NOW) == Redeemed(CheckoutId(1))
    assert inventory.decide(a_command(2, user="bob"), NOW) == Refused(Refusal.ITEM_SOLD)
    over_limit = inventory.decide(a_command(3, item=102), NOW)
    assert over_limit == Refused(Refusal.USER_LIMIT_REACHED, user_limit=1)
    assert inventory.decide(a_command(4, item=102, user="bob"), NOW) == Refused(Refusal.NO_ROOM)
    inventory.has_room = True
    assert isinstance(inventory.decide(a_command(4, item=102, user="bob"), NOW), Approved)


def test_deciding_changes_nothing() -> None:
    inventory = an_inventory()
    assert inventory.decide(a_command(1), NOW) == inventory.decide(a_command(1), NOW)
    assert inventory.remaining == 3


@pytest.mark.parametrize("request_id", ["auto:1", "key:1"])
def test_what_could_not_be_stored_is_taken_back_without_a_trace(request_id: str) -> None:
    inventory = an_inventory(stock=1, user_limit=1)
    command = a_command(1, request_id)
    inventory.undo(sell(inventory, command))
    assert inventory.sold == 0
    assert isinstance(inventory.decide(a_command(2, request_id), NOW), Approved)


def test_a_code_that_is_void_takes_nothing_from_those_behind_it() -> None:
    first, second = a_command(1, user="ann"), a_command(2, user="bob")
    decisions = decide_all(an_inventory(), [first, second], NOW, void={first.code})
    assert decisions[0] == Refused(Refusal.INVALID_CODE)
    assert isinstance(decisions[1], Approved)


@pytest.mark.parametrize(
    ("item", "user"),
    [(101, "bob"), (999, "bob"), (102, "ann")],
    ids=["the item again", "an item of another sale", "over the limit"],
)
def test_a_purchase_that_breaks_a_rule_is_not_applied(item: int, user: str) -> None:
    inventory = an_inventory(user_limit=1)
    inventory.apply(ItemId(101), CheckoutId(1), digest(UserId("ann")), RequestId("auto:1"))
    with pytest.raises(AssertionError):
        inventory.apply(ItemId(item), CheckoutId(2), digest(UserId(user)), RequestId("auto:2"))
    assert inventory.sold == 1


def test_a_sold_out_sale_answers_from_what_is_stored() -> None:
    command = a_command(1, "key:a")
    purchase = stored(command)
    redeemed = Redemption(True, purchase)
    assert decide_sold_out(command, redeemed) == Repeated(purchase)
    assert decide_sold_out(a_command(1, "key:b"), redeemed) == Refused(Refusal.CODE_ALREADY_USED, purchase)
    assert decide_sold_out(command, Redemption(True, None)) == Refused(Refusal.SOLD_OUT)
    assert decide_sold_out(command, Redemption(False, None)) == Refused(Refusal.INVALID_CODE)


class SaleMachine(RuleBasedStateMachine):
    """Any buyers in any order, with any number of new terms: the inventory agrees with a list of what was sold."""

    @initialize(stock=st.integers(1, 6), user_limit=st.integers(1, 3))
    def open(self, stock: int, user_limit: int) -> None:
        self.sale = a_sale(stock, user_limit)
        self.inventory = Inventory(self.sale, TTL_SECONDS)
        self.sold: list[tuple[Code, RequestId]] = []
        self.codes: dict[int, Code] = {}

    @rule(checkout=st.integers(1, 9), request=st.integers(1, 12), item=st.integers(0, 5), user=st.sampled_from("abc"))
    def purchase(self, checkout: int, request: int, item: int, user: str) -> None:
        issued = a_code(checkout, item=101 + item % self.sale.stock, user=user, issued_at=int(NOW))
        code = self.codes.setdefault(checkout, issued)
        command = Command(code, RequestId(f"key:{request}"))
        expected = self.expected(code, command.request_id)
        assert self.inventory.decide(command, NOW) == expected
        (decision,) = decide_all(self.inventory, [command], NOW)
        assert decision == expected
        if isinstance(decision, Approved):
            self.sold.append((code, command.request_id))

    @rule(checkout=st.integers(1, 9), request=st.integers(1, 12))
    def purchase_that_could_not_be_stored(self, checkout: int, request: int) -> None:
        code = self.codes.get(checkout)
        if code is not None:
            (decision,) = decide_all(self.inventory, [Command(code, RequestId(f"key:{request}"))], NOW)
            if isinstance(decision, Approved):
                self.inventory.undo(decision)

    @rule()
    def begin_a_new_term(self) -> None:
        self.inventory = Inventory(self.sale, TTL_SECONDS)
        for code, request in reversed(self.sold):
            self.inventory.apply(code.item_id, code.checkout_id, code.user_digest, request)

    def expected(self, code: Code, request: RequestId) -> Decision:
        bought = [(c, r) for c, r in self.sold if c.user_digest == code.user_digest]
        if any(c.checkout_id == code.checkout_id for c, _ in self.sold):
            return Redeemed(code.checkout_id)
        if any(r == request for _, r in bought):
            return Refused(Refusal.IDEMPOTENCY_KEY_REUSED)
        if len(self.sold) == self.sale.stock:
            return Refused(Refusal.SOLD_OUT)
        if any(c.item_id == code.item_id for c, _ in self.sold):
            return Refused(Refusal.ITEM_SOLD)
        if len(bought) == self.sale.user_limit:
            return Refused(Refusal.USER_LIMIT_REACHED, user_limit=self.sale.user_limit)
        return Approved(code, request, len(bought) + 1)

    @invariant()
    def counts_agree(self) -> None:
        assert self.inventory.sold == len(self.sold) == self.sale.stock - self.inventory.remaining


TestSaleMachine = SaleMachine.TestCase
TestSaleMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_a_decision_becomes_the_answer_that_was_stored() -> None:
    inventory = an_inventory()
    command = a_command(1)
    approved, purchase = sell(inventory, command), stored(command)
    assert settle(command, approved, {receipt_key(command.code): purchase}) == Sold(purchase)
    other = replace(command, code=replace(command.code, user_digest=digest(UserId("eve"))))
    with pytest.raises(AssertionError):
        settle(other, approved, {receipt_key(command.code): purchase})
