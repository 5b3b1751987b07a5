"""What a process asks of PostgreSQL before it serves: that it takes writes, enforces what is promised whoever leads,
and gives out no checkout's id twice.

A restore makes the constraints after the rows. One that stopped in between leaves tables that take anything.

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

# How many constraints each table has at least, by their kind: checks, primary keys, unique ones, exclusions.
_RULES = {
    **{("sales", "c"): 10, ("sales", "p"): 1, ("sales", "u"): 2, ("sales", "x"): 1},
    **{("checkouts", "c"): 6, ("checkouts", "p"): 1},
    **{("purchases", "c"): 1, ("purchases", "p"): 1, ("purchases", "u"): 2},
}
COUNT_RULES = """
SELECT c.relname AS place, r.contype::text AS kind, count(*) AS rules
FROM unnest(ARRAY['sales', 'checkouts', 'purchases']) AS t (name)
JOIN pg_class c ON c.oid = to_regclass(t.name) JOIN pg_constraint r ON r.conrelid = c.oid GROUP BY 1, 2
"""

# Asked for by function: a role that may draw from the sequence need not be allowed to read it.
IDS_BEHIND = """
SELECT coalesce((SELECT max(id) FROM checkouts), 0) - coalesce(pg_sequence_last_value('checkouts_id_seq'), 0)
"""
# Not by setval(): another process may draw meanwhile, and would then be set back. Drawing only moves forward.
DRAW_IDS = "SELECT count(nextval('checkouts_id_seq')) FROM generate_series(1, $1)"
_DRAWN_AT_ONCE = 200_000
_DRAWN_MAX = 100_000_000
"""A sequence further behind was not forgotten: drawing its way would take minutes, or for ever."""


async def check_readiness(database: Postgres) -> None:
    """Returns once this process may serve.

    Raises `Unavailable` or `OutcomeUnknown` while PostgreSQL takes no writes, and `OperatorError` if the tables lack
    constraints or this role may not put the sequence right.
    """
    try:
        await database.write(TRY_TO_WRITE)
        await _check_rules(database)
        await database.administer(put_sequence_right)
    except PermissionDenied as error:
        raise OperatorError(
            f"this role may not use the sequence of checkouts ({reason_of(error)}): "
            "run `flash migrate --grant-to ROLE` with the DATABASE_URL of the tables' owner"
        ) from error


async def _check_rules(database: Postgres) -> None:
    found = {(row["place"], row["kind"]): row["rules"] for row in await database.fetch(COUNT_RULES)}
    lacking = sorted({place for (place, kind), rules in _RULES.items() if found.get((place, kind), 0) < rules})
    if lacking:
        raise OperatorError(
            f"the database does not enforce the rules of {', '.join(lacking)}: constraints are missing, as after a "
            "restore that was not finished; restore it again, and run `flash audit` before you start the service"
        )


async def put_sequence_right(session: Session) -> None:
    """Draw the ids that the table has already, if the sequence is behind it. Raises `OperatorError` if it is far."""
    behind: int = await session.fetchval(IDS_BEHIND)
    if behind > _DRAWN_MAX:
        raise OperatorError(
            f"a checkout has an id that is {behind:,} beyond the sequence of checkouts: look at the largest ids of the "
            "table, and delete those that no process has written, or set the sequence with setval()"
        )
    if behind > 0:
        log.warning("the sequence of checkouts is %d ids behind its table, as after a restore: drawing them", behind)
    while behind > 0:
        await session.fetchval(DRAW_IDS, min(behind, _DRAWN_AT_ONCE))
        behind = await session.fetchval(IDS_BEHIND)
