"""What actors, scheduler and router rely on, checked on a real PostgreSQL and on its twin alike."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flash.domain import (
    Attempt,
    Checkout,
    CheckoutId,
    CheckoutOutcome,
    Code,
    ItemId,
    MalformedAttempt,
    Purchase,
    Redemption,
    RequestId,
    SaleId,
    UserId,
)
from flash.errors import OutcomeUnknown, TermEnded
from flash.testing.twins.database import Violation
from tests.testing.conftest import Database, OpenDatabase

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE, TWO = SaleId(1), SaleId(2)
HOUR = 3600
REFUSED = (OutcomeUnknown, Violation)


def an_attempt(item: int, user: str = "ann") -> Attempt:
    return Attempt(UserId(user), ItemId(item))


async def issue(database: Database, item: int, user: str = "ann") -> Code:
    (recorded,) = await database.checkouts.record_attempts([an_attempt(item, user)])
    assert recorded.code is not None
    return recorded.code


def a_purchase(code: Code, item: int, user: str = "ann", slot: int = 1) -> Purchase:
    return Purchase(code.checkout_id, RequestId(f"auto:{code.checkout_id}"), ItemId(item), UserId(user), slot, NOW)


async def test_the_current_sale_and_the_next_one_are_made_once(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        assert await database.sales.unsold_sales() == (0, frozenset())
        made, seconds = await database.schedule.prepare_sales(HOUR, 3, 2)
        assert made == [ONE, TWO]
        assert 0 < seconds <= HOUR
        assert (await database.schedule.prepare_sales(HOUR, 3, 2))[0] == []
        assert await database.sales.unsold_sales() == (TWO, frozenset({ONE, TWO}))
        _, sale, purchases = await database.terms.begin_term(ONE)
        assert (sale.first_item_id, sale.stock, sale.user_limit, sale.sold, purchases) == (1, 3, 2, 0, [])
        assert sale.is_open


async def test_only_a_sale_that_has_not_begun_makes_way_for_other_settings(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(7 * 24 * HOUR, 3, 2)
        assert (await database.schedule.prepare_sales(7 * 24 * HOUR, 5, 1))[0] == [TWO]
        for sale_id, expected in ((ONE, (1, 3, 2)), (TWO, (4, 5, 1))):
            _, sale, _ = await database.terms.begin_term(sale_id)
            assert (sale.first_item_id, sale.stock, sale.user_limit) == expected


async def test_an_attempt_is_answered_by_what_it_asked_for(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        term, _, _ = await database.terms.begin_term(ONE)
        await database.terms.sell(term, [a_purchase(await issue(database, 2), 2)])
        attempts: list[Attempt | MalformedAttempt] = [
            an_attempt(1),
            MalformedAttempt(b"user_id=%FF"),
            an_attempt(2),
            an_attempt(4),
            an_attempt(7),
            an_attempt(1, "bob"),
        ]
        recorded = await database.checkouts.record_attempts(attempts)
        assert [(r.outcome.value, r.code and r.code.sale_id) for r in recorded] == [
            ("issued", 1),
            ("invalid_request", None),
            ("item_sold", None),
            ("sale_not_open", None),
            ("item_not_found", None),
            ("issued", 1),
        ]
        assert 0 < recorded[3].opens_in_seconds <= HOUR
        codes = [r.code for r in recorded if r.code is not None]
        assert codes[0].checkout_id < codes[1].checkout_id
        assert codes[0].secret != codes[1].secret


async def test_each_code_is_known_with_its_own_secret_item_and_buyer(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        codes = [await issue(database, item, user) for item, user in ((3, "ann"), (1, "bob"), (2, "eve"))]
        checkouts = {
            code.checkout_id: Checkout(code.secret, ItemId(item), UserId(user), False)
            for code, item, user in zip(codes, (3, 1, 2), ("ann", "bob", "eve"), strict=True)
        }
        ids = [codes[2].checkout_id, CheckoutId(99), codes[0].checkout_id, codes[1].checkout_id]
        assert (await database.terms.find_checkouts(ONE, ids))[1] == checkouts
        assert (await database.terms.find_checkouts(TWO, ids))[1] == {}


async def test_what_each_code_has_bought_is_found_in_the_order_of_asking(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        codes = [await issue(database, item, user) for item, user in ((1, "ann"), (2, "bob"), (3, "eve"))]
        term, _, _ = await database.terms.begin_term(ONE)
        sold = [a_purchase(codes[2], 3, "eve"), a_purchase(codes[0], 1, "ann")]
        await database.terms.sell(term, sold)
        elsewhere = Code(TWO, codes[1].checkout_id, codes[1].secret)
        assert await database.checkouts.find_redemptions([codes[2], elsewhere, codes[1], codes[0]]) == [
            Redemption(Checkout(codes[2].secret, ItemId(3), UserId("eve"), False), sold[0]),
            Redemption(None, None),
            Redemption(Checkout(codes[1].secret, ItemId(2), UserId("bob"), False), None),
            Redemption(Checkout(codes[0].secret, ItemId(1), UserId("ann"), False), sold[1]),
        ]


async def test_a_code_expires(open_database: OpenDatabase) -> None:
    async with open_database(0.0) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        code = await issue(database, 1)
        _, found = await database.terms.find_checkouts(ONE, [code.checkout_id])
        assert found[code.checkout_id].is_expired
        (redemption,) = await database.checkouts.find_redemptions([code])
        assert redemption.checkout is not None
        assert redemption.checkout.is_expired


async def test_a_deposed_leader_sells_nothing(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        code = await issue(database, 1)
        old, _, _ = await database.terms.begin_term(ONE)
        new, _, _ = await database.terms.begin_term(ONE)
        assert new.epoch == old.epoch + 1
        with pytest.raises(TermEnded):
            await database.terms.sell(old, [a_purchase(code, 1)])
        assert (await database.checkouts.find_redemptions([code]))[0].purchase is None
        with pytest.raises(TermEnded):
            await database.terms.begin_term(SaleId(9))


async def test_a_term_begins_with_all_that_was_ever_sold(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        codes = [await issue(database, item) for item in (3, 1)]
        sold = [a_purchase(codes[0], 3), a_purchase(codes[1], 1, slot=2)]
        for purchase in sold:
            term, _, _ = await database.terms.begin_term(ONE)
            await database.terms.sell(term, [purchase])
        _, sale, purchases = await database.terms.begin_term(ONE)
        assert (sale.sold, purchases) == (2, [sold[1], sold[0]])


@pytest.mark.parametrize(
    ("item", "user", "slot", "is_same_code"),
    [(2, "ann", 2, True), (1, "bob", 1, False), (2, "ann", 1, False), (2, "bob", 11, False)],
    ids=["a code sold twice", "an item sold twice", "a slot taken twice", "an eleventh item"],
)
async def test_a_batch_that_breaks_a_rule_is_refused_as_a_whole(
    open_database: OpenDatabase, item: int, user: str, slot: int, is_same_code: bool
) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        first, second, third = [await issue(database, n, u) for n, u in ((1, "ann"), (item, user), (3, "eve"))]
        term, _, _ = await database.terms.begin_term(ONE)
        await database.terms.sell(term, [a_purchase(first, 1)])
        wrong = a_purchase(first if is_same_code else second, item, user, slot)
        with pytest.raises(REFUSED):
            await database.terms.sell(term, [a_purchase(third, 3, "eve"), wrong])
        assert (await database.checkouts.find_redemptions([third]))[0].purchase is None
        _, sale, _ = await database.terms.begin_term(ONE)
        assert sale.sold == 1


async def test_the_last_item_closes_the_sale_and_its_leader_may_linger(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 2, 2)
        codes = [await issue(database, item, f"u{item}") for item in (1, 2)]
        term, _, _ = await database.terms.begin_term(ONE)
        now, _ = await database.terms.find_checkouts(ONE, [codes[0].checkout_id])
        purchases = [
            Purchase(code.checkout_id, RequestId(f"auto:{n}"), ItemId(n), UserId(f"u{n}"), 1, now)
            for n, code in enumerate(codes, start=1)
        ]
        await database.terms.sell(term, purchases)
        (recorded,) = await database.checkouts.record_attempts([an_attempt(1)])
        assert recorded.outcome is CheckoutOutcome.SOLD_OUT
        assert await database.sales.unsold_sales() == (TWO, frozenset({TWO}))
        assert await database.terms.list_leadable() in ([ONE], [ONE, TWO])  # the next one too, just before it begins
