"""Brings the schema up to date, and decides whether this process may work with the one that it finds.

The steps are the files of `stores/migrations`; the table `schema_migrations` records which were applied. All that are
missing are applied in one transaction under an advisory lock, so any number of processes may start at once.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import flash
from flash.errors import OperatorError, reason_of
from flash.stores.keys import has_secrets, make_secrets
from flash.stores.postgres import Row, Session, open_postgres
from flash.stores.postgres_errors import PermissionDenied, StatementError

log = logging.getLogger(__name__)

MIGRATIONS = files("flash.stores.migrations")

_MIGRATION_LOCK = 0x666C6173
"""The advisory lock held while migrating. `stores.schedule` uses the number after it."""

_CONNECT_SECONDS = 5.0
"""How long connecting may take: every start waits for its part of it if the first of several servers is silent."""
_LOOK_SECONDS = 60.0
_STEP_SECONDS = 86_400.0
"""How long one statement of a migration may take: a table of a year of attempts is not rewritten in a minute."""
_BOUND_TABLE_LOCKS = "SET LOCAL lock_timeout = '2s'"
"""A migration that waits for a table blocks every later statement on it, so it may wait only as long as one of ours."""

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_REQUIRES = re.compile(r"-- requires: (\d+)\n")

CREATE_SCHEMA_MIGRATIONS = """
CREATE TABLE schema_migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    requires   integer     NOT NULL,
    checksum   text        NOT NULL,
    release    text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
RECORD_MIGRATION = """
INSERT INTO schema_migrations (version, name, requires, checksum, release) VALUES ($1, $2, $3, $4, $5)
"""
# Not with to_regclass(): it looks into a cache, which was seen to be out of date in a transaction that had waited for
# the advisory lock.
SERVER = """
SELECT current_setting('server_encoding') AS encoding,
       coalesce(bool_or(tablename = 'sales'), false) AS has_tables,
       coalesce(bool_or(tablename = 'schema_migrations'), false) AS is_recorded
FROM pg_tables WHERE schemaname = ANY(current_schemas(false))
"""
APPLIED = "SELECT version, name, requires, checksum FROM schema_migrations ORDER BY version"

# All that the service needs. It never changes or deletes a checkout, a purchase, a pause or a secret.
GRANTS = """
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON sales TO {role};
GRANT SELECT, INSERT, UPDATE ON scheduler TO {role};
GRANT SELECT, INSERT ON checkouts, purchases, sale_pauses TO {role};
GRANT USAGE ON SEQUENCE checkouts_id_seq TO {role};
GRANT SELECT ON secrets, code_keys, schema_migrations TO {role};
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. `requires`: the oldest schema version that a process must know to work with its result."""

    version: int
    name: str
    requires: int
    checksum: str
    sql: str

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database holds, and which of the known steps it lacks.

    Version 0 has no table of ours. Release 0.1.0 recorded no version; what it made counts as version 1.
    """

    version: int
    pending: tuple[Migration, ...]
    is_recorded: bool
    has_secrets: bool


def read_migrations(folder: Traversable = MIGRATIONS) -> list[Migration]:
    """The steps in `folder`, in order. Raises `OperatorError` if they are not all there or cannot be read."""
    try:
        migrations = [_read_migration(file) for file in folder.iterdir() if file.name.endswith(".sql")]
    except (OSError, ValueError) as error:
        raise OperatorError(f"the migrations of this installation cannot be read: {reason_of(error)}") from error
    migrations.sort(key=lambda migration: migration.version)
    if not migrations or [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise OperatorError(f"migrations are missing from this installation ({folder}): install flash again")
    return migrations


async def migrate(url: str, *, migrations: Sequence[Migration] | None = None, grant_to: str | None = None) -> Schema:
    """Apply what is missing and make the secrets. Repeating it, or running it in several processes at once, is safe.

    `grant_to` names a role that gets the rights which the service needs. If nothing is missing nothing is written, so
    a role without rights on the schema may call this too. Returns what is there now.

    Raises `Unavailable` or `OutcomeUnknown` if PostgreSQL is not there, and `OperatorError` if it refuses or if this
    release cannot work with the schema.
    """
    known = read_migrations() if migrations is None else list(migrations)
    found = None
    name = "flash migrate"
    async with (
        open_postgres(
            url, connections_max=1, timeout_seconds=_CONNECT_SECONDS, statement_seconds=_LOOK_SECONDS, name=name
        ) as database,
        open_postgres(
            url, connections_max=1, timeout_seconds=_CONNECT_SECONDS, statement_seconds=_STEP_SECONDS, name=name
        ) as patient_database,
    ):
        try:
            found = await database.administer(_look, known)
            if not found.pending and found.has_secrets and grant_to is None:
                return found
            return await patient_database.administer(_upgrade, known, grant_to)
        except PermissionDenied as error:
            raise OperatorError(_permission_text(found, known, error)) from error
        except StatementError as error:
            raise OperatorError(f"PostgreSQL refused to migrate the schema: {reason_of(error)}") from error


async def _upgrade(session: Session, known: Sequence[Migration], grant_to: str | None) -> Schema:
    async with session.transaction():
        await session.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await session.execute(_BOUND_TABLE_LOCKS)
        found = await _look(session, known)  # again: another process may have done it meanwhile
        if not found.is_recorded:
            await session.execute(CREATE_SCHEMA_MIGRATIONS)
        for migration in found.pending:
            await _apply(session, migration)
        await make_secrets(session)
        if grant_to is not None:
            schema, role = await _quoted(session, grant_to)
            await session.execute(GRANTS.format(schema=schema, role=role))
        return await _look(session, known)


async def _apply(session: Session, migration: Migration) -> None:
    log.info("applying migration %s", migration)
    await session.execute(migration.sql)
    await session.execute(
        RECORD_MIGRATION,
        migration.version,
        migration.name,
        migration.requires,
        migration.checksum,
        flash.__version__,
    )


async def _look(session: Session, known: Sequence[Migration]) -> Schema:
    """What the database holds. Raises `OperatorError` if this release could not work with it even after migrating."""
    server = await session.fetchrow(SERVER)
    assert server is not None
    if server["encoding"] != "UTF8":
        raise OperatorError(
            f"the database's encoding is {server['encoding']}: make it UTF8, because users may have any name"
        )
    applied = await session.fetch(APPLIED) if server["is_recorded"] else []
    _check(applied, known)
    versions = {row["version"] for row in applied}
    pending = tuple(migration for migration in known if migration.version not in versions)
    return Schema(
        version=max(versions, default=int(server["has_tables"])),
        pending=pending,
        is_recorded=server["is_recorded"],
        has_secrets=not pending and await has_secrets(session),
    )


def _check(applied: Sequence[Row], known: Sequence[Migration]) -> None:
    """Raises `OperatorError` if a known step is not the one that was applied, or if the schema is too new for us."""
    checksums = {migration.version: migration.checksum for migration in known}
    for row in applied:
        if checksums.get(row["version"], row["checksum"]) != row["checksum"]:
            raise OperatorError(
                f"migration {row['version']:04}_{row['name']} was edited after it had been applied to this database: "
                "put the file back as it was released, and make the change in a new migration"
            )
        if row["requires"] > known[-1].version:
            raise OperatorError(
                f"the schema is at version {applied[-1]['version']}, which only processes that know version "
                f"{row['requires']} can work with; this one knows {known[-1].version}: upgrade this process"
            )


def _permission_text(found: Schema | None, known: Sequence[Migration], error: BaseException) -> str:
    if found is None:
        return (
            f"this role may not read which version the schema has ({reason_of(error)}): "
            "run `flash migrate --grant-to ROLE` with the DATABASE_URL of the tables' owner"
        )
    if not found.pending:
        return (
            f"the database has no secrets yet, and this role may not make them ({reason_of(error)}): "
            "run `flash migrate` with the DATABASE_URL of the tables' owner"
        )
    return (
        f"the schema is at version {found.version}, this release needs version {known[-1].version}, and this role may "
        f"not change it ({reason_of(error)}): run `flash migrate` with the DATABASE_URL of the tables' owner"
    )


async def _quoted(session: Session, role: str) -> Row:
    row = await session.fetchrow("SELECT quote_ident(current_schema()), quote_ident($1)", role)
    assert row is not None
    return row


def _read_migration(file: Traversable) -> Migration:
    content = file.read_bytes()
    sql = content.decode("utf-8")
    name, requires = _FILE_NAME.fullmatch(file.name), _REQUIRES.match(sql)
    if name is None or requires is None:
        raise ValueError(f"{file.name} is not named NNNN_name.sql or does not begin with `-- requires: N`")
    return Migration(int(name[1]), name[2], int(requires[1]), hashlib.sha256(content).hexdigest(), sql)
