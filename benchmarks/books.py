"""Opens the sales that are measured and re-reads what became of them. A program: JSON questions in, answers out.

`flash.audit` reads and judges; nothing that a web process or the load generator believes is taken for a count.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import asyncpg
import orjson
import trio

from flash import bridge
from flash.audit import audit
from flash.errors import OperatorError, Unavailable
from flash.stores.migration import migrate
from flash.stores.postgres import open_postgres
from flash.stores.schedule import SaleSchedule

_LEADER_SECONDS = 20.0
_POLL_SECONDS = 0.02
_PERIOD_SECONDS = 1
_STATE = "SELECT first_item_id, stock, epoch, starts_at <= now() AS is_open FROM sales WHERE id = $1"

# now() is one for all rows of a statement, so each group commit has left a time of its own
_COMMITS = """
SELECT (SELECT count(DISTINCT attempted_at) FROM checkouts WHERE sale_id = $1) AS checkouts,
       (SELECT count(DISTINCT purchased_at) FROM purchases WHERE sale_id = $1) AS purchases
"""

Connection = Any


async def open_sale(url: str, size: int, user_limit: int) -> dict[str, int]:
    """A new sale of `size` items that is open and has a leader."""
    deadline = time.monotonic() + _LEADER_SECONDS
    async with open_postgres(url, connections_max=1, timeout_seconds=10, name="flash bench") as database:
        made: list[Any] = []
        while not made:  # this second may have a sale already
            made, _ = await SaleSchedule(database).prepare_sales(_PERIOD_SECONDS, size, user_limit)
            await trio.sleep(0 if made else 0.1)
    sale: dict[str, int] = await _connected(url, partial(_wait_led, sale_id=made[0], deadline=deadline))
    return sale


async def _wait_led(connection: Connection, sale_id: int, deadline: float) -> dict[str, int]:
    while True:
        row = await connection.fetchrow(_STATE, sale_id)
        if row["is_open"] and row["epoch"]:
            return {"sale": sale_id, "first_item": row["first_item_id"], "stock": row["stock"]}
        if time.monotonic() > deadline:
            raise OperatorError(f"nobody leads sale {sale_id} after {_LEADER_SECONDS:.0f} seconds")
        await connection.fetchval("SELECT pg_sleep($1)", _POLL_SECONDS)


async def judge(url: str, sale: int | None = None) -> dict[str, Any]:
    """Counts of the sale, or of all sales, and every promise that is broken."""
    report = await _connected(url, partial(audit, sale_id=sale))
    plain: dict[str, Any] = orjson.loads(orjson.dumps(report))
    return {
        "is_clean": report.is_clean,
        "promises": len(report.checks),
        "broken": [check for check in plain["checks"] if check["broken"]],
        "sales": plain["sales"],
        "attempts_of_no_sale": plain["attempts_of_no_sale"],
    }


async def commits(url: str, sale: int) -> dict[str, int]:
    """In how many commits the sale's checkouts and purchases were written."""
    row = await _connected(url, lambda connection: connection.fetchrow(_COMMITS, sale))
    return {"checkouts": row["checkouts"], "purchases": row["purchases"]}


async def apply_schema(url: str) -> None:
    await migrate(url)


async def version(url: str) -> str:
    """What the server says it is."""
    return str(await _connected(url, lambda connection: connection.fetchval("SHOW server_version")))


async def _connected(url: str, conversation: Callable[[Connection], Awaitable[Any]]) -> Any:
    async def converse() -> Any:
        connection = await asyncpg.connect(url, timeout=10, ssl=False if "@/" in url else None)
        try:
            return await conversation(connection)
        finally:
            connection.terminate()

    return await bridge.call_asyncio(converse)


_CALLS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "open_sale": open_sale,
    "judge": judge,
    "commits": commits,
    "migrate": apply_schema,
    "version": version,
}


async def _answer(call: str, url: str, arguments: Mapping[str, Any]) -> Any:
    async with bridge.open_loop():
        return await _CALLS[call](url, **arguments)


def main() -> None:
    url = sys.argv[1]
    for line in sys.stdin:
        question = json.loads(line)
        result = trio.run(_answer, question["call"], url, question["arguments"])
        sys.stdout.write(json.dumps({"result": result}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except* (OperatorError, Unavailable, OSError, asyncpg.PostgresError) as group:
        sys.exit(f"error: {group.exceptions[0]}")
