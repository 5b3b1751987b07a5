"""The SQL that makes sales, one for each period by the database's clock. Opening one takes no statement at all.

Who makes sales, and with which settings, stands in one row of PostgreSQL, which is read and written in the transaction
that makes them. A process takes that row when its holder's time is over, by the database's clock. The settings are
those of the process that started last: each records its own, with the time of its start, and all follow what stands
recorded. That is repeated, since a database that remembers less may have forgotten it.
So a process that started earlier never discards a sale for its own settings, and one that was deposed makes nothing.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime

from flash.domain import SaleId
from flash.stores.postgres import Postgres, Row, Session

log = logging.getLogger(__name__)

_SCHEDULE_LOCK = 0x666C6174
"""The advisory lock held while sales are made. `stores.migration` uses the number before it."""

_KEEP_SECONDS = 10.0
"""A prepared sale that opens sooner than this is kept, whatever the settings say now."""

_LEASE_SECONDS = 3.0

# Later than whatever stands recorded, even if the database's clock has been set back since.
START_TIME = "SELECT greatest(clock_timestamp(), max(configured_at) + interval '1 us') FROM scheduler"

# Repeating it changes nothing, and neither does a process that started earlier.
RECORD_SETTINGS = """
INSERT INTO scheduler AS s (id, expires_at, configured_at, period_seconds, size, user_limit)
VALUES (1, '-infinity', $1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE SET
    (configured_at, period_seconds, size, user_limit)
    = (EXCLUDED.configured_at, EXCLUDED.period_seconds, EXCLUDED.size, EXCLUDED.user_limit)
WHERE s.configured_at < EXCLUDED.configured_at
"""

# An end that lies further away than any lease does was written before the database's clock was set back.
TAKE_SCHEDULER = """
UPDATE scheduler SET holder = $1, expires_at = clock_timestamp() + $2 * interval '1 s'
WHERE holder = $1 OR expires_at <= clock_timestamp()
      OR expires_at > clock_timestamp() + greatest($2, 60) * interval '1 s'
RETURNING period_seconds, size, user_limit
"""
HOLDER_ENDS_IN = "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM scheduler"
RELEASE_SCHEDULER = "UPDATE scheduler SET expires_at = clock_timestamp() WHERE holder = $1"

# Ids and item ranges follow from the largest ones, so only one process at a time may look and insert.
LOCK_SCHEDULE = "SELECT pg_advisory_xact_lock($1)"

# A prepared sale that was made with other settings makes way for one with the present ones, unless it is paused: the
# pause belongs to its number, and the new one would have it too.
DISCARD_OUTDATED = """
DELETE FROM sales WHERE starts_at > now() + $4 * interval '1 s' AND epoch = 0 AND sold = 0
AND paused_at IS NULL AND (stock <> $2 OR user_limit <> $3 OR extract(epoch FROM starts_at)::bigint % $1 <> 0)
"""

# The last range of items is the one that begins last, because ranges do not overlap: its index finds it.
PREPARE_SALE = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit)
SELECT coalesce((SELECT max(id) FROM sales), 0) + 1,
       to_timestamp((floor(extract(epoch FROM now()) / $1) + $4) * $1),
       coalesce((SELECT first_item_id + stock FROM sales ORDER BY first_item_id DESC LIMIT 1), 1), $2, $3
ON CONFLICT (starts_at) DO NOTHING
RETURNING id
"""

NEXT_BOUNDARY = """
SELECT ((floor(extract(epoch FROM now()) / $1) + 1) * $1 - extract(epoch FROM clock_timestamp()))::float8
"""

Settings = tuple[int, int, int]
"""Seconds from one sale to the next, items in a sale, items of one sale for one user."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    made: list[SaleId]
    ask_again_seconds: float
    settings: Settings | None
    """Those that stand recorded; None if another process makes the sales."""


class SaleSchedule:
    """Makes the current sale and the next one, unless another process does.

    The right to make them lasts for `lease_seconds` after each call of `prepare_sales`.
    """

    def __init__(self, database: Postgres, lease_seconds: float = _LEASE_SECONDS) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._token = secrets.token_bytes(16)
        self._started: tuple[Settings, datetime] | None = None
        self._followed: Settings | None = None

    async def prepare_sales(self, period_seconds: int, size: int, user_limit: int) -> tuple[list[SaleId], float]:
        """Make sure that the current period's sale and the next one exist, if it is up to us.

        Returns the sales that were made, and the seconds until the next boundary or until another process's right
        ends. Other settings than before count as a new start. Raises `Unavailable` or `OutcomeUnknown`.
        """
        started = await self._start((period_seconds, size, user_limit))
        prepared = await self._database.run(_prepare_sales, started, self._token, self._lease_seconds)
        self._note(prepared.settings)
        return prepared.made, prepared.ask_again_seconds

    async def release(self) -> None:
        """Let another process take over at once. Raises `Unavailable` or `OutcomeUnknown`."""
        await self._database.write(RELEASE_SCHEDULER, self._token)

    async def _start(self, settings: Settings) -> tuple[Settings, datetime]:
        """Our settings, and since when. The time is read once, or we would overrule whoever has started in between."""
        if self._started is None or self._started[0] != settings:
            row = await self._database.fetch_one(START_TIME)
            assert row is not None
            self._started = settings, row[0]
        return self._started

    def _note(self, followed: Settings | None) -> None:
        """Log it when we begin or cease to make sales, and when they are made with settings that are not ours."""
        if followed != self._followed:
            if followed is None:
                log.warning("another process makes the sales now")
            elif self._followed is None:
                log.info("leading the sale scheduler")
            ours = None if self._started is None else self._started[0]
            if followed is not None and followed != ours:
                log.warning(
                    "sales are made with the period, size and user limit of a process that started later: %s, not %s",
                    followed,
                    ours,
                )
        self._followed = followed


async def _prepare_sales(
    session: Session, started: tuple[Settings, datetime], token: bytes, lease_seconds: float
) -> _Prepared:
    settings, started_at = started
    async with session.transaction():
        await session.execute(LOCK_SCHEDULE, _SCHEDULE_LOCK)
        # Each time: the database may have been replaced by one that has forgotten them.
        await session.execute(RECORD_SETTINGS, started_at, *settings)
        taken = await session.fetchrow(TAKE_SCHEDULER, token, lease_seconds)
        if taken is None:
            return _Prepared([], await session.fetchval(HOLDER_ENDS_IN), None)
        return await _make_sales(session, _settings(taken))


async def _make_sales(session: Session, settings: Settings) -> _Prepared:
    made: list[SaleId] = []
    await session.execute(DISCARD_OUTDATED, *settings, _KEEP_SECONDS)
    for periods_ahead in (0, 1):
        made += await _make_sale(session, settings, periods_ahead)
    return _Prepared(made, await session.fetchval(NEXT_BOUNDARY, settings[0]), settings)


async def make_extra_sale(session: Session, settings: Settings) -> list[SaleId]:
    """The sale of the current period of `settings` unless there is one, whoever makes sales: for benchmarks."""
    async with session.transaction():
        await session.execute(LOCK_SCHEDULE, _SCHEDULE_LOCK)
        return await _make_sale(session, settings, 0)


async def _make_sale(session: Session, settings: Settings, periods_ahead: int) -> list[SaleId]:
    return [row["id"] for row in await session.fetch(PREPARE_SALE, *settings, periods_ahead)]


def _settings(row: Row) -> Settings:
    return row["period_seconds"], row["size"], row["user_limit"]
