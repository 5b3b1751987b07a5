"""What the database twin keeps of a sale and of an attempt to check out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from flash.domain import Attempt, CheckoutOutcome, Code, ItemId, MalformedAttempt, Pause, Purchase, SaleId


@dataclass(slots=True)
class SaleRow:
    id: SaleId
    starts_at: datetime
    first_item_id: ItemId
    stock: int
    user_limit: int
    epoch: int = 0
    token: bytes = b""
    sold_out_at: datetime | None = None
    pause: Pause | None = None
    purchases: dict[ItemId, tuple[int, Purchase]] = field(default_factory=dict)
    """By item, each with the epoch that sold it."""


@dataclass(frozen=True, slots=True)
class AttemptRow:
    attempt: Attempt | MalformedAttempt
    outcome: CheckoutOutcome
    code: Code | None
    attempted_at: datetime
