"""All SQL of the running service, and the class that owns it. Of a buyer it decides nothing but a checkout's outcome.

Every method is called from Trio and crosses to asyncpg once. What is durable when a method returns stays durable:
there is no retry here and no write outside the statement that is shown. Errors: `Unavailable` when PostgreSQL could not
be asked, `OutcomeUnknown` when a write was sent and its answer lost, `TermEnded` when a newer leader has begun.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
import trio

from flash import bridge
from flash.codes import KEY_BYTES, SECRET_BYTES
from flash.domain import (
    Attempt,
    Checkout,
    CheckoutId,
    CheckoutOutcome,
    Code,
    Epoch,
    ItemId,
    MalformedAttempt,
    Purchase,
    RecordedAttempt,
    Redemption,
    RequestId,
    Sale,
    SaleId,
    Term,
    UserId,
)
from flash.errors import FlashError, OperatorError, OutcomeUnknown, TermEnded, Unavailable

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Connection = Any  # asyncpg's stubs make its rows generic, which says nothing of what is in them

_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # a connection that the server has just ended may answer its next use with "cannot switch to state"
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
_SCHEMA = Path(__file__).resolve().parents[2] / "schema.sql"
_MIGRATION_LOCK = 0x666C6173
_SALES_LOCK = _MIGRATION_LOCK + 1
_PAGE_ROWS = 50_000

# Rows are looked up by `LATERAL (… LIMIT 1)`, which the planner cannot turn into one join over the whole table: a plain
# join was seen to scan `checkouts` for each batch, 20 times dearer at 10,000 rows and growing.

# The outcome is decided by the statement that records it, so no attempt can be answered and not be recorded.
# `attempt` draws its ids from a sequence and is therefore evaluated once, in the order of the arrays.
RECORD_ATTEMPTS = """
WITH attempt AS MATERIALIZED (
    SELECT a.n, nextval('checkouts_id_seq') AS id, a.user_id, a.item_id, a.query, s.id AS sale_id,
           extract(epoch FROM s.starts_at - now())::float8 AS opens_in_seconds,
           CASE WHEN a.query IS NOT NULL THEN 'invalid_request'
                WHEN s.id IS NULL THEN 'item_not_found'
                WHEN s.starts_at > now() THEN 'sale_not_open'
                WHEN s.sold = s.stock THEN 'sold_out'
                WHEN p.item_id IS NOT NULL THEN 'item_sold'
                ELSE 'issued' END AS outcome,
           a.secret
    FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[])
         WITH ORDINALITY AS a (user_id, item_id, query, secret, n)
    LEFT JOIN LATERAL (
        SELECT * FROM sales WHERE first_item_id <= a.item_id ORDER BY first_item_id DESC LIMIT 1
    ) s ON a.item_id < s.first_item_id + s.stock
    LEFT JOIN LATERAL (
        SELECT item_id FROM purchases WHERE sale_id = s.id AND item_id = a.item_id LIMIT 1
    ) p ON true
), recorded AS (
    INSERT INTO checkouts (id, outcome, sale_id, item_id, user_id, secret, query) OVERRIDING SYSTEM VALUE
    SELECT id, outcome, sale_id, item_id, user_id, CASE outcome WHEN 'issued' THEN secret END, query
    FROM attempt
)
SELECT id, sale_id, outcome, opens_in_seconds FROM attempt ORDER BY n
"""

# now() is the time at which the purchases decided from this answer are made: after every checkout that it
# can see, and before the commit that the fence lets through.
FIND_CHECKOUTS = """
SELECT now() AS now, u.id, c.secret, c.item_id, c.user_id, c.attempted_at < now() - $3 * interval '1 s' AS is_expired
FROM unnest($1::bigint[]) AS u (id)
LEFT JOIN LATERAL (SELECT * FROM checkouts WHERE id = u.id LIMIT 1) c ON c.sale_id = $2 AND c.outcome = 'issued'
"""

# The fence. One statement, so that a frozen actor cannot hold a transaction open; a row of `sales` changes only
# under the epoch that the decisions were made in, and without it no purchase is inserted. No row: deposed.
SELL = """
WITH term AS (
    UPDATE sales SET sold = sold + $3,
                     sold_out_at = CASE WHEN sold + $3 = stock THEN $4::timestamptz END
    WHERE id = $1 AND epoch = $2
    RETURNING id, epoch
), made AS (
    INSERT INTO purchases (sale_id, epoch, purchased_at, checkout_id, request_id, item_id, user_id, slot)
    SELECT term.id, term.epoch, $4, p.checkout_id, p.request_id, p.item_id, p.user_id, p.slot
    FROM term, unnest($5::bigint[], $6::text[], $7::bigint[], $8::text[], $9::smallint[])
               AS p (checkout_id, request_id, item_id, user_id, slot)
)
SELECT epoch FROM term
"""

_SALE_COLUMNS = "id, starts_at, first_item_id, stock, user_limit, sold, starts_at <= now() AS is_open"

BEGIN_TERM = f"UPDATE sales SET epoch = epoch + 1 WHERE id = $1 RETURNING {_SALE_COLUMNS}, epoch"

PURCHASES_PAGE = f"""
SELECT checkout_id, request_id, item_id, user_id, slot, purchased_at FROM purchases
WHERE sale_id = $1 AND item_id > $2 AND epoch < $3 ORDER BY item_id LIMIT {_PAGE_ROWS}
"""

FIND_REDEMPTIONS = """
SELECT u.id, c.secret, c.item_id, c.user_id, c.attempted_at < now() - $3 * interval '1 s' AS is_expired,
       p.checkout_id, p.request_id, p.item_id AS bought_item_id, p.user_id AS buyer, p.slot, p.purchased_at
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS u (id, sale_id, n)
LEFT JOIN LATERAL (SELECT * FROM checkouts WHERE id = u.id LIMIT 1) c
          ON c.sale_id = u.sale_id AND c.outcome = 'issued'
LEFT JOIN LATERAL (SELECT * FROM purchases WHERE checkout_id = u.id LIMIT 1) p ON true
ORDER BY u.n
"""

# A sale is led from a little before it opens, so that its first buyers find a leader, until a little after its last
# item went, for the commands that were under way.
LEADABLE = """
SELECT id FROM sales
WHERE starts_at <= now() + interval '5 s' AND (sold_out_at IS NULL OR sold_out_at > now() - interval '5 s')
"""

UNSOLD_SALES = """
SELECT coalesce(max(id), 0) AS newest, array_agg(id) FILTER (WHERE sold_out_at IS NULL) AS unsold FROM sales
"""

# A prepared sale that has not begun and was made with other settings makes way for one with the present ones.
DISCARD_OUTDATED = """
DELETE FROM sales WHERE starts_at > now() + interval '10 s' AND epoch = 0 AND sold = 0
AND (stock <> $2 OR user_limit <> $3 OR extract(epoch FROM starts_at)::bigint % $1 <> 0)
"""

PREPARE_SALE = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit)
SELECT coalesce(max(id), 0) + 1,
       to_timestamp((floor(extract(epoch FROM now()) / $1) + $4) * $1),
       coalesce(max(first_item_id + stock), 1), $2, $3
FROM sales
ON CONFLICT (starts_at) DO NOTHING
RETURNING id
"""

NEXT_BOUNDARY = """
SELECT ((floor(extract(epoch FROM now()) / $1) + 1) * $1 - extract(epoch FROM clock_timestamp()))::float8
"""

LIST_SALES = f"""
SELECT {_SALE_COLUMNS} FROM sales
WHERE (sold_out_at IS NULL OR $3) AND starts_at < coalesce((SELECT starts_at FROM sales WHERE id = $1), 'infinity')
ORDER BY starts_at DESC LIMIT $2
"""
FIND_SALE = f"SELECT {_SALE_COLUMNS} FROM sales WHERE id = $1"
CURRENT_SALE = f"SELECT {_SALE_COLUMNS} FROM sales WHERE starts_at <= now() ORDER BY starts_at DESC LIMIT 1"
FIND_ITEM = f"""
SELECT {_SALE_COLUMNS},
       NOT EXISTS (SELECT FROM purchases p WHERE p.sale_id = sales.id AND p.item_id = $1) AS available
FROM sales WHERE first_item_id <= $1 AND $1 < first_item_id + stock
"""
LIST_ITEMS = """
SELECT i AS id, p.item_id IS NULL AS available
FROM sales s, generate_series(
    greatest(s.first_item_id, least($2::bigint, s.first_item_id + s.stock) + 1), s.first_item_id + s.stock - 1
) AS i
LEFT JOIN purchases p ON p.sale_id = $1 AND p.item_id = i
WHERE s.id = $1 AND (p.item_id IS NULL OR NOT $4)
ORDER BY i LIMIT $3
"""


class Postgres:
    """One process's connections. All times in and out are aware and by the database's clock."""

    def __init__(self, connections: _Connections, code_ttl_seconds: float) -> None:
        self._connections = connections
        self._code_ttl_seconds = code_ttl_seconds

    # checkouts

    async def record_attempts(self, attempts: Sequence[Attempt | MalformedAttempt]) -> list[RecordedAttempt]:
        """Persist every attempt with its outcome in one commit; the outcomes come in the same order."""
        return await self._write(_record_attempts, attempts)

    async def find_redemptions(self, codes: list[Code]) -> list[Redemption]:
        """What each code's checkout was and what it bought, in the same order."""
        return await self._read(_find_redemptions, codes, self._code_ttl_seconds)

    # what the leader of a sale needs

    async def list_leadable(self) -> list[SaleId]:
        """The sales that want a leader now."""
        return await self._read(_column, LEADABLE)

    async def begin_term(self, sale_id: SaleId) -> tuple[Term, Sale, list[Purchase]]:
        """Raise the sale's epoch, which ends every earlier term, and read what has been sold until then."""
        return await self._write(_begin_term, sale_id)

    async def find_checkouts(
        self, sale_id: SaleId, ids: list[CheckoutId]
    ) -> tuple[datetime, dict[CheckoutId, Checkout]]:
        """The issued checkouts among `ids`, and the time by the database's clock."""
        return await self._read(_find_checkouts, sale_id, ids, self._code_ttl_seconds)

    async def sell(self, term: Term, purchases: list[Purchase]) -> None:
        """Commit `purchases`, all or none, if `term` is still the sale's present one; else raise `TermEnded`."""
        if not await self._write(_sell, term, purchases):
            raise TermEnded(f"epoch {term.epoch} of sale {term.sale_id} is over")

    # what the sale scheduler needs

    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]:
        """Make sure that the current period's sale and the next one exist.

        Returns the sales that were made and the seconds until the next boundary.
        """
        return await self._write(_prepare_sales, period_seconds, size, user_limit)

    # what a visitor may read

    async def unsold_sales(self) -> tuple[SaleId, frozenset[SaleId]]:
        """The newest sale's id (0 if there is none) and all sales that still have items."""
        row = await self._read(_row, UNSOLD_SALES)
        assert row is not None
        return row["newest"], frozenset(row["unsold"] or ())

    async def list_sales(self, before: SaleId | None, limit: int, *, with_sold_out: bool) -> list[Sale]:
        """Newest first, those that begin before `before` does."""
        return [_sale(row) for row in await self._read(_rows, LIST_SALES, before, limit, with_sold_out)]

    async def find_sale(self, sale_id: SaleId) -> Sale | None:
        row = await self._read(_row, FIND_SALE, sale_id)
        return row and _sale(row)

    async def current_sale(self) -> Sale | None:
        """The sale that began last."""
        row = await self._read(_row, CURRENT_SALE)
        return row and _sale(row)

    async def find_item(self, item_id: ItemId) -> tuple[Sale, bool] | None:
        """The item's sale and whether the item is still there."""
        row = await self._read(_row, FIND_ITEM, item_id)
        return row and (_sale(row), row["available"])

    async def list_items(
        self, sale_id: SaleId, after: ItemId, limit: int, *, only_available: bool
    ) -> list[tuple[ItemId, bool]]:
        """Item ids above `after` in order, each with whether it is still there."""
        rows = await self._read(_rows, LIST_ITEMS, sale_id, after, limit, only_available)
        return [(row["id"], row["available"]) for row in rows]

    async def ping(self) -> None:
        """Raises `Unavailable` unless PostgreSQL answers."""
        await self._read(_row, "SELECT 1")

    async def code_key(self) -> bytes:
        """The key that `migrate` made."""
        row = await self._read(_row, "SELECT value FROM secrets WHERE name = 'code_key'")
        if row is None:
            raise Unavailable("the database has no code key yet: run `flash migrate`")
        key: bytes = row["value"]
        return key

    async def durability_warnings(self) -> list[str]:
        """The server settings under which a commit could be lost; each is one sentence."""
        names = ("fsync", "synchronous_commit", "full_page_writes")
        rows = await self._read(_rows, "SELECT name, setting FROM pg_settings WHERE name = ANY($1)", list(names))
        return [
            f"PostgreSQL runs with {row['name']}={row['setting']}: an answered sale can be lost in a crash"
            for row in rows
            if row["setting"] == "off"
        ]

    async def _read(
        self, conversation: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kw: P.kwargs
    ) -> T:
        return await self._converse(Unavailable, conversation, *args, **kw)

    async def _write(
        self, conversation: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kw: P.kwargs
    ) -> T:
        return await self._converse(OutcomeUnknown, conversation, *args, **kw)

    async def _converse(
        self,
        lost: type[FlashError],
        conversation: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> T:
        """Run `conversation` on a connection; `lost` is what it means if the connection breaks meanwhile."""

        async def on_connection() -> T:
            try:
                connection = await self._connections.take()
            except (asyncpg.PostgresError, *_LOST) as error:
                raise Unavailable(f"PostgreSQL cannot be reached: {_reason(error)}") from error
            with self._connections.lent(connection):
                return await conversation(connection, *args, **kw)

        try:
            async with self._connections.one():
                return await bridge.call_asyncio(on_connection)
        except asyncpg.ReadOnlySQLTransactionError as error:  # a primary that has become a standby, or was closed
            raise Unavailable(f"PostgreSQL takes no writes: {_reason(error)}") from error
        except (
            *_LOST,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
        ) as error:
            raise lost(f"PostgreSQL did not answer: {_reason(error)}") from error
        except (asyncpg.InternalServerError, asyncpg.PostgresIOError, asyncpg.LockNotAvailableError) as error:
            raise lost(f"PostgreSQL failed: {_reason(error)}") from error


class _Connections:
    """At most `most` connections, made when needed and kept until they fail.

    asyncpg's own pool guards every use with timers and tasks, which cost more than a short statement itself.
    """

    def __init__(self, most: int, timeout_seconds: float, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._limit = trio.CapacityLimiter(most)
        self._timeout_seconds = timeout_seconds
        self._connect = connect
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """The right to use one connection. Raises `Unavailable` if none becomes free in time."""
        try:
            with trio.fail_after(self._timeout_seconds):
                await self._limit.acquire()
        except trio.TooSlowError as error:
            raise Unavailable("all connections to PostgreSQL are busy") from error
        try:
            yield
        finally:
            self._limit.release()

    async def take(self) -> Connection:
        """A connection, for whoever is within `one`; called in asyncio."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    @contextmanager
    def lent(self, connection: Connection) -> Iterator[None]:
        """Keep `connection` for the next user afterwards, unless it may be in the middle of something."""
        try:
            yield
        except BaseException as error:
            is_whole = isinstance(error, asyncpg.PostgresError | FlashError | AssertionError)
            if not is_whole or connection.is_closed() or connection.is_in_transaction():
                connection.terminate()
            else:
                self._idle.append(connection)
            raise
        self._idle.append(connection)

    def terminate(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()


@asynccontextmanager
async def open_postgres(
    url: str, *, connections_max: int, timeout_seconds: float, code_ttl_seconds: float, name: str
) -> AsyncIterator[Postgres]:
    """At most `connections_max` connections, made when they are needed: PostgreSQL may be away."""
    options = _connection_options(url, timeout_seconds, name)
    connections = _Connections(connections_max, timeout_seconds, partial(asyncpg.connect, url, **options))
    try:
        yield Postgres(connections, code_ttl_seconds)
    finally:
        # closing politely waits for the server: everybody who used them is gone by now
        connections.terminate()


async def migrate(url: str, *, timeout_seconds: float = 60.0) -> None:
    """Apply `schema.sql` and make the code key, once however many processes call it at the same time.

    Raises `Unavailable` if PostgreSQL is not there and `OperatorError` if it refuses the schema.
    """

    async def conversation() -> None:
        try:
            connection = await asyncpg.connect(url, **_connection_options(url, timeout_seconds, "flash migrate"))
        except (asyncpg.PostgresError, *_LOST) as error:
            raise Unavailable(f"PostgreSQL cannot be reached: {_reason(error)}") from error
        try:
            await _migrate(connection)
        except (*_LOST, asyncpg.OperatorInterventionError) as error:
            raise Unavailable(f"PostgreSQL went away: {_reason(error)}") from error
        except asyncpg.PostgresError as error:
            raise OperatorError(f"PostgreSQL refused schema.sql: {_reason(error)}") from error
        finally:
            connection.terminate()

    await bridge.call_asyncio(conversation)


async def _migrate(connection: Connection) -> None:
    encoding = await connection.fetchval("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise OperatorError(f"the database's encoding is {encoding}: users may have any name, so make it UTF8")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute(_SCHEMA.read_text("utf-8"))
        await connection.execute(
            "INSERT INTO secrets VALUES ('code_key', $1) ON CONFLICT DO NOTHING",
            secrets.token_bytes(KEY_BYTES),
        )


def _connection_options(url: str, timeout_seconds: float, name: str) -> dict[str, Any]:
    """Every wait bounded, on both sides; a client that froze in a transaction does not block the others."""
    milliseconds = str(int(timeout_seconds * 1000))
    options: dict[str, Any] = {
        "timeout": timeout_seconds,
        "command_timeout": timeout_seconds,
        "server_settings": {
            "application_name": name,
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
            # Plans are made while a sale's tables are small and kept while they grow: reading a whole table because
            # that was quicker at the time must not be one of them.
            "enable_seqscan": "off",
        },
    }
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = query.get("host", [parts.hostname or ""])[0]
    if "sslmode" not in query and (host.startswith("/") or host in ("", "localhost", "127.0.0.1", "::1")):
        options["ssl"] = False  # a cancelled TLS probe of a local server was seen to hang the loop
    return options


async def _record_attempts(
    connection: Connection, attempts: Sequence[Attempt | MalformedAttempt]
) -> list[RecordedAttempt]:
    random = secrets.token_bytes(SECRET_BYTES * len(attempts))
    keys = [random[i : i + SECRET_BYTES] for i in range(0, len(random), SECRET_BYTES)]
    rows = await connection.fetch(
        RECORD_ATTEMPTS,
        [a.user_id if isinstance(a, Attempt) else None for a in attempts],
        [a.item_id if isinstance(a, Attempt) else None for a in attempts],
        [a.query if isinstance(a, MalformedAttempt) else None for a in attempts],
        keys,
    )
    return [_recorded(row, key) for row, key in zip(rows, keys, strict=True)]


def _recorded(row: Any, secret: bytes) -> RecordedAttempt:
    checkout_id, sale_id, text, opens_in_seconds = row
    if text == "issued":
        return RecordedAttempt(CheckoutOutcome.ISSUED, Code(sale_id, checkout_id, secret))
    return RecordedAttempt(CheckoutOutcome(text), None, opens_in_seconds or 0.0)


async def _find_redemptions(connection: Connection, codes: Sequence[Code], ttl_seconds: float) -> list[Redemption]:
    rows = await connection.fetch(
        FIND_REDEMPTIONS, [c.checkout_id for c in codes], [c.sale_id for c in codes], ttl_seconds
    )
    return [_redemption(row) for row in rows]


def _redemption(row: Any) -> Redemption:
    checkout = None
    if row["secret"] is not None:
        checkout = Checkout(row["secret"], row["item_id"], row["user_id"], row["is_expired"])
    purchase = None
    if row["checkout_id"] is not None:
        purchase = Purchase(
            row["checkout_id"],
            RequestId(row["request_id"]),
            row["bought_item_id"],
            row["buyer"],
            row["slot"],
            row["purchased_at"],
        )
    return Redemption(checkout, purchase)


async def _begin_term(connection: Connection, sale_id: SaleId) -> tuple[Term, Sale, list[Purchase]]:
    row = await connection.fetchrow(BEGIN_TERM, sale_id)
    if row is None:
        raise TermEnded(f"sale {sale_id} does not exist")
    # No earlier term can commit any more, so this reads all that they ever sold; a later one may be selling already.
    sale, purchases, after = _sale(row), [], 0
    users: dict[str, UserId] = {}  # one string for a buyer, not one for each purchase
    while page := await connection.fetch(PURCHASES_PAGE, sale_id, after, row["epoch"]):
        purchases += [
            Purchase(checkout, request, item, users.setdefault(user, user), slot, at)
            for checkout, request, item, user, slot, at in page
        ]
        after = page[-1]["item_id"]
    assert len(purchases) == sale.sold, f"sale {sale_id} counts {sale.sold} sold but has {len(purchases)}"
    return Term(sale_id, Epoch(row["epoch"])), sale, purchases


async def _find_checkouts(
    connection: Connection, sale_id: SaleId, ids: list[CheckoutId], ttl_seconds: float
) -> tuple[datetime, dict[CheckoutId, Checkout]]:
    assert ids
    rows = await connection.fetch(FIND_CHECKOUTS, ids, sale_id, ttl_seconds)
    found = {
        checkout: Checkout(secret, item, user, is_expired)
        for _, checkout, secret, item, user, is_expired in rows
        if secret is not None
    }
    return rows[0]["now"], found


async def _sell(connection: Connection, term: Term, purchases: Sequence[Purchase]) -> bool:
    row = await connection.fetchrow(
        SELL,
        term.sale_id,
        term.epoch,
        len(purchases),
        max(p.purchased_at for p in purchases),
        [p.checkout_id for p in purchases],
        [p.request_id for p in purchases],
        [p.item_id for p in purchases],
        [p.user_id for p in purchases],
        [p.slot for p in purchases],
    )
    return row is not None


async def _prepare_sales(
    connection: Connection, period_seconds: int, size: int, user_limit: int
) -> tuple[list[SaleId], float]:
    made: list[SaleId] = []
    async with connection.transaction():
        # ids and item ranges follow from the largest ones, so only one process at a time may look and insert
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _SALES_LOCK)
        await connection.execute(DISCARD_OUTDATED, period_seconds, size, user_limit)
        for periods_ahead in (0, 1):
            made += await _column(connection, PREPARE_SALE, period_seconds, size, user_limit, periods_ahead)
        seconds: float = await connection.fetchval(NEXT_BOUNDARY, period_seconds)
    return made, seconds


async def _row(connection: Connection, sql: str, *args: Any) -> Any:
    return await connection.fetchrow(sql, *args)


async def _rows(connection: Connection, sql: str, *args: Any) -> list[Any]:
    rows: list[Any] = await connection.fetch(sql, *args)
    return rows


async def _column(connection: Connection, sql: str, *args: Any) -> list[Any]:
    return [row[0] for row in await connection.fetch(sql, *args)]


def _sale(row: Any) -> Sale:
    return Sale(
        row["id"],
        row["starts_at"],
        row["first_item_id"],
        row["stock"],
        row["user_limit"],
        row["sold"],
        row["is_open"],
    )


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
