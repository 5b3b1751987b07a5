"""What PostgreSQL says of its standbys, and of the settings that a session gets by way of a pooler."""

from __future__ import annotations

from dataclasses import dataclass

from flash.stores.postgres import Postgres

# A role that may not see what standbys do (pg_monitor may) is told that there are some, and nothing of their state.
_REPLICATION = """
SELECT current_setting('synchronous_standby_names') AS synchronous_names,
       current_setting('synchronous_commit') AS synchronous_commit,
       count(*) AS standbys,
       count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) AS synchronous,
       count(*) = count(state) AS is_visible
FROM pg_stat_replication
"""
_UNBOUNDED = """
SELECT name FROM pg_settings WHERE setting = '0' AND name = ANY($1) ORDER BY name
"""
BOUNDS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


@dataclass(frozen=True, slots=True)
class Replication:
    """`standbys` follow this server, `synchronous` of them are waited for; `is_visible`: this role may see which."""

    synchronous_names: str
    synchronous_commit: str
    standbys: int
    synchronous: int
    is_visible: bool


async def read_replication(database: Postgres) -> Replication:
    """Raises `Unavailable`."""
    row = await database.fetch_one(_REPLICATION)
    assert row is not None
    return Replication(**row)


async def unbounded_waits(database: Postgres) -> list[str]:
    """The settings that should end what takes too long, and do not for sessions of this role. Raises `Unavailable`."""
    return [row["name"] for row in await database.fetch(_UNBOUNDED, list(BOUNDS))]
