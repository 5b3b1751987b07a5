"""What was said, compared with what was true: each function yields what is wrong, in words."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator

from flash.domain import Code, Purchase, SaleId
from tests.simulation.history import LOST, NOTHING_STARTED, Call, History
from tests.simulation.plan import Plan
from tests.simulation.timeline import Row, WatchedDatabase


def check(plan: Plan, history: History, database: WatchedDatabase) -> list[str]:
    """Everything that is wrong with a run that has ended."""
    return [
        *database.problems,
        *_yes(history, database),
        *_no(plan, history, database),
        *_nothing_started(history, database),
        *_final(history, database),
        *_unasked(history, database),
        *_attempts(history, database),
        *_rows(plan, database),
        *_lost(database),
        *(_needless(history) if plan.is_gentle else ()),
    ]


def _yes(history: History, database: WatchedDatabase) -> Iterator[str]:
    """Who was told "yes" has it, unless the database was replaced by one that lacks it; and nobody gets another's."""
    for call in history.calls:
        receipt = call.body["purchase"] if call.said == "code_already_used" else call.body
        if call.kind == "checkout" or call.said not in ("ok", "code_already_used"):
            continue
        rows = [row for row in database.of_checkout(call.code.checkout_id) if row.overlaps(call.begins, call.ends)]
        if not any(_is_receipt_of(receipt, row, call) for row in rows):
            yield f"a receipt of what was not bought: {call}"
        elif call.said == "code_already_used" and all(row.purchase.request_id == f"key:{call.key}" for row in rows):
            yield f"a buyer who repeats under the same key is told that the code is used: {call}"


def _is_receipt_of(receipt: object, row: Row, call: Call) -> bool:
    assert isinstance(receipt, dict)
    purchase: Purchase = row.purchase
    told = receipt["item"]["id"], receipt["sale_id"], receipt["user_id"]
    return told == (purchase.item_id, row.sale_id, purchase.user_id) and purchase.user_id == call.user


def _no(plan: Plan, history: History, database: WatchedDatabase) -> Iterator[str]:
    """A refusal was true at some moment between question and answer."""
    for call in history.calls:
        if not _is_true(call, plan, history, database):
            yield f"a false refusal: {call}"


def _is_true(call: Call, plan: Plan, history: History, database: WatchedDatabase) -> bool:
    begins, ends = call.begins, call.ends
    match call.said:
        case "item_sold":
            return any(row.overlaps(begins, ends) for row in database.of_item(call.item))
        case "sold_out":
            sale_id = (call.item - 1) // plan.stock
            rows = (row for row in database.rows if (row.purchase.item_id - 1) // plan.stock == sale_id)
            return database.most_at_once(rows, begins, ends) == plan.stock
        case "user_limit_reached":
            sale_id = call.code.sale_id
            rows = (r for r in database.rows if r.sale_id == sale_id and r.purchase.user_id == call.user)
            return database.most_at_once(rows, begins, ends) == plan.user_limit
        case "invalid_code":
            return not database.known_codes.was_throughout(call.code, begins, ends)
        case "paused":
            return database.paused_sales.was_once(call.code.sale_id, begins, ends)
        case "not_purchased":
            bought = database.of_checkout(call.code.checkout_id)
            return not any(row.begins < begins and ends < row.ends for row in bought)
        case "item_not_found":
            return not database.known_sales.was_throughout(SaleId((call.item - 1) // plan.stock + 1), begins, ends)
        case "idempotency_key_reused" | "sale_not_open" | "invalid_request" | "internal_error":
            return False
    return True


def _nothing_started(history: History, database: WatchedDatabase) -> Iterator[str]:
    """Whatever was sold was sold to a request that was not told that nothing was started."""
    asked: defaultdict[tuple[Code, str], list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.kind == "purchase":
            asked[call.code, f"key:{call.key}" if call.key else ""].append(call)
    for row in database.rows:
        id = row.purchase.request_id if row.purchase.request_id.startswith("key:") else ""
        if not any(call.begins <= row.begins and not _denies(call, row) for call in asked[row.code, id]):
            yield f"sold to a request that was told that nothing was started: {row}"


def _denies(call: Call, row: Row) -> bool:
    """Whether `call` was told that nothing was started, and not because the database had forgotten `row` by then."""
    return call.said in NOTHING_STARTED and row.ends > call.ends


def _final(history: History, database: WatchedDatabase) -> Iterator[str]:
    """Not sold after the receipt has said for good that it was not, unless its holder has sent the code again.

    That holds whatever has become of the database meanwhile: one that remembers less does not bring commands back.
    """
    for text, at in history.final.items():
        calls = history.purchases()[text]
        for row in _of(calls[0], database):
            if row.begins > at and not any(at <= call.begins <= row.begins for call in calls):
                yield f"sold after the receipt said for good that it was not: {row}; {calls[-1]}"


def _of(call: Call, database: WatchedDatabase) -> Iterator[Row]:
    """What this very code has bought. A database that remembers less gives the numbers of checkouts out again."""
    return (row for row in database.of_checkout(call.code.checkout_id) if row.code == call.code)


def _unasked(history: History, database: WatchedDatabase) -> Iterator[str]:
    """Nothing is sold that nobody asked for."""
    asked = {
        (call.code.checkout_id, call.user, call.item, f"key:{call.key}" if call.key else "")
        for call in history.calls
        if call.kind == "purchase"
    }
    for row in database.rows:
        p = row.purchase
        id = p.request_id if p.request_id.startswith("key:") else ""
        if (p.checkout_id, p.user_id, p.item_id, id) not in asked:
            yield f"sold what nobody asked for: {p}"


def _attempts(history: History, database: WatchedDatabase) -> Iterator[str]:
    """Every attempt that was answered is a row, with the outcome that was answered."""
    stored = Counter[tuple[object, object, str]]()
    recorded = [(a.attempt, a.outcome.value) for a in database.attempts]
    for attempt, outcome in [*recorded, *database.forgotten_attempts]:
        stored[getattr(attempt, "user_id", None), getattr(attempt, "item_id", None), outcome] += 1
    told = Counter[tuple[object, object, str]](
        (call.user, call.item, "issued" if call.said == "ok" else call.said)
        for call in history.calls
        if call.kind == "checkout" and call.said != LOST and call.retry_after == 0
    )
    for missing in told - stored:
        yield f"an attempt was answered and not recorded: {missing}"


def _rows(plan: Plan, database: WatchedDatabase) -> Iterator[str]:
    """The rules of a sale at every moment."""
    for row in database.rows:
        others = (r for r in database.rows if r is not row and r.overlaps(row.begins, row.begins))
        for other in others:
            if other.purchase.item_id == row.purchase.item_id:
                yield f"an item was sold twice: {row.purchase}, {other.purchase}"
    for user in {row.purchase.user_id for row in database.rows}:
        for sale_id in {row.sale_id for row in database.rows}:
            rows = (r for r in database.rows if r.sale_id == sale_id and r.purchase.user_id == user)
            if database.most_at_once(rows, 0.0, math.inf) > plan.user_limit:
                yield f"{user} is over the limit of sale {sale_id}"


def _lost(database: WatchedDatabase) -> Iterator[str]:
    """At the end the database has every purchase that was ever stored, but for those that a replacement has lost."""
    stored = {purchase.checkout_id for sale_id in database.sale_ids() for _, purchase in database.purchases(sale_id)}
    for row in database.rows:
        if row.ends == math.inf and row.purchase.checkout_id not in stored:
            yield f"a purchase is gone from the database: {row}"


def _needless(history: History) -> Iterator[str]:
    """When only leaders are lost, a successor answers everybody in time."""
    for call in history.calls:
        if call.kind == "purchase" and call.said not in (LOST, "ok", "overloaded") and call.retry_after:
            yield f"a successor could have answered: {call}"
