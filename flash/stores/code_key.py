"""The key of the checkout codes' tags. The first migration run makes it; then the whole cluster shares it."""

from __future__ import annotations

import secrets

from flash.codes import KEY_BYTES
from flash.errors import Unavailable
from flash.stores.postgres import Postgres, Session

FIND_CODE_KEY = "SELECT value FROM secrets WHERE name = 'code_key'"
MAKE_CODE_KEY = "INSERT INTO secrets (name, value) VALUES ('code_key', $1) ON CONFLICT DO NOTHING"


async def make_code_key(session: Session) -> None:
    """Make the key unless there is one already."""
    await session.execute(MAKE_CODE_KEY, secrets.token_bytes(KEY_BYTES))


async def read_code_key(database: Postgres) -> bytes:
    """The key. Raises `Unavailable` as long as nobody has made it."""
    row = await database.fetch_one(FIND_CODE_KEY)
    if row is None:
        raise Unavailable("the database has no code key yet: run `flash migrate`")
    key: bytes = row["value"]
    return key
