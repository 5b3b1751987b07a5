"""What a no costs beside a yes: the same number of requests of each sort, one after the other, on one sale."""

from __future__ import annotations

from typing import Any

from benchmarks import checks
from benchmarks.cluster import Cluster
from benchmarks.sale import Bench, microseconds_each

_ITEM_SOLD = frozenset({"item_sold"})
_SOLD_OUT = frozenset({"item_sold", "sold_out"})
"""A web process may learn a little later that the sale is sold out: until then the item is sold, which is true too."""


class Refusals:
    """Half of the sale's items are bought, then asked for again; then the rest goes, and they are asked for again."""

    def __init__(self, bench: Bench, cluster: Cluster, sale: dict[str, int], clients: int, run: str) -> None:
        self._bench = bench
        self._cluster = cluster
        self._clients = clients
        self._run = run
        self._first = sale["first_item"]
        self._half = sale["stock"] // 2
        self._rest = sale["stock"] - self._half
        self.rows: list[dict[str, Any]] = []
        self.wrong: list[str] = []

    def measure(self) -> None:
        codes = self._checkouts("issued", "a checkout is issued", None)
        spare = self._checkouts(None, "once more", None)
        self._purchases("sold", "a purchase is made", codes, None)
        self._checkouts("item_sold", "a checkout of a sold item", _ITEM_SOLD)
        self._purchases("item_sold", "a purchase of a sold item", spare, _ITEM_SOLD)
        self._sell_the_rest()
        self._checkouts("sold_out", "a checkout when sold out", _SOLD_OUT)
        self._purchases("sold_out", "a purchase when sold out", spare, _SOLD_OUT)

    def _checkouts(self, answer: str | None, title: str, refusals: frozenset[str] | None) -> list[str]:
        arguments = {"first": self._first, "count": self._half, "run": f"{self._run}-{len(self.rows)}"}
        return self._phase("checkout", answer, title, refusals, "checkouts", arguments)

    def _purchases(self, answer: str, title: str, codes: list[str], refusals: frozenset[str] | None) -> None:
        arguments = {"codes": codes, "run": f"{self._run}-{len(self.rows)}"}
        self._phase("purchase", answer, title, refusals, "purchases", arguments)

    def _sell_the_rest(self) -> None:
        self._bench.progress.step("selling the rest")
        items = [(self._first + self._half, self._rest)]
        arguments = {"items": items, "run": f"{self._run}-rest", "until_sold_out": False}
        heard = self._bench.load("sale", arguments, self._cluster.addresses, clients=self._clients)
        self.wrong += checks.unexpected(heard["answers"], frozenset())
        self._bench.progress.done(f"{heard['accepted']['purchase']['count']:,} sold")

    def _phase(
        self, kind: str, answer: str | None, title: str, refusals: frozenset[str] | None, script: str, arguments: Any
    ) -> list[str]:
        """Measure one sort of request; every answer must be the one expected."""
        self._bench.progress.step(title)
        heard = self._bench.measured(self._cluster, script, arguments, clients=self._clients)
        expected = heard["accepted" if refusals is None else "refused"][kind]
        if expected["count"] != self._half:
            self.wrong.append(f"{title}: {expected['count']} of {self._half} were answered as expected")
        self.wrong += checks.unexpected(heard["answers"], refusals or frozenset())
        cost = microseconds_each(heard["processes"], expected["count"])
        rate = expected["count"] / heard["seconds"] if heard["seconds"] else 0.0
        self._bench.progress.done(f"{rate:,.0f} requests/s" + (f", {cost:,.0f} µs of CPU each" if cost else ""))
        if answer is not None:
            row = {"kind": kind, "answer": answer, "title": title, "requests_per_second": rate}
            self.rows.append({**row, "latency": expected, "cpu_us_per_request": cost, "answers": heard["answers"]})
        codes: list[str] = heard["codes"]
        return codes
