"""What PostgreSQL is asked each second to know whether a buyer could buy now. It reads one row by an index."""

from __future__ import annotations

from flash.errors import Unavailable
from flash.stores.postgres import Postgres
from flash.stores.readiness import TRY_TO_WRITE

LOOK = """
SELECT EXISTS (SELECT FROM sales WHERE starts_at <= now()) AS has_sale,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS is_read_only
"""


async def has_current_sale(database: Postgres) -> bool:
    """Whether there is a sale that has begun. Raises `Unavailable` also if PostgreSQL answers but takes no writes."""
    row = await database.fetch_one(LOOK)
    assert row is not None
    if row["is_read_only"]:
        # A session that began while the database was read-only stays so: a write that is refused ends it.
        await database.write(TRY_TO_WRITE)
        raise Unavailable("PostgreSQL takes no writes: it is a standby or was made read-only")
    return bool(row["has_sale"])
