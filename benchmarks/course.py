"""What is measured, in which order, on a service of our own. Each step adds to `found`, which is what is reported."""

from __future__ import annotations

import secrets
from typing import Any

from benchmarks import ceilings, checks
from benchmarks.children import Talker, talking
from benchmarks.cluster import Cluster, Stores, running_cluster, running_stores
from benchmarks.options import Options
from benchmarks.refusals import Refusals
from benchmarks.sale import Bench, figures, ratios

_WARM_ITEMS = 1_000
_WARM_CLIENTS = 32
_REFUSALS_MAX = 10_000
_USER_LIMIT = 10

CALM_SHARE = 0.1
"""Others using more of the machine than this make the figures doubtful, and the report says so."""


class Course:
    """One run. `found["wrong"]` names everything that is not true; `found["not_measured"]` what is missing and why."""

    def __init__(self, options: Options, bench: Bench, found: dict[str, Any]) -> None:
        self._options = options
        self._bench = bench
        self.found = found
        self._run = secrets.token_hex(4)
        self._runs = 0
        self._books: Talker

    def run(self) -> None:
        self._bench.progress.step("starting the stores")
        with running_stores(self._bench.folder, self._bench.watch) as stores:
            with talking("books", stores.postgres.url, folder=self._bench.folder) as self._books:
                self._ask("migrate")
                self.found["versions"]["PostgreSQL"] = self._ask("version")
                self._bench.progress.done("ready")
                for web in self._options.web:
                    self._measure_with(stores, web)
                self._audit()
            self._measure_stores(stores)

    def _measure_with(self, stores: Stores, web: int) -> None:
        """Everything with that many web processes; what needs no comparison over web processes, at the last number."""
        self.found["ceilings"]["constants"] += ceilings.constants(
            self._bench,
            web=web,
            clients=self._options.clients,
            seconds=self._options.ceiling_seconds,
            http=self._options.http,
        )
        settings = {"FLASH_HTTP": self._options.http, "FLASH_SALE_SIZE": str(min(_WARM_ITEMS, self._options.size))}
        inventory = self._options.inventory
        with running_cluster(stores, self._bench.watch, web=web, inventory=inventory, settings=settings) as cluster:
            self._warm_up(cluster)
            for clients in self._options.clients:
                self._sell(cluster, "clients", clients, self._options.size)
            if web != self._options.web[-1]:
                return
            for size in self._options.sizes:
                self._sell(cluster, "size", self._options.middle_clients, size)
            if self._options.rate is not None:
                self._sell(cluster, "rate", max(self._options.clients), self._options.size, self._options.rate)
            self._refuse(cluster)

    def _warm_up(self, cluster: Cluster) -> None:
        """A small sale before the first that counts: connections, prepared statements, caches."""
        self._bench.progress.step("warming up")
        sale = self._open_sale(min(_WARM_ITEMS, self._options.size))
        arguments = self._sale_arguments(sale)
        clients = min(_WARM_CLIENTS, *self._options.clients)
        heard = self._bench.load("sale", arguments, cluster.addresses, clients=clients)
        self._judge("the warm-up", heard, sale)
        self._bench.progress.done("done")

    def _sell(self, cluster: Cluster, kind: str, clients: int, size: int, rate: float | None = None) -> None:
        web = len(cluster.addresses)
        title = f"a sale of {size:,}, {clients:,} clients, {web} web" + (f", {rate:,g} a second" if rate else "")
        self._bench.progress.step(title)
        sale = self._open_sale(size)
        plan = {"clients": clients, "rate": rate, "count": size}
        heard = self._bench.measured(cluster, "sale", self._sale_arguments(sale, not rate), **plan)
        row = {"kind": kind, "title": title, "web": web, "clients": clients, "size": size, "rate": rate}
        row |= {key: value for key, value in heard.items() if key != "codes"}
        row |= figures(heard)
        row["database"] = self._judge(title, heard, sale)
        row["commits"] = self._ask("commits", sale=sale["sale"])
        row["ratios"] = ratios(row, self.found["ceilings"]["constants"])
        self.found["sales"].append(row)
        self._bench.progress.done(f"{row['sale_seconds']:.2f} s, {row['sales_per_second']:,.0f} sales/s")

    def _refuse(self, cluster: Cluster) -> None:
        size = min(2 * self._options.size, 2 * _REFUSALS_MAX)
        sale = self._open_sale(size)
        refusals = Refusals(self._bench, cluster, sale, self._options.middle_clients, self._run)
        refusals.measure()
        judged = self._ask("judge", sale=sale["sale"])
        truth = judged["sales"][0]
        if truth["purchases"] != size:
            refusals.wrong.append(f"{truth['purchases']} of {size} items were sold")
        self.found["refusals"] = refusals.rows
        self.found["wrong"] += [f"refusals: {text}" for text in (*refusals.wrong, *checks.of_audit(judged))]

    def _open_sale(self, size: int) -> dict[str, int]:
        sale: dict[str, int] = self._ask("open_sale", size=size, user_limit=_USER_LIMIT)
        return sale

    def _sale_arguments(self, sale: dict[str, int], until_sold_out: bool = True) -> dict[str, Any]:
        self._runs += 1
        items = [(sale["first_item"], sale["stock"])]
        return {"items": items, "run": f"{self._run}-{self._runs}", "until_sold_out": until_sold_out}

    def _judge(self, title: str, heard: dict[str, Any], sale: dict[str, int]) -> dict[str, Any]:
        """What the database says of the sale; whatever contradicts the buyers or a promise is noted as wrong."""
        judged = self._ask("judge", sale=sale["sale"])
        truth: dict[str, Any] = judged["sales"][0]
        wrong = [*checks.of_sale(heard, truth), *checks.of_audit(judged)]
        self.found["wrong"] += [f"{title}: {text}" for text in wrong]
        return truth

    def _audit(self) -> None:
        self._bench.progress.step("the audit of everything that was sold")
        judged = self._ask("judge")
        self.found["audit"] = {key: judged[key] for key in ("is_clean", "promises", "broken")}
        self.found["audit"]["sales"] = len(judged["sales"])
        self.found["wrong"] += [f"audit: {text}" for text in checks.of_audit(judged)]
        self._bench.progress.done("clean" if judged["is_clean"] else "BROKEN")

    def _measure_stores(self, stores: Stores) -> None:
        """Last, and with nothing else running; the database of the sales is not touched."""
        found, seconds = self.found["ceilings"], self._options.ceiling_seconds
        found["postgres"] = ceilings.group_commit(self._bench, stores, seconds)
        found["valkey"] = ceilings.round_trips(self._bench, stores, seconds)
        self.found["versions"]["Valkey"] = found["valkey"]["version"]

    def _ask(self, call: str, **arguments: Any) -> Any:
        return self._books.ask({"call": call, "arguments": arguments}, self._bench.watch)
