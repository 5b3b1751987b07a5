"""Opens the sales that are measured, re-reads what became of them, and names everything that is not true.

`flash.audit` counts and judges. Nothing that a web process or the load generator believes is taken for a count, except
at an external target, where others may be buying too: its own counts may be larger than what our buyers heard of.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import trio

from benchmarks.findings import Counts
from benchmarks.load import LoadResult, Refusal
from flash.audit.reading import read
from flash.audit.report import Report
from flash.errors import OperatorError
from flash.stores.migration import migrate
from flash.stores.postgres import Row, open_postgres
from flash.stores.schedule import make_extra_sale
from flash.testing.client import Client, ConnectionLost

USER_LIMIT = 10
_LEADER_SECONDS = 20.0
_STATE = "SELECT first_item_id, stock, epoch, starts_at <= now() AS is_open FROM sales WHERE id = $1"
# now() is the same for all rows of a statement, so each group commit has left a time of its own
_COMMITS = """
SELECT (SELECT count(DISTINCT attempted_at) FROM checkouts WHERE sale_id = $1),
       (SELECT count(DISTINCT purchased_at) FROM purchases WHERE sale_id = $1)
"""

TRUTHFUL = frozenset({"item_sold", "sold_out"})
"""What a buyer may be refused with in a sale where nobody asks for more than ten items."""

open_database = partial(open_postgres, connections_max=1, timeout_seconds=30, name="flash benchmark")

_VISIBLE_SECONDS = 2.5
"""After this long, visitors of a service see what has been sold."""


@dataclass(frozen=True, slots=True)
class OpenSale:
    """A sale that is open and has a leader. `items` are those still for sale."""

    id: int
    items: Sequence[int]
    sold_before: int = 0


class Oracle:
    """Asks one database."""

    is_alone = True

    def __init__(self, url: str) -> None:
        self.url = url

    async def prepare(self) -> str:
        """Apply the schema; PostgreSQL's version."""
        await migrate(self.url)
        return str((await self._fetch("SHOW server_version"))[0])

    async def open_sale(self, size: int) -> OpenSale:
        """A new sale of `size` items, which begins now: waits for a second that has none yet."""
        made: list[int] = []
        async with open_database(self.url) as database:
            while not made:
                made += await database.run(make_extra_sale, (1, size, USER_LIMIT))
                await trio.sleep(0.1)
        with trio.move_on_after(_LEADER_SECONDS):
            while True:
                row = await self._fetch(_STATE, made[0])
                if row["is_open"] and row["epoch"]:
                    return OpenSale(made[0], range(row["first_item_id"], row["first_item_id"] + row["stock"]))
                await trio.sleep(0.02)
        raise OperatorError(f"nobody leads sale {made[0]} after {_LEADER_SECONDS:.0f} seconds")

    async def count(self, sale: OpenSale) -> tuple[Counts, list[str]]:
        """What the database says of the sale, and every promise that is broken."""
        report, commits = await read(self.url, sale.id), await self._fetch(_COMMITS, sale.id)
        (found,) = report.sales
        return Counts(found.sold, found.purchases, found.stock, found.attempts, *commits), broken(report)

    async def _fetch(self, sql: str, *args: object) -> Row:
        async with open_database(self.url) as database:
            (row,) = await database.fetch(sql, *args)
        return row


class ExternalTarget:
    """A service that runs already, asked over its public HTTP. Raises `OperatorError` if it does not answer as ours."""

    is_alone = False

    def __init__(self, url: str) -> None:
        self.url = url

    async def open_sale(self, size: int) -> OpenSale | None:
        """The open sale with the most items left, whatever their number; None if there is none."""
        sales = [sale for sale in (await self.get("/sales?limit=100"))["sales"] if sale["status"] == "open"]
        if not sales:
            return None
        sale = max(sales, key=lambda found: int(found["remaining"]))
        items: list[int] = []
        after: int | None = 0
        while after is not None:
            page = await self.get(f"/sales/{sale['id']}/items?available=true&limit=100&after={after}")
            items += [item["id"] for item in page["items"]]
            after = page["next"]
        return OpenSale(sale["id"], items, sale["sold"])

    async def count(self, sale: OpenSale) -> tuple[Counts, list[str]]:
        """Promises are the audit's business."""
        await trio.sleep(_VISIBLE_SECONDS)
        found = await self.get(f"/sales/{sale.id}")
        return Counts(found["sold"], found["sold"], found["stock"]), []

    async def get(self, path: str) -> Any:
        try:
            with trio.fail_after(10):
                async with Client(self.url) as client:
                    answer = await client.get(path)
            found = answer.json()
        except (OSError, ConnectionLost, trio.TooSlowError, orjson.JSONDecodeError) as error:
            raise OperatorError(f"{self.url} does not answer as the flash service does: {error}") from error
        if answer.status == 200:
            return found
        raise OperatorError(f"{self.url}{path} answered {answer.status}: is this the flash service?")


def broken(report: Report) -> list[str]:
    """The promises that do not hold."""
    return [f"{check.broken} rows break the promise that {check.promise}" for check in report.checks if check.broken]


def wrong_with(heard: LoadResult, counts: Counts, sold_before: int = 0, is_alone: bool = True) -> Iterator[str]:
    """Everything that contradicts the buyers. Unless `is_alone`, counts may be larger than what ours heard of."""
    if not heard.is_finished:
        yield f"the load ended unfinished after {heard.seconds:.1f} s, with {heard.lost} connections lost"
    yield from unexpected(heard.refusals, TRUTHFUL)
    accepted = heard.accepted["purchase"].count
    for name, count in (("sold", counts.sold), ("purchases", counts.purchases)):
        if count > counts.stock:
            yield f"{count} {name} of a stock of {counts.stock}"
        new = count - sold_before
        if new < accepted or (is_alone and new != accepted):
            yield f"buyers heard of {accepted} purchases, the service counts {new} more {name} than before"
    if not is_alone:
        return
    if heard.is_finished and counts.sold != counts.stock:
        yield f"every item was asked for, but only {counts.sold} of {counts.stock} were sold"
    # every answered checkout is recorded under the outcome that was heard; one answered 503 may be there or not
    told = Counter({found.code: found.count for found in heard.refusals if found.kind == "checkout"})
    told["issued"] = heard.accepted["checkout"].count
    may_be_more = heard.rejected + heard.lost if heard.is_finished else math.inf
    for outcome in sorted({*told, *counts.attempts}):
        if not 0 <= (recorded := counts.attempts.get(outcome, 0)) - told[outcome] <= may_be_more:
            yield f"{told[outcome]} checkouts heard {outcome}, the database has {recorded}"


def unexpected(refusals: Sequence[Refusal], allowed: frozenset[str]) -> list[str]:
    """Refusals that nobody should have heard."""
    wrong = [refusal for refusal in refusals if refusal.code not in allowed]
    return [f"{found.count} of the {found.kind}s were answered {found.status} {found.code}" for found in wrong]
