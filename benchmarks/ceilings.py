"""The ceilings: what the parts can do without the service, measured in the same run, on the same machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.children import talking
from benchmarks.cluster import Cluster, Stores, running_constants
from benchmarks.sale import Bench, microseconds_each

BATCHES = (1, 10, 50, 200, 500, 1000)
TRIPS = 2_000
_WARM_SHARE = 0.25

HANDLER, STOCK = "handler", "stock"
"""The service's own HTTP side with nothing behind it, and Hypercorn as it comes."""

_NAMES = {HANDLER: "the service's handler", STOCK: "stock Hypercorn"}


def constants(bench: Bench, *, web: int, clients: Sequence[int], seconds: float, http: str) -> list[dict[str, Any]]:
    """Requests a second of servers that answer a constant: as many processes as the service has web ones."""
    rows = []
    for kind, program in ((HANDLER, http), (STOCK, STOCK)):
        with running_constants(program, bench.folder, bench.watch, count=web) as servers:
            rows += [_constant(bench, kind, servers, number, seconds) for number in clients]
    return rows


def _constant(bench: Bench, kind: str, servers: Cluster, clients: int, seconds: float) -> dict[str, Any]:
    bench.progress.step(f"a constant from {_NAMES[kind]}, {clients:,} clients")
    plan = {"clients": clients, "seconds": seconds, "warm_seconds": seconds * _WARM_SHARE}
    heard = bench.measured(servers, "constant", {}, **plan)
    rate = heard["requests"] / heard["seconds"] if heard["seconds"] else 0.0
    bench.progress.done(f"{rate:,.0f} requests/s")
    return {
        "by": kind,
        "web": len(servers.addresses),
        "clients": clients,
        "requests_per_second": rate,
        **{key: heard[key] for key in ("requests", "seconds", "lost", "generator")},
        "cpu_us_per_request": microseconds_each(heard["processes"], heard["requests"] + heard["warm_requests"]),
        "latency": heard["accepted"]["checkout"],
    }


def group_commit(bench: Bench, stores: Stores, seconds: float) -> dict[str, Any]:
    """One connection committing the service's own rows, at several batch sizes."""
    bench.progress.step("one PostgreSQL connection committing groups")
    with talking("group_commit", stores.postgres.url, folder=bench.folder) as program:
        found: dict[str, Any] = program.ask({"batches": BATCHES, "seconds": seconds / 2}, bench.watch)
    best = max(row["sales_per_second"] for row in found["bridge"])
    bench.progress.done(f"{best:,.0f} sales/s at best, through the bridge")
    return found


def round_trips(bench: Bench, stores: Stores, seconds: float) -> dict[str, Any]:
    """Valkey's round trips, and the disk's."""
    bench.progress.step("Valkey round trips, and the disk")
    question = {"count": max(100, int(TRIPS * min(1.0, seconds))), "seconds": seconds}
    with talking("round_trips", stores.valkey.url, folder=bench.folder) as program:
        found: dict[str, Any] = program.ask(question, bench.watch)
    bench.progress.done(
        f"{found['ping']['p50_ms'] * 1000:,.0f} µs a PING, {found['fdatasync']['p50_ms']:,.2f} ms a sync"
    )
    return found
