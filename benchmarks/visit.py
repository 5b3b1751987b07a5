"""The course for a service that runs already (`--url`): its open sales, its own counts, its database if it is named.

Others may be buying there too, so counts may be larger than what we heard of, but never smaller.
"""

from __future__ import annotations

import secrets
from typing import Any

from benchmarks import ceilings, checks
from benchmarks.children import talking
from benchmarks.cluster import Cluster
from benchmarks.options import Options
from benchmarks.remote import Remote
from benchmarks.sale import Bench, figures, ratios

NO_SALE = "no open sale is left: start the service with a short FLASH_SALE_PERIOD, e.g. 5"


class Visit:
    """One run against `options.url`; the counterpart of `Course`."""

    def __init__(self, options: Options, bench: Bench, found: dict[str, Any], database_url: str | None) -> None:
        assert options.url is not None
        self._options = options
        self._bench = bench
        self.found = found
        self._database_url = database_url
        self._remote = Remote(options.url)
        self._run = secrets.token_hex(4)

    def run(self) -> None:
        self._note_what_is_missing()
        self._remote.get("/health")
        cluster = Cluster([self._remote.address])
        self.found["ceilings"]["constants"] = ceilings.constants(
            self._bench,
            web=1,
            clients=self._options.clients,
            seconds=self._options.ceiling_seconds,
            http=self._options.http,
        )
        for number, clients in enumerate(self._options.clients):
            self._sell(cluster, f"{self._run}-{number}", clients, None)
        if self._options.rate is not None:
            self._sell(cluster, f"{self._run}-rate", max(self._options.clients), self._options.rate)
        self._audit()

    def _note_what_is_missing(self) -> None:
        self.found["not_measured"] += [
            f"what speaks HTTP there; the ceiling is that of FLASH_HTTP={self._options.http} (say which with --http)",
            "CPU and memory of the service: its processes are not ours (--url)",
            "PostgreSQL's and Valkey's ceilings, refusals, sizes: they need stores of our own (leave --url out)",
        ]
        if self._database_url is None:
            self.found["not_measured"].append("the audit: set DATABASE_URL to the service's database (only read)")

    def _sell(self, cluster: Cluster, run: str, clients: int, rate: float | None) -> None:
        sale = self._remote.open_sale()
        title = f"{clients:,} clients"
        if sale is None:
            self.found["not_measured"].append(f"a sale with {title}: {NO_SALE}")
            return
        size = sum(count for _, count in sale["ranges"])
        title = f"sale {sale['sale']}, {size:,} items left, {title}" + (f", {rate:,g} a second" if rate else "")
        self._bench.progress.step(title)
        arguments = {"items": sale["ranges"], "run": run, "until_sold_out": not rate}
        heard = self._bench.measured(cluster, "sale", arguments, clients=clients, rate=rate, count=size)
        row = {"kind": "rate" if rate else "clients", "title": title, "web": 1, "clients": clients, "size": size}
        row |= {"rate": rate, **{key: value for key, value in heard.items() if key != "codes"}, **figures(heard)}
        row["processes"] = row["processes"][-1:]
        row["database"] = self._recount(title, heard, sale)
        row["commits"] = None
        row["ratios"] = ratios(row, self.found["ceilings"]["constants"])
        self.found["sales"].append(row)
        self._bench.progress.done(f"{row['sale_seconds']:.2f} s, {row['sales_per_second']:,.0f} sales/s")

    def _recount(self, title: str, heard: dict[str, Any], sale: dict[str, Any]) -> dict[str, Any]:
        counted: dict[str, Any] = self._remote.sold(sale["sale"])
        truth = {**counted, "purchases": counted["sold"], "attempts": {}}
        wrong = list(checks.of_sale(heard, truth, is_alone=False))
        since = counted["sold"] - sale["sold_before"]
        accepted = heard["accepted"]["purchase"]["count"]
        if since < accepted:
            wrong.append(f"buyers heard of {accepted} purchases, the service counts {since} more than before")
        self.found["wrong"] += [f"{title}: {text}" for text in wrong]
        return truth

    def _audit(self) -> None:
        if self._database_url is None:
            return
        self._bench.progress.step("the audit of the service's database")
        with talking("books", self._database_url, folder=self._bench.folder) as books:
            judged = books.ask({"call": "judge", "arguments": {}}, self._bench.watch)
        self.found["audit"] = {key: judged[key] for key in ("is_clean", "promises", "broken")}
        self.found["audit"]["sales"] = len(judged["sales"])
        self.found["wrong"] += [f"audit: {text}" for text in checks.of_audit(judged)]
        self._bench.progress.done("clean" if judged["is_clean"] else "BROKEN")
