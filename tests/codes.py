"""Codes and what the database made of them, for tests that need some."""

from __future__ import annotations

from functools import partial

from flash.codes import KEY_BYTES, digest_user
from flash.domain import Approved, CheckoutId, Code, ItemId, RequestId, SaleId, UserId

digest = partial(digest_user, bytes(KEY_BYTES))
"""What stands for a user in these codes, and in those of `DatabaseTwin`."""


def a_code(checkout: int, *, sale: int = 1, item: int | None = None, user: str = "ann", issued_at: int = 0) -> Code:
    """A code for the item of its checkout's number, unless `item` is given."""
    item_id = ItemId(checkout if item is None else item)
    return Code(SaleId(sale), CheckoutId(checkout), item_id, issued_at, digest(UserId(user)))


def approve(code: Code, slot: int = 1, request: str | None = None) -> Approved:
    return Approved(code, RequestId(request or f"auto:{code.checkout_id}"), slot)
