"""Where the time of one checkout and of one purchase goes, hop by hop, between an idle service's processes.

One client asks at a time, so every stamp between a request and its answer belongs to it. The hops of a request add up
to its whole time; what the table adds up are their medians, which come close to the median of the whole.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.findings import Table
from benchmarks.idle import HttpClient
from benchmarks.load import Address, checkout, purchase
from benchmarks.stats import percentile

Stamp = tuple[int, str]

_IN = (("bytes read from the socket", ">RequestParser.feed"), ("parsed", "<RequestParser.feed"))
_OUT = (("response encoded", ">Connection._send"), ("written to the socket", "<Connection._send"))
CHECKOUT_HOPS = (
    *_IN,
    ("handler called", ">CheckoutHandlers.check_out"),
    ("queued, and taken by a batch", ">Checkouts.record_attempts"),
    ("encoded, given to the driver", ">Postgres.write"),
    ("PostgreSQL has answered", "<Postgres.write"),
    ("outcomes decoded", "<Checkouts.record_attempts"),
    ("asker woken, code made", "<CheckoutHandlers.check_out"),
    *_OUT,
)
PURCHASE_HOPS = (
    *_IN,
    ("handler called", ">PurchaseHandlers.purchase"),
    ("code read, queued", ">PurchaseClient.ask"),
    ("taken, XADD begun", ">PurchaseClient._add"),
    ("the leader has read it", ">PurchaseServer._deliver"),
    ("decoded, taken by the actor", ">InventoryActor._serve"),
    ("decided", ">Terms.confirm"),
    ("encoded, given to the driver", ">Postgres.write"),
    ("PostgreSQL has answered", "<Postgres.write"),
    ("what it confirmed, decoded", "<Terms.confirm"),
    ("reply begun", ">PurchaseServer.send"),
    ("reply added and read by the web process", ">PurchaseClient._receive"),
    ("asker woken", "<PurchaseClient.ask"),
    ("receipt made", "<PurchaseHandlers.purchase"),
    *_OUT,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """When each request left and its answer had come, by the clock of the stamps, in nanoseconds."""

    checkouts: list[tuple[int, int]]
    purchases: list[tuple[int, int]]


def ask_one_by_one(plan: tuple[Address, Sequence[int]]) -> Asked:
    """A checkout and a purchase of each item, in this process."""
    address, items = plan
    client, asked = HttpClient(address), Asked([], [])
    for number, item in enumerate(items):
        began = time.perf_counter_ns()
        body = client.ask(checkout(f"budget-{number // 5}", item).data)
        bought = purchase(body[9:-2], f"budget-{number}").data
        asked.checkouts.append((began, time.perf_counter_ns()))
        began = time.perf_counter_ns()
        client.ask(bought)
        asked.purchases.append((began, time.perf_counter_ns()))
    client.close()
    return asked


def read_stamps(files: Iterable[Path]) -> list[Stamp]:
    """Of all processes, in order of time."""
    lines = [line.split(" ", 1) for file in files for line in file.read_text().splitlines()]
    return sorted((int(at), name) for at, name in lines)


def budget_table(
    title: str, hops: Sequence[tuple[str, str]], asked: list[tuple[int, int]], stamps: list[Stamp]
) -> Table:
    """Medians in µs. A request that has not met all hops in order is left out and counted."""
    found, place = [], 0
    for began, ended in asked:
        while place < len(stamps) and stamps[place][0] < began:
            place += 1
        if times := _hops_of(hops, began, ended, stamps, place):
            found.append(times)
    heads = ("hop, up to which", "p50 µs", "so far µs")
    if not found:
        return Table(title, heads, [("no request has met all hops", None, None)])
    medians = [percentile(sorted(column), 0.5) / 1e3 for column in zip(*found, strict=True)]
    names = [*(name for name, _ in hops), "the client has read it"]
    rows: list[tuple[str | float | None, ...]] = [
        (name, median, sum(medians[: n + 1])) for n, (name, median) in enumerate(zip(names, medians, strict=True))
    ]
    whole = percentile(sorted(ended - began for began, ended in asked), 0.5) / 1e3
    rows.append((f"measured end to end ({len(found)} of {len(asked)} met all hops)", whole, None))
    return Table(title, heads, rows)


def _hops_of(
    hops: Sequence[tuple[str, str]], began: int, ended: int, stamps: list[Stamp], place: int
) -> list[int] | None:
    """Nanoseconds from each hop to the next, the last one to the client; None unless all were met in order.

    The client may have its answer before the service returns from sending it: that hop then counts as met.
    """
    times = [began]
    for _, name in hops:
        while place < len(stamps) and stamps[place][0] <= ended + 1_000_000 and stamps[place][1] != name:
            place += 1
        if place == len(stamps) or stamps[place][1] != name:
            return None
        times.append(min(stamps[place][0], ended))
        place += 1
    times.append(ended)
    return [after - before for before, after in itertools.pairwise(times)]
