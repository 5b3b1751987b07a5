"""What the leader of a sale asks PostgreSQL: which sales need one, what has been sold, and the commit that is fenced.

Raising a sale's epoch begins a term and ends every earlier one. A purchase is inserted only under the present epoch,
so a leader that was deposed without noticing commits nothing.
"""

from __future__ import annotations

from datetime import datetime

from flash.domain import Checkout, CheckoutId, Epoch, Purchase, Sale, SaleId, Term, UserId
from flash.errors import TermEnded
from flash.stores.postgres import Postgres, Session
from flash.stores.sales import SALE_COLUMNS, sale_of

_LEAD_EARLY_SECONDS = 5.0
"""How long before a sale opens it gets a leader, so that its first buyers find one."""

_PAGE_ROWS = 50_000

# A sale is led until a little after its last item went, for the commands that were under way. Two branches, so that
# each has an index that leaves the sales of the past alone.
LEADABLE = """
SELECT id FROM sales WHERE sold_out_at IS NULL AND starts_at <= now() + $1 * interval '1 s'
UNION ALL
SELECT id FROM sales WHERE sold_out_at > now() - $2 * interval '1 s'
"""

BEGIN_TERM = f"UPDATE sales SET epoch = epoch + 1 WHERE id = $1 RETURNING {SALE_COLUMNS}, epoch"

PURCHASES_PAGE = """
SELECT checkout_id, request_id, item_id, user_id, slot, purchased_at FROM purchases
WHERE sale_id = $1 AND item_id > $2 AND epoch < $3 ORDER BY item_id LIMIT $4
"""

# now() is the time at which the purchases decided from this answer are made: after every checkout that it
# can see, and before the commit that the fence lets through. `LATERAL`: see `stores.checkouts`.
FIND_CHECKOUTS = """
SELECT now() AS now, u.id, c.secret, c.item_id, c.user_id, c.attempted_at < now() - $3 * interval '1 s' AS is_expired
FROM unnest($1::bigint[]) AS u (id)
LEFT JOIN LATERAL (SELECT * FROM checkouts WHERE id = u.id LIMIT 1) c ON c.sale_id = $2 AND c.outcome = 'issued'
"""

# The fence. One statement, so that a frozen leader cannot hold a transaction open. The sale's row changes only under
# the epoch that the decisions were made in; without that no purchase is inserted. No row comes back: deposed.
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


class Terms:
    """Begins terms and sells within them. A code is valid for `code_ttl_seconds`.

    `linger_seconds`: how long a sold-out sale still needs a leader. `page_rows`: how many purchases are read at a time
    when a term begins.
    """

    def __init__(
        self, database: Postgres, code_ttl_seconds: float, *, linger_seconds: float, page_rows: int = _PAGE_ROWS
    ) -> None:
        self._database = database
        self._code_ttl_seconds = code_ttl_seconds
        self._linger_seconds = linger_seconds
        self._page_rows = page_rows

    async def list_leadable(self) -> list[SaleId]:
        """The sales that need a leader now. Raises `Unavailable`."""
        rows = await self._database.fetch(LEADABLE, _LEAD_EARLY_SECONDS, self._linger_seconds)
        return [row["id"] for row in rows]

    async def begin_term(self, sale_id: SaleId) -> tuple[Term, Sale, list[Purchase]]:
        """Raise the sale's epoch, which ends every earlier term, and read what those have sold.

        Raises `TermEnded` if there is no such sale, `Unavailable` or `OutcomeUnknown`.
        """
        return await self._database.run(_begin_term, sale_id, self._page_rows)

    async def find_checkouts(
        self, sale_id: SaleId, ids: list[CheckoutId]
    ) -> tuple[datetime, dict[CheckoutId, Checkout]]:
        """The issued checkouts among `ids`, and the time by the database's clock. Raises `Unavailable`."""
        assert ids
        rows = await self._database.fetch(FIND_CHECKOUTS, ids, sale_id, self._code_ttl_seconds)
        found = {
            checkout_id: Checkout(secret, item_id, user_id, is_expired)
            for _, checkout_id, secret, item_id, user_id, is_expired in rows
            if secret is not None
        }
        return rows[0]["now"], found

    async def sell(self, term: Term, purchases: list[Purchase]) -> None:
        """Commit `purchases`, all or none, if `term` is still the sale's present one.

        Raises `TermEnded` if it is not, `Unavailable` or `OutcomeUnknown`.
        """
        rows = await self._database.write(
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
        if not rows:
            raise TermEnded(f"epoch {term.epoch} of sale {term.sale_id} is over")


async def _begin_term(session: Session, sale_id: SaleId, page_rows: int) -> tuple[Term, Sale, list[Purchase]]:
    row = await session.fetchrow(BEGIN_TERM, sale_id)
    if row is None:
        raise TermEnded(f"sale {sale_id} does not exist")
    sale, epoch = sale_of(row), Epoch(row["epoch"])
    purchases = await _read_purchases(session, sale_id, epoch, page_rows)
    assert len(purchases) == sale.sold, f"sale {sale_id} counts {sale.sold} sold but has {len(purchases)}"
    return Term(sale_id, epoch), sale, purchases


async def _read_purchases(session: Session, sale_id: SaleId, epoch: Epoch, page_rows: int) -> list[Purchase]:
    """All that was sold before `epoch`: no earlier term can commit any more, and a later one may be selling already."""
    purchases: list[Purchase] = []
    users: dict[str, UserId] = {}  # one string for a buyer, not one for each purchase
    after = 0
    while page := await session.fetch(PURCHASES_PAGE, sale_id, after, epoch, page_rows):
        purchases += [
            Purchase(checkout_id, request_id, item_id, users.setdefault(user, user), slot, at)
            for checkout_id, request_id, item_id, user, slot, at in page
        ]
        after = page[-1]["item_id"]
    return purchases
