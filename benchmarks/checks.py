"""What must be true of a measured sale, whatever it took: one sentence for each thing that is not. Pure.

`heard` is what the buyers were told, `truth` what the database says of the sale afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Found = Mapping[str, Any]

TRUTHFUL = frozenset({"item_sold", "sold_out"})
"""What a buyer may be refused with in a sale where nobody asks for more than their ten items."""


def of_sale(heard: Found, truth: Found | None, *, is_alone: bool = True) -> Iterator[str]:
    """Everything that is wrong. `is_alone`: nobody else was buying, so all that is in the database was ours."""
    if not heard["is_finished"]:
        yield f"the load ended unfinished after {heard['seconds']:.1f} s, with {heard['lost']} connections lost"
    yield from unexpected(heard["answers"], TRUTHFUL)
    if truth is None:
        return
    accepted = heard["accepted"]["purchase"]["count"]
    for name in ("sold", "purchases"):
        count = truth[name]
        if count > truth["stock"]:
            yield f"{count} {name} of a stock of {truth['stock']}"
        if is_alone and count != accepted:
            yield f"buyers heard of {accepted} purchases, the database has {count} {name}"
        if count < accepted:
            yield f"buyers heard of {accepted} purchases, the database has only {count} {name}"
    if is_alone and heard["is_finished"] and truth["sold"] != truth["stock"]:
        yield f"every item was asked for, but only {truth['sold']} of {truth['stock']} were sold"
    if is_alone:
        yield from attempts(heard, truth["attempts"])


def attempts(heard: Found, recorded: Mapping[str, int]) -> Iterator[str]:
    """Every answered checkout is recorded under the outcome that was heard; one answered 503 may be, or not."""
    told = {"issued": heard["accepted"]["checkout"]["count"]}
    for kind, _status, code, count in heard["answers"]:
        if kind == "checkout":
            told[code] = told.get(code, 0) + count
    may_be_more = heard["sheds"] + heard["lost"] if heard["is_finished"] else 1 << 62
    for outcome in {*told, *recorded}:
        surplus = recorded.get(outcome, 0) - told.get(outcome, 0)
        if not 0 <= surplus <= may_be_more:
            yield f"{told.get(outcome, 0)} checkouts heard {outcome}, the database has {recorded.get(outcome, 0)}"


def unexpected(answers: Sequence[tuple[str, int, str, int]], allowed: frozenset[str]) -> Iterator[str]:
    """Refusals that nobody should have heard."""
    for kind, status, code, count in answers:
        if code not in allowed:
            yield f"{count} of the {kind}s were answered {status} {code}"


def of_audit(judged: Found | None) -> Iterator[str]:
    """Broken promises."""
    for check in judged["broken"] if judged else ():
        yield f"{check['broken']} rows break the promise that {check['promise']}"
