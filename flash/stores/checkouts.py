"""The SQL of checkouts. The statement that records an attempt also decides its outcome.

So no attempt can be answered without being recorded. Everything else about a buyer is decided by the sale's leader.
"""

from __future__ import annotations

import secrets

from flash.codes import SECRET_BYTES
from flash.domain import (
    Attempt,
    Checkout,
    CheckoutOutcome,
    Code,
    MalformedAttempt,
    Purchase,
    RecordedAttempt,
    Redemption,
    RequestId,
)
from flash.stores.postgres import Postgres, Row

# Rows are looked up by `LATERAL (… LIMIT 1)`, which the planner cannot turn into one join over the whole table: a plain
# join was seen to scan `checkouts` for each batch, 20 times dearer at 10,000 rows and growing.

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

FIND_REDEMPTIONS = """
SELECT u.id, c.secret, c.item_id, c.user_id, c.attempted_at < now() - $3 * interval '1 s' AS is_expired,
       p.checkout_id, p.request_id, p.item_id AS bought_item_id, p.user_id AS buyer, p.slot, p.purchased_at
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS u (id, sale_id, n)
LEFT JOIN LATERAL (SELECT * FROM checkouts WHERE id = u.id LIMIT 1) c
          ON c.sale_id = u.sale_id AND c.outcome = 'issued'
LEFT JOIN LATERAL (SELECT * FROM purchases WHERE checkout_id = u.id LIMIT 1) p ON true
ORDER BY u.n
"""


class Checkouts:
    """Records attempts and finds what became of a code, which is valid for `code_ttl_seconds`."""

    def __init__(self, database: Postgres, code_ttl_seconds: float) -> None:
        self._database = database
        self._code_ttl_seconds = code_ttl_seconds

    async def record_attempts(self, attempts: list[Attempt | MalformedAttempt]) -> list[RecordedAttempt]:
        """Persist every attempt with its outcome in one commit; the outcomes come in the same order.

        Raises `Unavailable` or `OutcomeUnknown`.
        """
        users, items, queries = zip(*map(_columns, attempts), strict=True)
        random = secrets.token_bytes(SECRET_BYTES * len(attempts))  # one system call for the whole batch
        code_secrets = [random[i : i + SECRET_BYTES] for i in range(0, len(random), SECRET_BYTES)]
        rows = await self._database.write(RECORD_ATTEMPTS, users, items, queries, code_secrets)
        return [_recorded(row, secret) for row, secret in zip(rows, code_secrets, strict=True)]

    async def find_redemptions(self, codes: list[Code]) -> list[Redemption]:
        """What each code's checkout was and what it bought, in the same order. Raises `Unavailable`."""
        rows = await self._database.fetch(
            FIND_REDEMPTIONS, [c.checkout_id for c in codes], [c.sale_id for c in codes], self._code_ttl_seconds
        )
        return [_redemption(row) for row in rows]


def _columns(attempt: Attempt | MalformedAttempt) -> tuple[str | None, int | None, bytes | None]:
    if isinstance(attempt, MalformedAttempt):
        return None, None, attempt.query
    return attempt.user_id, attempt.item_id, None


def _recorded(row: Row, secret: bytes) -> RecordedAttempt:
    checkout_id, sale_id, outcome, opens_in_seconds = row
    if outcome == "issued":
        return RecordedAttempt(CheckoutOutcome.ISSUED, Code(sale_id, checkout_id, secret))
    return RecordedAttempt(CheckoutOutcome(outcome), None, opens_in_seconds or 0.0)


def _redemption(row: Row) -> Redemption:
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
