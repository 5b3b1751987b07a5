"""`flash audit`: proves from what is stored that every sale kept its promises, or names the rows that broke them.

It reads everything in one read-only snapshot, so it may run beside a live service. It trusts neither the code nor
the schema: what a constraint forbids is checked again. A promise is one row of `CHECKS`, a query that finds what
breaks it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import orjson
import trio

from flash import bridge
from flash.config import Config, mask
from flash.domain import CheckoutOutcome
from flash.errors import OperatorError

ROWS_MAX = 20
"""Offending rows that are shown of one check; all of them are counted."""

Connection = Any  # asyncpg's stubs type pooled and plain connections differently
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Check:
    """A promise and the query for what breaks it.

    `$1` is the sale to look at or null for all; the first two columns say in which order rows are shown.
    """

    name: str
    promise: str
    sql: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How many rows break a promise, and the first `ROWS_MAX` of them."""

    name: str
    promise: str
    broken: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class SaleSummary:
    """What one sale comes to. `most_by_one_user` is how many items its keenest buyer has."""

    id: int
    starts_at: datetime
    first_item_id: int
    stock: int
    user_limit: int
    sold: int
    purchases: int
    buyers: int
    most_by_one_user: int
    epoch: int
    sold_out_at: datetime | None
    attempts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """One snapshot, judged. Attempts are counted by outcome; those of no sale named no item that is known."""

    taken_at: datetime
    sales: tuple[SaleSummary, ...]
    attempts_of_no_sale: Mapping[str, int]
    checks: tuple[CheckResult, ...]

    @property
    def is_clean(self) -> bool:
        return not any(check.broken for check in self.checks)


def main(config: Config, *, as_json: bool, sale_id: int | None) -> int:
    """Print the report on all sales, or on `sale_id` alone; 0 if it is clean, 1 if a promise is broken.

    Raises `OperatorError` if the database cannot be read, or knows nothing of `sale_id`.
    """
    if config.database_url is None:
        raise OperatorError("DATABASE_URL is not set: name the database that is to be audited")
    report = trio.run(_read, config.database_url, sale_id)
    if report.is_clean and not report.sales and sale_id is not None:
        raise OperatorError(f"there is no sale {sale_id} in this database")
    sys.stdout.write(render_json(report) if as_json else render_table(report))
    return 0 if report.is_clean else 1


async def audit(connection: Connection, sale_id: int | None = None) -> Report:
    """Read and judge one snapshot. Runs on asyncpg, so on the asyncio side of the bridge."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        taken_at = await connection.fetchval("SELECT now()")
        attempts: dict[int | None, dict[str, int]] = defaultdict(dict)
        for row in await connection.fetch(ATTEMPTS, sale_id):
            attempts[row["sale_id"]][row["outcome"]] = row["attempts"]
        return Report(
            taken_at,
            tuple(SaleSummary(**row, attempts=attempts[row["id"]]) for row in await connection.fetch(SALES, sale_id)),
            attempts[None],
            tuple([await _run(connection, check, sale_id) for check in CHECKS]),
        )


async def _run(connection: Connection, check: Check, sale_id: int | None) -> CheckResult:
    rows = [dict(row) for row in await connection.fetch(_FIRST_ROWS.format(check.sql), sale_id)]
    broken = max((row.pop("broken") for row in rows), default=0)
    return CheckResult(check.name, check.promise, broken, tuple(rows))


# the database


async def _read(url: str, sale_id: int | None) -> Report:
    async with bridge.open_loop():
        try:
            return await bridge.call_asyncio(_converse, url, sale_id)
        except OperatorError as error:
            failure = error
    raise failure  # out here, where the loop's nursery does not wrap it in a group


async def _converse(url: str, sale_id: int | None) -> Report:
    try:
        connection = await asyncpg.connect(url, **_connection_options(url))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError, OverflowError) as error:
        raise OperatorError(f"PostgreSQL at {mask(url)} cannot be reached: {_reason(error)}") from error
    try:
        return await audit(connection, sale_id)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        message = f"the database at {mask(url)} has not this version's tables ({error}): run `flash migrate`"
        raise OperatorError(message) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise OperatorError(f"the audit of {mask(url)} could not be finished: {_reason(error)}") from error
    finally:
        connection.terminate()


def _connection_options(url: str) -> dict[str, Any]:
    """Patient where the service is not: a million purchases are sorted a few times over."""
    options: dict[str, Any] = {
        "timeout": 10.0,
        "command_timeout": 660.0,
        "server_settings": {
            "application_name": "flash audit",
            "statement_timeout": "600s",
            "lock_timeout": "60s",
            "idle_in_transaction_session_timeout": "60s",
            "work_mem": "64MB",
            "jit": "off",
        },
    }
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = query.get("host", [parts.hostname or ""])[0]
    if "sslmode" not in query and (host.startswith("/") or host in ("", "localhost", "127.0.0.1", "::1")):
        options["ssl"] = False  # probing a local server for TLS was seen to hang the loop
    return options


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


# what people and programs read


def render_json(report: Report) -> str:
    """One line; the fields are those of the dataclasses."""
    return orjson.dumps({"clean": report.is_clean, **_fields(report)}, option=orjson.OPT_APPEND_NEWLINE).decode()


def _fields(report: Report) -> dict[str, object]:
    return {
        "taken_at": report.taken_at,
        "sales": report.sales,
        "attempts_of_no_sale": report.attempts_of_no_sale,
        "checks": report.checks,
    }


def render_table(report: Report) -> str:
    """Sales, attempts and promises, each as a block of aligned lines."""
    blocks = [_sales_table(report.sales), _attempts_table(report), _checks_list(report.checks), _verdict(report)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _sales_table(sales: Sequence[SaleSummary]) -> list[str]:
    head = ("sale", "starts at (UTC)", "items", "stock", "sold", "purchases", "buyers", "most", "limit", "epoch")
    rows = [
        (
            *(str(sale.id), _time(sale.starts_at), f"{sale.first_item_id}-{sale.first_item_id + sale.stock - 1}"),
            *(f"{sale.stock:,}", f"{sale.sold:,}", f"{sale.purchases:,}", f"{sale.buyers:,}"),
            *(str(sale.most_by_one_user), str(sale.user_limit), str(sale.epoch), _time(sale.sold_out_at)),
        )
        for sale in sales
    ]
    return _aligned((*head, "sold out at (UTC)"), rows)


def _attempts_table(report: Report) -> list[str]:
    counted = [(str(sale.id), sale.attempts) for sale in report.sales]
    counted.append(("none", report.attempts_of_no_sale))
    known = [outcome.value for outcome in CheckoutOutcome]
    unknown = sorted({outcome for _, attempts in counted for outcome in attempts} - set(known))
    outcomes = [*known, *unknown]
    rows = [
        (sale, f"{sum(attempts.values()):,}", *(f"{attempts.get(outcome, 0):,}" for outcome in outcomes))
        for sale, attempts in counted
    ]
    return _aligned(("sale", "attempts", *outcomes), rows)


def _checks_list(checks: Sequence[CheckResult]) -> list[str]:
    lines = []
    for check in checks:
        lines.append(f"BROKEN  {check.promise}, but:" if check.broken else f"ok      {check.promise}")
        lines += ["        - " + _row(row) for row in check.rows]
        if check.broken > len(check.rows):
            lines.append(f"        … and {check.broken - len(check.rows):,} more")
    return lines


def _row(row: Row) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in row.items())


def _value(value: object) -> str:
    """`repr` of a text, so that whatever a user calls themselves cannot steer the terminal."""
    return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(value, datetime) else repr(value)


def _verdict(report: Report) -> list[str]:
    broken = sum(check.broken > 0 for check in report.checks)
    what = f"{len(report.checks)} promises, {_plural(len(report.sales), 'sale')}, as of {_time(report.taken_at)} UTC"
    return [f"broken: {broken} of {what}" if broken else f"clean: {what}"]


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in (head, *rows)]


# the SQL

SALES = """
WITH buyer AS (
    SELECT sale_id, user_id, count(*) AS bought FROM purchases
    WHERE $1::bigint IS NULL OR sale_id = $1 GROUP BY sale_id, user_id
), total AS (
    SELECT sale_id, sum(bought)::bigint AS purchases, count(*) AS buyers, max(bought) AS most
    FROM buyer GROUP BY sale_id
)
SELECT s.id, s.starts_at, s.first_item_id, s.stock, s.user_limit, s.sold, coalesce(t.purchases, 0) AS purchases,
       coalesce(t.buyers, 0) AS buyers, coalesce(t.most, 0) AS most_by_one_user, s.epoch, s.sold_out_at
FROM sales s LEFT JOIN total t ON t.sale_id = s.id
WHERE $1::bigint IS NULL OR s.id = $1
ORDER BY s.starts_at, s.id
"""

# An attempt on a sale that was prepared, then withdrawn before it opened, is of no sale.
ATTEMPTS = """
SELECT s.id AS sale_id, a.outcome, sum(a.attempts)::bigint AS attempts
FROM (SELECT sale_id, outcome, count(*) AS attempts FROM checkouts
      WHERE $1::bigint IS NULL OR sale_id = $1 GROUP BY sale_id, outcome) a
LEFT JOIN (SELECT DISTINCT id FROM sales) s ON s.id = a.sale_id
GROUP BY s.id, a.outcome ORDER BY s.id, a.outcome
"""

_FIRST_ROWS = f"SELECT *, count(*) OVER () AS broken FROM ({{}}) AS offender ORDER BY 1, 2 LIMIT {ROWS_MAX}"

CHECKS = (
    Check(
        "sold_is_purchases",
        "a sale has sold as many items as it has purchases",
        """
        SELECT s.id AS sale_id, s.sold, coalesce(p.purchases, 0) AS purchases
        FROM sales s
        LEFT JOIN (SELECT sale_id, count(*) AS purchases FROM purchases GROUP BY sale_id) p ON p.sale_id = s.id
        WHERE ($1::bigint IS NULL OR s.id = $1) AND s.sold IS DISTINCT FROM coalesce(p.purchases, 0)
        """,
    ),
    Check(
        "within_stock",
        "no sale has sold more than its stock",
        """
        SELECT s.id AS sale_id, s.stock, s.sold, coalesce(p.purchases, 0) AS purchases
        FROM sales s
        LEFT JOIN (SELECT sale_id, count(*) AS purchases FROM purchases GROUP BY sale_id) p ON p.sale_id = s.id
        WHERE ($1::bigint IS NULL OR s.id = $1)
        AND (s.sold BETWEEN 0 AND s.stock AND coalesce(p.purchases, 0) <= s.stock) IS NOT TRUE
        """,
    ),
    Check(
        "user_limit",
        "no user has more items of a sale than it allows",
        """
        SELECT p.sale_id, p.user_id, count(*) AS bought, s.user_limit
        FROM purchases p JOIN sales s ON s.id = p.sale_id
        WHERE $1::bigint IS NULL OR p.sale_id = $1
        GROUP BY p.sale_id, p.user_id, s.user_limit
        HAVING count(*) > s.user_limit
        """,
    ),
    Check(
        "slots",
        "a user's purchases of a sale are numbered from 1 without gaps",
        """
        SELECT sale_id, user_id, array_agg(slot ORDER BY slot) AS slots
        FROM purchases WHERE $1::bigint IS NULL OR sale_id = $1
        GROUP BY sale_id, user_id
        HAVING (min(slot) = 1 AND max(slot) = count(*) AND count(DISTINCT slot) = count(*)) IS NOT TRUE
        """,
    ),
    Check(
        "earlier_checkout",
        "a purchase has an earlier, issued checkout of the same sale, item and user",
        """
        SELECT p.sale_id, p.item_id, p.checkout_id, p.user_id, p.purchased_at,
               CASE WHEN c.id IS NULL THEN 'there is no such checkout'
                    WHEN c.outcome IS DISTINCT FROM 'issued' THEN 'it was refused: ' || c.outcome
                    WHEN c.sale_id IS DISTINCT FROM p.sale_id THEN 'it was for sale ' || coalesce(c.sale_id::text, '-')
                    WHEN c.item_id IS DISTINCT FROM p.item_id THEN 'it was for item ' || coalesce(c.item_id::text, '-')
                    WHEN c.user_id IS DISTINCT FROM p.user_id THEN 'it was made by ' || coalesce(c.user_id, '-')
                    ELSE 'it was made later, at ' || (c.attempted_at AT TIME ZONE 'UTC')::text END AS checkout
        FROM purchases p
        LEFT JOIN checkouts c ON c.id = p.checkout_id
        WHERE ($1::bigint IS NULL OR p.sale_id = $1)
        AND NOT EXISTS (
            SELECT FROM checkouts e
            WHERE e.id = p.checkout_id AND e.outcome = 'issued' AND e.sale_id = p.sale_id
            AND e.item_id = p.item_id AND e.user_id = p.user_id AND e.attempted_at <= p.purchased_at
        )
        """,
    ),
    Check(
        "item_once",
        "no item is sold twice",
        """
        SELECT item_id, array_agg(sale_id ORDER BY purchased_at) AS sale_ids,
               array_agg(user_id ORDER BY purchased_at) AS user_ids,
               array_agg(checkout_id ORDER BY purchased_at) AS checkout_ids
        FROM purchases GROUP BY item_id
        HAVING count(*) > 1 AND ($1::bigint IS NULL OR bool_or(sale_id = $1))
        """,
    ),
    Check(
        "checkout_once",
        "no checkout is redeemed twice",
        """
        SELECT checkout_id, array_agg(sale_id ORDER BY purchased_at) AS sale_ids,
               array_agg(item_id ORDER BY purchased_at) AS item_ids
        FROM purchases GROUP BY checkout_id
        HAVING count(*) > 1 AND ($1::bigint IS NULL OR bool_or(sale_id = $1))
        """,
    ),
    Check(
        "item_in_sale",
        "a sale sells only its own items",
        """
        SELECT p.sale_id, p.item_id, p.user_id, s.first_item_id, s.first_item_id + s.stock - 1 AS last_item_id
        FROM purchases p JOIN sales s ON s.id = p.sale_id
        WHERE ($1::bigint IS NULL OR p.sale_id = $1)
        AND (p.item_id >= s.first_item_id AND p.item_id < s.first_item_id + s.stock) IS NOT TRUE
        """,
    ),
    Check(
        "epochs_rise",
        "a sale's purchases never go back to an earlier epoch",
        """
        SELECT sale_id, item_id, purchased_at, epoch, epoch_before
        FROM (SELECT sale_id, item_id, purchased_at, epoch,
                     lag(epoch) OVER (PARTITION BY sale_id ORDER BY purchased_at, epoch) AS epoch_before
              FROM purchases WHERE $1::bigint IS NULL OR sale_id = $1) p
        WHERE epoch < epoch_before
        """,
    ),
    Check(
        "epoch_known",
        "a purchase's epoch is one that its sale has had",
        """
        SELECT p.sale_id, p.item_id, p.epoch, s.epoch AS sale_epoch
        FROM purchases p JOIN sales s ON s.id = p.sale_id
        WHERE ($1::bigint IS NULL OR p.sale_id = $1) AND (p.epoch BETWEEN 1 AND s.epoch) IS NOT TRUE
        """,
    ),
    Check(
        "sold_out_at",
        "a sale is marked as sold out if and only if it is",
        """
        SELECT id AS sale_id, sold, stock, sold_out_at FROM sales
        WHERE ($1::bigint IS NULL OR id = $1) AND (sold = stock) IS DISTINCT FROM (sold_out_at IS NOT NULL)
        """,
    ),
    Check(
        "sale_once",
        "no two sales have the same id",
        """
        SELECT id AS sale_id, count(*) AS sales FROM sales
        WHERE $1::bigint IS NULL OR id = $1 GROUP BY id HAVING count(*) > 1
        """,
    ),
    Check(
        "ranges_apart",
        "no item belongs to two sales",
        """
        SELECT a.id AS sale_id, b.id AS other_sale_id, a.first_item_id, a.stock,
               b.first_item_id AS other_first_item_id, b.stock AS other_stock
        FROM sales a
        JOIN sales b ON b.first_item_id >= a.first_item_id AND b.first_item_id < a.first_item_id + a.stock
                    AND (b.first_item_id > a.first_item_id OR b.ctid > a.ctid)
        WHERE $1::bigint IS NULL OR $1 IN (a.id, b.id)
        """,
    ),
    Check(
        "starts_apart",
        "no two sales start at the same time",
        """
        SELECT array_agg(id ORDER BY id) AS sale_ids, starts_at FROM sales GROUP BY starts_at
        HAVING count(*) > 1 AND ($1::bigint IS NULL OR bool_or(id = $1))
        """,
    ),
    Check(
        "purchase_has_sale",
        "a purchase belongs to a sale",
        """
        SELECT p.sale_id, p.item_id, p.checkout_id, p.user_id FROM purchases p
        WHERE ($1::bigint IS NULL OR p.sale_id = $1) AND NOT EXISTS (SELECT FROM sales s WHERE s.id = p.sale_id)
        """,
    ),
    Check(
        "checkout_has_sale",
        "an issued checkout belongs to a sale",
        """
        SELECT c.sale_id, c.id AS checkout_id, c.item_id, c.user_id, c.attempted_at FROM checkouts c
        WHERE c.outcome = 'issued' AND ($1::bigint IS NULL OR c.sale_id = $1)
        AND NOT EXISTS (SELECT FROM sales s WHERE s.id = c.sale_id)
        """,
    ),
)
