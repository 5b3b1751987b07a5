"""What `flash top` has seen: the latest look, and how fast the sales went. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flash.client.errors import FlashClientError
from flash.client.results import Sale

RATES_KEPT = 120


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the service. `control` is `GET /control/state`, if the operator's token is there."""

    now: datetime
    sales: Sequence[Sale]
    health: Mapping[str, Any]
    control: Mapping[str, Any] | None = None


class TopHistory:
    """The `latest` snapshot, `error` if the service did not answer after it, and sales per second."""

    def __init__(self) -> None:
        self.latest: Snapshot | None = None
        self.error: FlashClientError | None = None
        self.rates: deque[float] = deque(maxlen=RATES_KEPT)
        self.rate_by_sale: dict[int, float] = {}
        self._latest_at = 0.0

    def add(self, at: float, snapshot: Snapshot) -> None:
        """`at` is in seconds, by a clock that only goes forward."""
        before, seconds = self.latest, at - self._latest_at
        self.latest, self._latest_at, self.error = snapshot, at, None
        if before is None or seconds <= 0:
            return
        sold_before = {sale.id: sale.sold for sale in before.sales}
        self.rate_by_sale = {
            sale.id: max(0, sale.sold - sold_before.get(sale.id, sale.sold)) / seconds for sale in snapshot.sales
        }
        self.rates.append(sum(self.rate_by_sale.values()))

    def miss(self, error: FlashClientError) -> None:
        """The service did not answer: what is shown gets old."""
        self.error = error

    def sales_per_second(self) -> Sequence[float]:
        """The latest last. The operator's view is made of every process's own count, second by second."""
        series = _control(self.latest).get("series")
        told = series.get("sales") if isinstance(series, Mapping) else None
        return told if told else self.rates


def _control(snapshot: Snapshot | None) -> Mapping[str, Any]:
    return {} if snapshot is None or snapshot.control is None else snapshot.control
