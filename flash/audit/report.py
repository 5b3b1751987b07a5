"""What an audit found: one snapshot of all sales, and a verdict on every promise. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How many rows break a promise, and the first few of them."""

    name: str
    promise: str
    broken: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class SaleSummary:
    """The totals of one sale. `most_by_one_user` is the largest number of items that one user bought."""

    id: int
    starts_at: datetime
    first_item_id: int
    stock: int
    user_limit: int
    sold: int
    purchases: int
    buyers: int
    most_by_one_user: int
    epoch: int
    sold_out_at: datetime | None
    attempts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """One snapshot, judged. Attempts are counted by outcome; `attempts_of_no_sale` named no item of a known sale."""

    taken_at: datetime
    sales: tuple[SaleSummary, ...]
    attempts_of_no_sale: Mapping[str, int]
    checks: tuple[CheckResult, ...]

    @property
    def is_clean(self) -> bool:
        return not any(check.broken for check in self.checks)
