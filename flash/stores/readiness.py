"""What a process asks of PostgreSQL before it serves: that it takes writes, and gives out no checkout's id twice.

A sequence can be behind its table: logical replication does not carry it, and a restore by hand may forget it. Every
batch that drew an id twice would fail, and every id drawn before that names somebody else's checkout. It can also fall
behind while processes run, so `Checkouts` puts it right as well.
"""

from __future__ import annotations

import logging

from flash.errors import OperatorError, reason_of
from flash.stores.postgres import Postgres, Session
from flash.stores.postgres_errors import PermissionDenied

log = logging.getLogger(__name__)

# A write that writes nothing. A standby refuses it, and so does a server that was made read-only.
TRY_TO_WRITE = "SELECT FROM sales LIMIT 0 FOR UPDATE"

# Asked for by function: a role that may draw from the sequence need not be allowed to read it.
IDS_BEHIND = """
SELECT coalesce((SELECT max(id) FROM checkouts), 0) - coalesce(pg_sequence_last_value('checkouts_id_seq'), 0)
"""
# Not by setval(): another process may draw meanwhile, and would then be set back. Drawing only moves forward.
DRAW_IDS = "SELECT count(nextval('checkouts_id_seq')) FROM generate_series(1, $1)"
_DRAWN_AT_ONCE = 200_000


async def check_readiness(database: Postgres) -> None:
    """Returns once this process may serve.

    Raises `Unavailable` or `OutcomeUnknown` while PostgreSQL takes no writes, and `OperatorError` if this role may not
    put the sequence right.
    """
    try:
        await database.write(TRY_TO_WRITE)
        await database.administer(put_sequence_right)
    except PermissionDenied as error:
        raise OperatorError(
            f"this role may not use the sequence of checkouts ({reason_of(error)}): "
            "run `flash migrate --grant-to ROLE` with the DATABASE_URL of the tables' owner"
        ) from error


async def put_sequence_right(session: Session) -> None:
    """Draw the ids that the table has already, if the sequence is behind it."""
    behind: int = await session.fetchval(IDS_BEHIND)
    if behind > 0:
        log.warning("the sequence of checkouts is %d ids behind its table, as after a restore: drawing them", behind)
    while behind > 0:
        await session.fetchval(DRAW_IDS, min(behind, _DRAWN_AT_ONCE))
        behind = await session.fetchval(IDS_BEHIND)
