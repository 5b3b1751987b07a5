"""The deployment's secrets, and the keys of the codes' tags, which can be rotated.

The first migration run makes them; then the whole cluster shares them. A new tag key signs only some time after it was
made, when every process has read it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from flash.codes import KEY_BYTES, KEY_ID_MAX, CodeKeys
from flash.deployment import ID_BYTES, MESSAGE_KEY_BYTES, Deployment
from flash.errors import OperatorError, Unavailable, reason_of
from flash.stores.postgres import Postgres, Row, Session, open_postgres
from flash.stores.postgres_errors import StatementError

T = TypeVar("T")

_SECRETS = {"user_key": KEY_BYTES, "deployment_id": ID_BYTES, "message_key": MESSAGE_KEY_BYTES}
"""Names and sizes in bytes of what stands in the table `secrets`. `code_key` of release 0.1 may stand there as well."""

READ_KEYS_SECONDS = 5.0
"""How often each process reads the tag keys."""
SIGNS_AFTER_SECONDS = 3 * READ_KEYS_SECONDS
"""How old a key is before it signs."""

FIND_SECRETS = "SELECT name, value FROM secrets"
MAKE_SECRET = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING"

FIND_CODE_KEYS = """
SELECT id, value, made_at, signs_from, signs_from <= now() AS may_sign FROM code_keys ORDER BY signs_from, id
"""
FIND_LEGACY_KEY = "SELECT value FROM secrets WHERE name = 'code_key'"
MAKE_FIRST_CODE_KEY = """
INSERT INTO code_keys (id, value, signs_from) SELECT 1, $1, now() WHERE NOT EXISTS (SELECT FROM code_keys)
ON CONFLICT DO NOTHING
"""
ADD_CODE_KEY = "INSERT INTO code_keys (id, value, signs_from) VALUES ($1, $2, now() + $3 * interval '1 s')"
DELETE_CODE_KEY = "DELETE FROM code_keys WHERE id = $1"
_LOCK_CODE_KEYS = "LOCK TABLE code_keys IN SHARE ROW EXCLUSIVE MODE"


@dataclass(frozen=True, slots=True)
class Secrets:
    """`user_key` makes the digests of users in codes; it is never changed."""

    deployment: Deployment
    user_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CodeKeyInfo:
    """What an operator may see of a tag key. `is_signing`: new codes get this one. `is_next`: they will."""

    id: int
    made_at: datetime
    signs_from: datetime
    is_signing: bool
    is_next: bool


async def make_secrets(session: Session) -> None:
    """Make those that are not there yet."""
    for name, size in _SECRETS.items():
        await session.execute(MAKE_SECRET, name, secrets.token_bytes(size))
    await session.execute(MAKE_FIRST_CODE_KEY, secrets.token_bytes(KEY_BYTES))


async def has_secrets(session: Session) -> bool:
    """Whether all of them are there."""
    found = {row["name"] for row in await session.fetch(FIND_SECRETS)}
    return found >= _SECRETS.keys() and bool(await session.fetch(FIND_CODE_KEYS))


async def read_secrets(database: Postgres) -> Secrets:
    """Raises `Unavailable` as long as nobody has made them, and `OperatorError` if they are not what was made."""
    found: dict[str, bytes] = {row["name"]: row["value"] for row in await database.fetch(FIND_SECRETS)}
    if missing := _SECRETS.keys() - found.keys():
        raise Unavailable(f"the database has no {', '.join(sorted(missing))} yet: run `flash migrate`")
    if wrong := [name for name, size in _SECRETS.items() if len(found[name]) != size]:
        # An empty key would seal as well, and everybody could.
        raise OperatorError(
            f"the database's {', '.join(sorted(wrong))} has another length than what `flash migrate` makes: "
            "restore the table secrets from a backup"
        )
    deployment = Deployment(found["deployment_id"].hex(), found["message_key"])
    return Secrets(deployment, found["user_key"])


async def read_code_keys(database: Postgres) -> CodeKeys:
    """The keys of the tags. Raises `Unavailable`, also as long as nobody has made one."""
    rows = await database.fetch(FIND_CODE_KEYS)
    legacy = await database.fetch_one(FIND_LEGACY_KEY)
    if not rows:
        raise Unavailable("the database has no key for codes yet: run `flash migrate`")
    keys = {row["id"]: row["value"] for row in rows}
    return CodeKeys(keys, rows[_signing(rows)]["id"], None if legacy is None else legacy["value"])


def _signing(rows: Sequence[Row]) -> int:
    """The place of the key that signs. If the database's clock was set back, the oldest one does meanwhile."""
    return max((n for n, row in enumerate(rows) if row["may_sign"]), default=0)


async def with_session(url: str, function: Callable[[Session], Awaitable[T]]) -> T:
    """Call `function` with a session of the database at `url`, for an operator.

    Raises `OperatorError` if the database refuses or has no keys, and `Unavailable`.
    """
    async with open_postgres(url, connections_max=1, timeout_seconds=10, name="flash keys") as database:
        try:
            return await database.administer(function)
        except StatementError as error:
            raise OperatorError(
                f"PostgreSQL refused ({reason_of(error)}): run `flash migrate` first, and use the tables' owner"
            ) from error


async def list_code_keys(session: Session) -> list[CodeKeyInfo]:
    """All tag keys, the oldest first."""
    rows = await session.fetch(FIND_CODE_KEYS)
    signing = _signing(rows) if rows else -1
    return [
        CodeKeyInfo(row["id"], row["made_at"], row["signs_from"], n == signing, n > signing)
        for n, row in enumerate(rows)
    ]


async def rotate_code_key(session: Session) -> int:
    """Add a tag key and return its id. New codes get it from a few seconds later; older codes stay valid.

    Raises `OperatorError` if there are `KEY_ID_MAX` keys already.
    """
    async with session.transaction():
        await session.execute(_LOCK_CODE_KEYS)
        taken = {row["id"] for row in await session.fetch(FIND_CODE_KEYS)}
        # After the last one, and from the beginning only when those are used up: a process that the database has not
        # reached for a while would take a code with the id of a retired key, whose value it still has, for a forgery.
        ids = [*range(max(taken, default=0) + 1, KEY_ID_MAX + 1), *range(1, KEY_ID_MAX + 1)]
        free: int | None = next((id for id in ids if id not in taken), None)
        if free is None:
            raise OperatorError(f"there are {KEY_ID_MAX} keys already: retire some with `flash keys retire ID`")
        await session.execute(ADD_CODE_KEY, free, secrets.token_bytes(KEY_BYTES), SIGNS_AFTER_SECONDS)
    return free


async def retire_code_key(session: Session, id: int) -> None:
    """Delete a tag key: its codes are invalid from now on. Raises `OperatorError` if it is unknown or is signing."""
    async with session.transaction():
        await session.execute(_LOCK_CODE_KEYS)
        known = {key.id: key for key in await list_code_keys(session)}
        if id not in known:
            raise OperatorError(f"there is no key {id}: `flash keys` lists them")
        if known[id].is_next:
            raise OperatorError(f"key {id} will sign new codes from {known[id].signs_from:%T %Z}: wait until then")
        if known[id].is_signing:
            raise OperatorError(f"key {id} signs new codes: run `flash keys rotate`, and wait until another one does")
        await session.execute(DELETE_CODE_KEY, id)
