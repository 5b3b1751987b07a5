"""Opens the sales that are measured, re-reads what became of them, and names everything that is not true.

`flash.audit` counts and judges. Nothing that a web process or the load generator believes is taken for a count.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import asyncpg
import trio

from benchmarks import service_stores
from benchmarks.load.messages import LoadResult, Refusal
from flash import bridge
from flash.audit import audit
from flash.audit.report import Report
from flash.errors import OperatorError

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_LEADER_SECONDS = 20.0
_STATE = "SELECT first_item_id, stock, epoch, starts_at <= now() AS is_open FROM sales WHERE id = $1"
# now() is the same for all rows of a statement, so each group commit has left a time of its own
_COMMITS = """
SELECT (SELECT count(DISTINCT attempted_at) FROM checkouts WHERE sale_id = $1),
       (SELECT count(DISTINCT purchased_at) FROM purchases WHERE sale_id = $1)
"""

TRUTHFUL = frozenset({"item_sold", "sold_out"})
"""What a buyer may be refused with in a sale where nobody asks for more than ten items."""


@dataclass(frozen=True, slots=True)
class OpenSale:
    """A sale that is open and has a leader. `items` are those still for sale."""

    id: int
    items: Sequence[int]
    sold_before: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """What one sale came to. `attempts` counts its checkouts by outcome."""

    sold: int
    purchases: int
    stock: int
    attempts: Mapping[str, int] = field(default_factory=dict)
    checkout_commits: int = 0
    purchase_commits: int = 0


class Oracle:
    """Asks one database."""

    is_alone = True
    """Nobody but our buyers buys here, so all that is in the database is ours."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def prepare(self) -> str:
        """Apply the schema; PostgreSQL's version."""
        await service_stores.migrate(self._url)
        return str(await self._ask(lambda connection: connection.fetchval("SHOW server_version")))

    async def open_sale(self, size: int) -> OpenSale:
        """A new sale of `size` items."""
        sale_id = await service_stores.prepare_sale(self._url, period_seconds=1, size=size)
        with trio.move_on_after(_LEADER_SECONDS):
            while True:
                row = await self._ask(lambda connection: connection.fetchrow(_STATE, sale_id))
                assert row is not None
                if row["is_open"] and row["epoch"]:
                    return OpenSale(sale_id, range(row["first_item_id"], row["first_item_id"] + row["stock"]))
                await trio.sleep(0.02)
        raise OperatorError(f"nobody leads sale {sale_id} after {_LEADER_SECONDS:.0f} seconds")

    async def audit(self, sale_id: int | None = None) -> Report:
        """Counts and broken promises of the sale, or of all sales."""
        return await self._ask(lambda connection: audit(connection, sale_id))

    async def count(self, sale: OpenSale) -> tuple[Counts, list[str]]:
        """What the database says of the sale, and every promise that is broken."""
        report = await self.audit(sale.id)
        commits = await self._ask(lambda connection: connection.fetchrow(_COMMITS, sale.id))
        assert commits is not None
        found = report.sales[0]
        return Counts(found.sold, found.purchases, found.stock, found.attempts, *commits), list(broken(report))

    async def _ask(self, conversation: Callable[[Connection], Awaitable[T]]) -> T:
        async def connected() -> T:
            # a cancelled TLS probe of a local server was seen to hang the loop
            connection = await asyncpg.connect(self._url, timeout=10, ssl=False if "@/" in self._url else None)
            try:
                return await conversation(connection)
            finally:
                connection.terminate()

        try:
            return await bridge.call_asyncio(connected)
        except (OSError, asyncpg.PostgresError) as error:
            raise OperatorError(f"the database could not be read: {error}") from error


def broken(report: Report) -> Iterator[str]:
    """The promises that do not hold."""
    for check in report.checks:
        if check.broken:
            yield f"{check.broken} rows break the promise that {check.promise}"


def wrong_with(heard: LoadResult, counts: Counts, *, is_alone: bool = True, sold_before: int = 0) -> Iterator[str]:
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
    if is_alone and heard.is_finished and counts.sold != counts.stock:
        yield f"every item was asked for, but only {counts.sold} of {counts.stock} were sold"
    if is_alone:
        yield from _attempts(heard, counts.attempts)


def _attempts(heard: LoadResult, recorded: Mapping[str, int]) -> Iterator[str]:
    """Every answered checkout is recorded under the outcome that was heard; one answered 503 may be there or not."""
    told = {"issued": heard.accepted["checkout"].count}
    told |= {refusal.code: refusal.count for refusal in heard.refusals if refusal.kind == "checkout"}
    may_be_more = heard.rejected + heard.lost if heard.is_finished else 1 << 62
    for outcome in sorted({*told, *recorded}):
        if not 0 <= recorded.get(outcome, 0) - told.get(outcome, 0) <= may_be_more:
            yield f"{told.get(outcome, 0)} checkouts heard {outcome}, the database has {recorded.get(outcome, 0)}"


def unexpected(refusals: Sequence[Refusal], allowed: frozenset[str]) -> Iterator[str]:
    """Refusals that nobody should have heard."""
    for refusal in refusals:
        if refusal.code not in allowed:
            yield f"{refusal.count} of the {refusal.kind}s were answered {refusal.status} {refusal.code}"
