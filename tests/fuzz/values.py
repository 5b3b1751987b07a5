"""Right values, which the targets make wrong ones of."""

from __future__ import annotations

from datetime import UTC, datetime

from flash.domain import CheckoutId, Command, ItemId, Purchase, RequestId, UserId
from tests.codes import a_code

PURCHASE = Purchase(
    CheckoutId(7), RequestId("auto:7"), ItemId(7), UserId("zoë"), 1, datetime(2026, 1, 1, 12, tzinfo=UTC)
)


def a_command(number: int, sale: int = 1) -> Command:
    return Command(a_code(number, sale=sale), RequestId(f"auto:{number}"))
