"""What the leaders of one host have decided, all sales together. Counted by batch, never by purchase that sells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flash.domain import Outcome, Repeated, Sold
from flash.metrics.counts import BatchCounts


class LeaderCounts:
    """`sold` counts items. `others` counts what did not sell: `repeated`, and each refusal by its code."""

    __slots__ = ("batches", "expired", "others", "sold")

    def __init__(self) -> None:
        self.batches = BatchCounts()
        self.sold = self.expired = 0
        self.others: Counter[str] = Counter()

    def note(self, outcomes: Sequence[Outcome], expired: int, seconds: float) -> None:
        """A batch has been decided, and confirmed by the database, in so many seconds."""
        self.batches.note(len(outcomes), seconds)
        self.expired += expired
        for outcome in outcomes:
            if isinstance(outcome, Sold):
                self.sold += 1
            else:
                self.others["repeated" if isinstance(outcome, Repeated) else outcome.refusal.value] += 1
