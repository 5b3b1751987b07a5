"""The SQL of checkouts. The statement that records an attempt also decides its outcome.

So no attempt can be answered without being recorded. Everything else about a buyer is decided by the sale's leader.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

import trio

from flash.domain import (
    Attempt,
    CheckoutOutcome,
    Code,
    LegacyCode,
    MalformedAttempt,
    Purchase,
    RecordedAttempt,
    Redemption,
    UserId,
)
from flash.stores.postgres import Postgres, Row
from flash.stores.postgres_errors import DuplicateKey
from flash.stores.readiness import put_sequence_right

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
           a.user_digest
    FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[])
         WITH ORDINALITY AS a (user_id, item_id, query, user_digest, n)
    LEFT JOIN LATERAL (
        SELECT * FROM sales WHERE first_item_id <= a.item_id ORDER BY first_item_id DESC LIMIT 1
    ) s ON a.item_id < s.first_item_id + s.stock
    LEFT JOIN LATERAL (
        SELECT item_id FROM purchases WHERE sale_id = s.id AND item_id = a.item_id LIMIT 1
    ) p ON true
), recorded AS (
    INSERT INTO checkouts (id, outcome, sale_id, item_id, user_id, user_digest, query) OVERRIDING SYSTEM VALUE
    SELECT id, outcome, sale_id, item_id, user_id, CASE outcome WHEN 'issued' THEN user_digest END, query
    FROM attempt
)
SELECT id, sale_id, outcome, opens_in_seconds, floor(extract(epoch FROM now()))::bigint AS issued_at
FROM attempt ORDER BY n
"""

# A purchase is shown to whoever holds a code with its checkout and item; `Checkouts` also compares the user.
FIND_REDEMPTIONS = """
SELECT c.id IS NOT NULL AS is_valid, p.checkout_id, p.request_id, p.item_id, p.user_id, p.slot, p.purchased_at,
       s.sold = s.stock AS is_sold_out
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])
     WITH ORDINALITY AS u (id, sale_id, item_id, user_digest, n)
LEFT JOIN LATERAL (SELECT * FROM checkouts WHERE id = u.id LIMIT 1) c
          ON c.sale_id = u.sale_id AND c.item_id = u.item_id AND c.outcome = 'issued'
             AND c.user_digest IS NOT DISTINCT FROM u.user_digest AND c.attempted_at >= now() - $5 * interval '1 s'
LEFT JOIN LATERAL (SELECT * FROM purchases WHERE checkout_id = u.id LIMIT 1) p
          ON p.sale_id = u.sale_id AND p.item_id = u.item_id
LEFT JOIN LATERAL (SELECT sold, stock FROM sales WHERE id = u.sale_id LIMIT 1) s ON true
ORDER BY u.n
"""

FIND_LEGACY = """
SELECT secret, item_id, user_id, floor(extract(epoch FROM attempted_at))::bigint AS issued_at FROM checkouts
WHERE id = $1 AND sale_id = $2 AND outcome = 'issued' AND user_digest IS NULL
"""


class Checkouts:
    """Records attempts and finds what became of a code, which is valid for `code_ttl_seconds`.

    `digest_user`: what stands for a user in a code.
    """

    def __init__(self, database: Postgres, code_ttl_seconds: float, digest_user: Callable[[UserId], bytes]) -> None:
        self._database = database
        self._code_ttl_seconds = code_ttl_seconds
        self._digest_user = digest_user
        self._repairing = trio.Lock()

    async def record_attempts(self, attempts: list[Attempt | MalformedAttempt]) -> list[RecordedAttempt]:
        """Persist every attempt with its outcome in one commit; the outcomes come in the same order.

        Raises `Unavailable` or `OutcomeUnknown`.
        """
        columns = [self._columns(attempt) for attempt in attempts]
        rows = await self._record(*zip(*columns, strict=True))
        return [
            _recorded(row, attempt, column[-1]) for row, attempt, column in zip(rows, attempts, columns, strict=True)
        ]

    async def _record(self, *columns: tuple[object, ...]) -> list[Row]:
        try:
            return await self._database.write(RECORD_ATTEMPTS, *columns)
        except DuplicateKey:
            # Somebody restored the table and forgot its sequence. Each batch would fail, and burn but its own ids.
            async with self._repairing:
                await self._database.run(put_sequence_right)
            return await self._database.write(RECORD_ATTEMPTS, *columns)

    async def find_redemptions(self, codes: list[Code]) -> list[Redemption]:
        """What each code has bought, if anything, in the same order. Raises `Unavailable`."""
        rows = await self._database.fetch(
            FIND_REDEMPTIONS,
            [code.checkout_id for code in codes],
            [code.sale_id for code in codes],
            [code.item_id for code in codes],
            [None if code.is_legacy else code.user_digest for code in codes],
            self._code_ttl_seconds,
        )
        return [self._redemption(code, row) for code, row in zip(codes, rows, strict=True)]

    async def find_legacy(self, legacy: LegacyCode) -> Code | None:
        """All that a code of release 0.1 left to its checkout's row; None if no row has its secret.

        Raises `Unavailable`.
        """
        row = await self._database.fetch_one(FIND_LEGACY, legacy.checkout_id, legacy.sale_id)
        if row is None or not hmac.compare_digest(row["secret"], legacy.secret):
            return None
        digest = self._digest_user(row["user_id"])
        return Code(legacy.sale_id, legacy.checkout_id, row["item_id"], row["issued_at"], digest, is_legacy=True)

    def _columns(
        self, attempt: Attempt | MalformedAttempt
    ) -> tuple[str | None, int | None, bytes | None, bytes | None]:
        if isinstance(attempt, MalformedAttempt):
            return None, None, attempt.query, None
        return attempt.user_id, attempt.item_id, None, self._digest_user(attempt.user_id)

    def _redemption(self, code: Code, row: Row) -> Redemption:
        is_valid, checkout_id, request_id, item_id, user_id, slot, purchased_at, is_sold_out = row
        if checkout_id is None or self._digest_user(user_id) != code.user_digest:
            return Redemption(is_valid, None, bool(is_sold_out))
        purchase = Purchase(checkout_id, request_id, item_id, user_id, slot, purchased_at)
        return Redemption(is_valid, purchase, bool(is_sold_out))


def _recorded(row: Row, attempt: Attempt | MalformedAttempt, digest: bytes | None) -> RecordedAttempt:
    checkout_id, sale_id, outcome, opens_in_seconds, issued_at = row
    if outcome == "issued":
        assert isinstance(attempt, Attempt)
        assert digest is not None
        return RecordedAttempt(CheckoutOutcome.ISSUED, Code(sale_id, checkout_id, attempt.item_id, issued_at, digest))
    return RecordedAttempt(CheckoutOutcome(outcome), None, opens_in_seconds or 0.0)
