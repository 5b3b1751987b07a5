"""The checks on a history that concern faults: was every "no" true, did epochs rise, did only the leader commit.

What was lost, unexpected or unrecorded is in `flash.testing.verification`. Times of calls are compared with those of
the database, which has the same clock: the drill runs on one machine. Each check yields what contradicts it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from drill.witness import Commit
from flash.testing.history import NOT_SENT, TRY_LATER, UNKNOWN, Call, History
from flash.testing.stored import PurchaseRow, Stored

Terms: TypeAlias = Mapping[tuple[int, int], Sequence[str]]
"""Which processes said to lead, by sale and epoch."""

_SLACK_SECONDS = 0.05
_NOTHING_DONE = (TRY_LATER | {NOT_SENT}) - UNKNOWN
_NEVER_TRUE = frozenset(
    ("invalid_code", "invalid_request", "item_not_found", "idempotency_key_reused", "internal_error", "not_found")
)


class Refusals:
    """Was each refusal true when it was said? `wall_offset`: seconds from Trio's clock to the wall's."""

    def __init__(self, calls: Sequence[Call], stored: Stored, wall_offset: float) -> None:
        self._calls, self._stored, self._offset = calls, stored, wall_offset
        self._holders = {call.code: call.user for call in calls if call.kind == "checkout" and call.code}
        self._by_item = {row.item_id: row for row in stored.purchases.values()}
        self._by_user: dict[tuple[int, str], list[float]] = defaultdict(list)
        for row in stored.purchases.values():
            self._by_user[row.sale_id, row.user_id].append(row.purchased_at.timestamp())

    def false(self) -> Iterator[str]:
        """The refusals that cannot have been true, as far as the times of calls tell."""
        for call in self._calls:
            if call.outcome != "ok" and call.outcome not in _NOTHING_DONE | UNKNOWN and not self._is_true(call):
                yield f"{call.outcome} was not true: {call}, stored {self._by_item.get(call.item)}"

    def _is_true(self, call: Call) -> bool:
        if call.outcome in _NEVER_TRUE:
            return False
        return self._is_true_of_purchase(call) if call.kind == "purchase" else self._is_true_of_attempt(call)

    def _is_true_of_attempt(self, call: Call) -> bool:
        if call.outcome == "item_sold":
            return self._was(self._by_item.get(call.item), call)
        sale = next(
            sale
            for sale in self._stored.report.sales
            if sale.first_item_id <= call.item < sale.first_item_id + sale.stock
        )
        if call.outcome == "sold_out":
            return self._is_past(sale.sold_out_at, call)
        return call.outcome == "sale_not_open" and sale.starts_at.timestamp() > call.began + self._offset

    def _is_true_of_purchase(self, call: Call) -> bool:
        code, own = self._stored.open(call.code), self._stored.purchase_of(call.code)
        if call.outcome == "code_already_used":
            return own is not None and own.request_id != f"key:{call.key}" and self._was(own, call)
        if own is not None:  # this very code has bought, whatever else is true
            return False
        if call.outcome == "item_sold":
            return self._was(self._by_item.get(code.item_id), call)
        (sale,) = [sale for sale in self._stored.report.sales if sale.id == code.sale_id]
        if call.outcome == "sold_out":
            return self._is_past(sale.sold_out_at, call)
        if call.outcome == "user_limit_reached":
            times = self._by_user[code.sale_id, self._holders[call.code]]
            return sum(time <= self._end(call) for time in times) >= sale.user_limit
        return False

    def _was(self, row: PurchaseRow | None, call: Call) -> bool:
        return row is not None and self._is_past(row.purchased_at, call)

    def _is_past(self, time: datetime | None, call: Call) -> bool:
        return time is not None and time.timestamp() <= self._end(call)

    def _end(self, call: Call) -> float:
        return call.ended + self._offset + _SLACK_SECONDS


def done_after_all(history: History, stored: Stored) -> Iterator[str]:
    """Who heard nothing but "nothing was done" has bought nothing."""
    may_have_bought = {call.code for call in history.calls if call.kind == "purchase" and _may_have_acted(call)}
    for code in {call.code for call in history.calls if call.kind == "purchase"} - may_have_bought:
        if row := stored.purchase_of(code):
            yield f"every call with this code was told that nothing was done: {row}"


def recorded_too_often(history: History, stored: Stored) -> Iterator[str]:
    """No user has more attempts stored than calls that may have been recorded."""
    asked = Counter(call.user for call in history.calls if call.kind == "checkout" and _may_have_acted(call))
    stored_of: Counter[str] = Counter()
    for (user, _), count in stored.attempts.items():
        stored_of[user] += count
    for user, count in (stored_of - asked).items():
        yield f"{count} more attempts of {user} are recorded than were made"


def _may_have_acted(call: Call) -> bool:
    return call.outcome not in _NOTHING_DONE


def over_the_limit(stored: Stored) -> Iterator[str]:
    """Nobody has more of one sale than its limit."""
    limits = {sale.id: sale.user_limit for sale in stored.report.sales}
    for (sale_id, user), count in Counter((row.sale_id, row.user_id) for row in stored.purchases.values()).items():
        if count > limits[sale_id]:
            yield f"{user} has {count} items of sale {sale_id}"


def not_in_order(stored: Stored) -> Iterator[str]:
    """Purchases of one epoch all come before those of a later one."""
    highest: dict[int, PurchaseRow] = {}
    for row in sorted(stored.purchases.values(), key=lambda row: row.purchased_at):
        before = highest.setdefault(row.sale_id, row)
        if row.epoch < before.epoch:
            yield f"a purchase of an earlier epoch came later: {row} after {before}"
        else:
            highest[row.sale_id] = row


def by_others_than_the_leader(terms: Terms, commits: Sequence[Commit]) -> Iterator[str]:
    """One process leads an epoch, and nobody else commits in it: as the processes said, and as the database saw it."""
    for (sale_id, epoch), names in terms.items():
        if len(names) > 1:
            yield f"sale {sale_id}, epoch {epoch} was led by {' and by '.join(names)}"
    for commit in commits:
        said = terms.get((commit.sale_id, commit.epoch), ())
        if commit.process != commit.leader or commit.process not in said:
            yield (
                f"{commit.process} sold {commit.items} items of sale {commit.sale_id} in epoch {commit.epoch}, "
                f"which {' and '.join(said) or 'nobody'} said to lead, after {commit.leader} had begun the latest term"
            )


def bought_nothing(missing: set[str], stored: Stored) -> Iterator[str]:
    """A receipt that was denied in the end is not there."""
    for code in missing:
        if row := stored.purchase_of(code):
            yield f"its receipt was denied, and stored is {row}"
