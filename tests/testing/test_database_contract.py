"""What actors, scheduler and router rely on, checked on a real PostgreSQL and on its twin alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flash.domain import (
    Attempt,
    CheckoutId,
    CheckoutOutcome,
    Code,
    ItemId,
    LegacyCode,
    MalformedAttempt,
    Redemption,
    SaleId,
    UserId,
)
from flash.errors import OutcomeUnknown, TermEnded
from flash.testing.twins.database import Violation
from tests.codes import approve, digest
from tests.stores.database import brief, sell, stored
from tests.testing.conftest import Database, OpenDatabase

ONE, TWO = SaleId(1), SaleId(2)
HOUR = 3600
REFUSED = (Violation, OutcomeUnknown)


def an_attempt(item: int, user: str = "ann") -> Attempt:
    return Attempt(UserId(user), ItemId(item))


async def issue(database: Database, item: int, user: str = "ann") -> Code:
    (recorded,) = await database.checkouts.record_attempts([an_attempt(item, user)])
    assert recorded.code is not None
    return recorded.code


async def test_the_current_sale_and_the_next_one_are_made_once(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        assert await database.sales.unsold_sales() == (0, frozenset())
        made, seconds = await database.schedule.prepare_sales(HOUR, 3, 2)
        assert made == [ONE, TWO]
        assert 0 < seconds <= HOUR
        assert (await database.schedule.prepare_sales(HOUR, 3, 2))[0] == []
        assert await database.sales.unsold_sales() == (TWO, frozenset({ONE, TWO}))
        term, sale, _ = await database.terms.begin_term(ONE)
        assert (sale.first_item_id, sale.stock, sale.user_limit, sale.sold) == (1, 3, 2, 0)
        assert await stored(database.terms, term) == []
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
        await sell(database.terms, term, approve(await issue(database, 2)))
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
        assert [(code.item_id, code.user_digest) for code in codes] == [(1, digest(UserId(u))) for u in ("ann", "bob")]
        _, _, now = await database.terms.begin_term(ONE)
        assert all(0 <= now.timestamp() - code.issued_at < 60 for code in codes)


async def test_each_purchase_has_the_buyer_of_its_own_checkout(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        codes = [await issue(database, item, user) for item, user in ((3, "ann"), (1, "bob"), (2, "eve"))]
        term, _, began_at = await database.terms.begin_term(ONE)
        confirmed = await database.terms.confirm(term, 0, [approve(codes[n]) for n in (2, 0, 1)], [])
        assert [(p.item_id, p.user_id, p.checkout_id) for p in confirmed.sold] == [
            (2, "eve", codes[2].checkout_id),
            (3, "ann", codes[0].checkout_id),
            (1, "bob", codes[1].checkout_id),
        ]
        assert confirmed.now is not None
        assert {p.purchased_at for p in confirmed.sold} == {confirmed.now}
        assert confirmed.now >= began_at


@pytest.mark.parametrize(
    "change",
    [{"item_id": 2}, {"user_digest": digest(UserId("bob"))}, {"checkout_id": 99}],
    ids=["another item", "another buyer", "no such checkout"],
)
async def test_a_code_without_its_own_checkout_sells_nothing_and_is_named(
    open_database: OpenDatabase, change: dict[str, Any]
) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        genuine, other = await issue(database, 1), await issue(database, 3, "eve")
        stranger = approve(replace(genuine, **change))
        term, _, _ = await database.terms.begin_term(ONE)
        confirmed = await database.terms.confirm(term, 0, [approve(other), stranger], [])
        assert (confirmed.sold, confirmed.missing) == ([], [stranger])
        assert await database.checkouts.find_redemptions([stranger.code, other]) == [
            Redemption(False, None),
            Redemption(True, None),
        ]
        assert len(await sell(database.terms, term, approve(other))) == 1


async def test_what_each_code_has_bought_is_found_in_the_order_of_asking(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        codes = [await issue(database, item, user) for item, user in ((1, "ann"), (2, "bob"), (3, "eve"))]
        term, _, _ = await database.terms.begin_term(ONE)
        sold = await sell(database.terms, term, approve(codes[2]), approve(codes[0]))
        elsewhere = replace(codes[0], sale_id=TWO)
        assert await database.checkouts.find_redemptions([codes[2], elsewhere, codes[1], codes[0]]) == [
            Redemption(True, sold[0]),
            Redemption(False, None),
            Redemption(True, None),
            Redemption(True, sold[1]),
        ]
        ids = [codes[0].checkout_id, CheckoutId(99), codes[2].checkout_id, codes[1].checkout_id]
        for approved in ([], [approve(codes[1])]):
            confirmed = await database.terms.confirm(term, 2, approved, ids[:3])
            assert confirmed.receipts == [sold[1], sold[0]]


async def test_a_code_expires(open_database: OpenDatabase) -> None:
    async with open_database(-1.0) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        code = await issue(database, 1)
        assert await database.checkouts.find_redemptions([code]) == [Redemption(False, None)]


async def test_a_code_of_the_first_release_without_its_row_is_unknown(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        code = await issue(database, 1)
        assert await database.checkouts.find_legacy(LegacyCode(ONE, code.checkout_id, bytes(16))) is None


async def test_a_deposed_leader_sells_nothing_and_refuses_nobody(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        code = await issue(database, 1)
        old, _, _ = await database.terms.begin_term(ONE)
        new, _, _ = await database.terms.begin_term(ONE)
        assert new.epoch == old.epoch + 1
        assert new.token != old.token
        for term in (old, replace(new, token=old.token), replace(old, token=new.token)):
            for approved in ([approve(code)], []):
                with pytest.raises(TermEnded):
                    await database.terms.confirm(term, 0, approved, [])
        assert (await database.checkouts.find_redemptions([code]))[0].purchase is None
        with pytest.raises(TermEnded):
            await database.terms.begin_term(SaleId(9))


async def test_a_leader_that_remembers_another_number_of_sales_is_deposed(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        code = await issue(database, 1)
        term, _, _ = await database.terms.begin_term(ONE)
        for approved in ([approve(code)], []):
            with pytest.raises(TermEnded):
                await database.terms.confirm(term, 1, approved, [])
        assert len(await sell(database.terms, term, approve(code))) == 1


async def test_a_term_begins_with_all_that_was_ever_sold(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        codes = [await issue(database, item) for item in (3, 1)]
        sold = []
        for n, code in enumerate(codes):
            term, _, _ = await database.terms.begin_term(ONE)
            sold += await sell(database.terms, term, approve(code, slot=n + 1), sold_before=n)
        term, sale, _ = await database.terms.begin_term(ONE)
        assert sale.sold == 2
        assert await stored(database.terms, term) == [brief(sold[1]), brief(sold[0])]


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
        await sell(database.terms, term, approve(first))
        wrong = approve(first if is_same_code else second, slot)
        with pytest.raises(REFUSED):
            await sell(database.terms, term, approve(third), wrong, sold_before=1)
        assert (await database.checkouts.find_redemptions([third]))[0].purchase is None
        _, sale, _ = await database.terms.begin_term(ONE)
        assert sale.sold == 1


async def test_the_last_item_closes_the_sale_and_its_leader_may_linger(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 2, 2)
        codes = [await issue(database, item, f"u{item}") for item in (1, 2)]
        term, _, _ = await database.terms.begin_term(ONE)
        await sell(database.terms, term, *map(approve, codes))
        (recorded,) = await database.checkouts.record_attempts([an_attempt(1)])
        assert recorded.outcome is CheckoutOutcome.SOLD_OUT
        assert await database.sales.unsold_sales() == (TWO, frozenset({TWO}))
        # the next one too, just before it begins
        assert sorted(await database.terms.list_leadable()) in ([ONE], [ONE, TWO])


async def test_a_paused_sale_sells_nothing_and_answers_everything_else(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(HOUR, 3, 2)
        first, second = await issue(database, 1), await issue(database, 2, "bob")
        term, _, _ = await database.terms.begin_term(ONE)
        sold = await sell(database.terms, term, approve(first))
        pause = await database.pauses.pause(ONE, "ann", "a wrong picture")
        assert pause is not None
        assert pause.by == "ann"
        assert pause.at >= sold[0].purchased_at
        assert await database.pauses.pause(ONE, "bob", "me too") == pause, "the first one is in force"
        refused = await database.terms.confirm(term, 1, [approve(second)], [first.checkout_id])
        assert (refused.now, refused.sold, refused.missing, refused.is_paused) == (None, [], [], True)
        assert refused.receipts == sold
        confirmed = await database.terms.confirm(term, 1, [], [first.checkout_id])
        assert (confirmed.now is not None, confirmed.receipts, confirmed.is_paused) == (True, sold, True)
        assert (await issue(database, 3)).item_id == 3, "checkouts go on"
        latest, _, _ = await database.terms.begin_term(ONE)
        with pytest.raises(TermEnded):
            await database.terms.confirm(term, 1, [approve(second)], [])
        assert (await database.terms.confirm(latest, 1, [approve(second)], [])).is_paused, "a take-over keeps it"
        with pytest.raises(TermEnded):
            await database.terms.confirm(latest, 2, [approve(second)], [])
        assert await database.pauses.resume(ONE, "bob", "mended")
        assert await database.pauses.resume(ONE, "bob", "mended")
        assert not (await database.terms.confirm(latest, 1, [], [])).is_paused
        assert len(await sell(database.terms, latest, approve(second), sold_before=1)) == 1


async def test_a_pause_concerns_one_sale_which_may_not_have_begun(open_database: OpenDatabase) -> None:
    async with open_database(HOUR) as database:
        await database.schedule.prepare_sales(7 * 24 * HOUR, 3, 2)
        assert await database.pauses.pause(TWO, "ann", "later") is not None
        assert (await database.schedule.prepare_sales(7 * 24 * HOUR, 5, 1))[0] == [], "it is not made anew"
        term, _, _ = await database.terms.begin_term(ONE)
        await sell(database.terms, term, approve(await issue(database, 1)))
        assert await database.pauses.pause(SaleId(9), "ann", "nothing") is None
        assert not await database.pauses.resume(SaleId(9), "ann", "nothing")
