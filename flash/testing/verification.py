"""Compares what buyers were told with what the database holds. Each check returns what contradicts it, as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from flash.testing.history import History
from flash.testing.stored import Stored, read_stored
from flash.testing.stored import rows as rows


async def verify(history: History, database_url: str, *, sold_out: bool) -> None:
    """Check `history` against the database: nothing acknowledged is missing, nothing is there that nobody asked for.

    `sold_out`: there was enough demand, so sale 1 must have sold all its items.
    """
    stored = await read_stored(database_url)
    assert stored.report.is_clean, stored.report
    wrong = [*lost(history, stored), *unexpected(history, stored), *unrecorded(history, stored)]
    assert not wrong, "\n".join(wrong)
    (left,) = [sale.stock - sale.sold for sale in stored.report.sales if sale.id == 1]
    if sold_out or history.sold_out_heard:
        assert left == 0, f"{left} items are left"


def lost(history: History, stored: Stored) -> Iterator[str]:
    """What a buyer heard "yes" to must be there, as it was told."""
    for text, receipt in history.sold.items():
        row = stored.purchase_of(text)
        told = (receipt["item"]["id"], receipt["sale_id"], receipt["user_id"])
        if row is None:
            yield f"an acknowledged purchase is missing: {receipt}"
        elif told != (row.item_id, row.sale_id, row.user_id):
            yield f"a buyer was told {receipt}, and stored is {row}"
    for text in history.codes:
        if stored.open(text).checkout_id not in stored.issued:
            yield f"a code was handed out but has no row: {text}"


def unexpected(history: History, stored: Stored) -> Iterator[str]:
    """Whatever was sold, somebody asked for, and was not told anything else."""
    asked = {stored.open(text).checkout_id for text in history.sold.keys() | history.open_codes}
    for checkout_id, row in stored.purchases.items():
        if checkout_id not in asked:
            yield f"this was sold although nobody asked for it, or its buyer was told something else: {row}"


def unrecorded(history: History, stored: Stored) -> Iterator[str]:
    """Every attempt that was answered is a row with the outcome that was answered."""
    for (user, outcome), count in (history.attempts - stored.attempts).items():
        yield f"{count} attempts of {user} were answered {outcome}, and are not recorded as that"
