"""What the leader of a sale asks PostgreSQL: which sales need one, what has been sold, and the commit that is fenced.

Raising a sale's epoch begins a term and ends every earlier one. Every batch of decisions, whether or not it sold
something, is confirmed by one statement under the present term, so a leader that was deposed without noticing, or that
remembers more than the database does, sells nothing and refuses nobody.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from flash.domain import Approved, CheckoutId, Confirmed, Epoch, ItemId, Purchase, RequestId, Sale, SaleId, Term, UserId
from flash.errors import TermEnded
from flash.stores.postgres import Postgres, Row
from flash.stores.sales import SALE_COLUMNS, sale_of

_LEAD_EARLY_SECONDS = 5.0
"""How long before a sale opens it gets a leader, so that its first buyers find one."""

_PAGE_ROWS = 2_000
"""Purchases read at a time when a term begins: a page of this size holds the loop for a few milliseconds."""

TOKEN_BYTES = 16

# A sale is led until a little after its last item went, for the commands that were under way. Two branches, so that
# each has an index that leaves the sales of the past alone.
LEADABLE = """
SELECT id, starts_at FROM sales WHERE sold_out_at IS NULL AND starts_at <= now() + $1 * interval '1 s'
UNION ALL
SELECT id, starts_at FROM sales WHERE sold_out_at > now() - $2 * interval '1 s'
ORDER BY starts_at DESC
"""

BEGIN_TERM = f"""
UPDATE sales SET epoch = epoch + 1, term_token = $2 WHERE id = $1 RETURNING {SALE_COLUMNS}, epoch, now() AS now
"""

PURCHASES_PAGE = """
SELECT checkout_id, request_id, item_id, user_id FROM purchases
WHERE sale_id = $1 AND item_id > $2 AND epoch < $3 ORDER BY item_id LIMIT $4
"""

# Both statements below answer with one row that has the time if the fence holds, with none of it if it does not, and
# then with one row for each receipt that was asked for. `LATERAL`: see `stores.checkouts`.
_RECEIPTS = """
UNION ALL
SELECT NULL, NULL, NULL, p.checkout_id, p.request_id, p.item_id, p.user_id, p.slot, p.purchased_at
FROM unnest({ids}::bigint[]) AS e (id)
CROSS JOIN LATERAL (SELECT * FROM purchases WHERE checkout_id = e.id LIMIT 1) p
"""

# The fence, in one statement, so that a frozen leader cannot hold a transaction open. The sale's row changes only in
# the term that the decisions were made in, only if as much was sold before as that term remembers, only if the sale is
# not paused, and only if every code has its checkout; without that no purchase is inserted. Whoever pauses the sale
# holds its row meanwhile, so this statement comes before the pause or finds it.
SELL = f"""
WITH asked AS MATERIALIZED (
    SELECT a.n, a.checkout_id, a.request_id, a.item_id, a.slot, c.user_id
    FROM unnest($6::bigint[], $7::text[], $8::bigint[], $9::bytea[], $10::smallint[])
         WITH ORDINALITY AS a (checkout_id, request_id, item_id, user_digest, slot, n)
    LEFT JOIN LATERAL (SELECT * FROM checkouts WHERE id = a.checkout_id LIMIT 1) c
              ON c.sale_id = $1 AND c.item_id = a.item_id AND c.outcome = 'issued'
                 AND c.user_digest IS NOT DISTINCT FROM a.user_digest
), term AS (
    UPDATE sales SET sold = sold + $5, sold_out_at = CASE WHEN sold + $5 = stock THEN now() END
    WHERE id = $1 AND epoch = $2 AND term_token = $3 AND sold = $4 AND paused_at IS NULL
          AND NOT EXISTS (SELECT FROM asked WHERE user_id IS NULL)
    RETURNING id, epoch
), made AS (
    INSERT INTO purchases (sale_id, epoch, purchased_at, checkout_id, request_id, item_id, user_id, slot)
    SELECT term.id, term.epoch, now(), checkout_id, request_id, item_id, user_id, slot FROM term, asked
)
SELECT (SELECT now() FROM term) AS now, false AS is_paused, ARRAY(SELECT user_id FROM asked ORDER BY n) AS user_ids,
       NULL::bigint AS checkout_id, NULL::text AS request_id, NULL::bigint AS item_id, NULL::text AS user_id,
       NULL::smallint AS slot, NULL::timestamptz AS purchased_at
{_RECEIPTS.format(ids="$11")}
"""

_FENCED = "FROM sales WHERE id = $1 AND epoch = $2 AND term_token = $3 AND sold = $4"

# A batch that sold nothing writes nothing: a no is fenced by what is committed when it is said.
CONFIRM = f"""
SELECT CASE WHEN fenced.is_paused IS NOT NULL THEN now() END AS now, fenced.is_paused, NULL::text[] AS user_ids,
       NULL::bigint AS checkout_id, NULL::text AS request_id, NULL::bigint AS item_id, NULL::text AS user_id,
       NULL::smallint AS slot, NULL::timestamptz AS purchased_at
FROM (SELECT (SELECT paused_at IS NOT NULL {_FENCED}) AS is_paused) AS fenced
{_RECEIPTS.format(ids="$5")}
"""

# Asked when nothing was sold: why. A sub-query of SELL would look at the time before it had waited for the pause.
IS_PAUSED = f"SELECT paused_at IS NOT NULL AS is_paused {_FENCED}"


class Terms:
    """Begins terms, and confirms batches within them.

    `linger_seconds`: how long a sold-out sale still needs a leader. `page_rows`: how many purchases are read at a time.
    """

    def __init__(self, database: Postgres, *, linger_seconds: float, page_rows: int = _PAGE_ROWS) -> None:
        self._database = database
        self._linger_seconds = linger_seconds
        self._page_rows = page_rows

    async def list_leadable(self) -> list[SaleId]:
        """The sales that need a leader now, the newest first. Raises `Unavailable`."""
        rows = await self._database.fetch(LEADABLE, _LEAD_EARLY_SECONDS, self._linger_seconds)
        return [row["id"] for row in rows]

    async def begin_term(self, sale_id: SaleId) -> tuple[Term, Sale, datetime]:
        """Raise the sale's epoch, which ends every earlier term. Returns the sale as it is then, and the time.

        Raises `TermEnded` if there is no such sale, `Unavailable` or `OutcomeUnknown`.
        """
        token = secrets.token_bytes(TOKEN_BYTES)
        rows = await self._database.write(BEGIN_TERM, sale_id, token)
        if not rows:
            raise TermEnded(f"sale {sale_id} does not exist")
        return Term(sale_id, Epoch(rows[0]["epoch"]), token), sale_of(rows[0]), rows[0]["now"]

    async def read_purchases(self, term: Term) -> AsyncIterator[list[tuple[CheckoutId, RequestId, ItemId, UserId]]]:
        """All that was sold before `term`, in pages: checkout, request, item and user of each purchase.

        No earlier term can commit any more; a later one may be selling already. Raises `Unavailable`.
        """
        after = 0
        while page := await self._database.fetch(PURCHASES_PAGE, term.sale_id, after, term.epoch, self._page_rows):
            after = page[-1]["item_id"]
            yield [(row[0], row[1], row[2], row[3]) for row in page]

    async def confirm(
        self, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed:
        """Store what was approved, all or none, if `term` is the sale's present one and `sold_before` is what is sold.

        Otherwise raises `TermEnded`. Nothing is stored while the sale is paused, and `is_paused` says so. Raises
        `Unavailable` or `OutcomeUnknown`, too.
        """
        fence = (term.sale_id, term.epoch, term.token, sold_before)
        if approved:
            rows = await self._database.write(SELL, *fence, len(approved), *_columns(approved), redeemed)
        else:
            rows = await self._database.fetch(CONFIRM, *fence, redeemed)
        now, is_paused, user_ids, *_ = rows[0]
        receipts = [_receipt(row) for row in rows[1:]]
        missing = [a for a, user_id in zip(approved, user_ids or (), strict=True) if user_id is None]
        if missing:
            return Confirmed(now, [], missing, receipts)
        if now is None:
            if not (approved and await self._is_paused(*fence)):
                raise TermEnded(
                    f"epoch {term.epoch} of sale {term.sale_id} is over, or the database holds something else than "
                    f"the {sold_before} items that it has sold"
                )
            return Confirmed(None, [], [], receipts, is_paused=True)
        sold = [_sold(a, user_id, now) for a, user_id in zip(approved, user_ids or (), strict=True)]
        return Confirmed(now, sold, [], receipts, is_paused)

    async def _is_paused(self, *fence: object) -> bool:
        """Whether the term stands, and sells nothing only because its sale is paused."""
        row = await self._database.fetch_one(IS_PAUSED, *fence)
        return row is not None and row["is_paused"]


def _columns(approved: Sequence[Approved]) -> tuple[list[int], list[str], list[int], list[bytes | None], list[int]]:
    codes = [a.code for a in approved]
    return (
        [code.checkout_id for code in codes],
        [a.request_id for a in approved],
        [code.item_id for code in codes],
        [None if code.is_legacy else code.user_digest for code in codes],
        [a.slot for a in approved],
    )


def _sold(approved: Approved, user_id: UserId, now: datetime) -> Purchase:
    code = approved.code
    return Purchase(code.checkout_id, approved.request_id, code.item_id, user_id, approved.slot, now)


def _receipt(row: Row) -> Purchase:
    _, _, _, checkout_id, request_id, item_id, user_id, slot, purchased_at = row
    return Purchase(checkout_id, request_id, item_id, user_id, slot, purchased_at)
