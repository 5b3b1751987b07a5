"""The deployment's secrets. The first migration run makes them; then the whole cluster shares them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from flash.codes import KEY_BYTES
from flash.deployment import ID_BYTES, MESSAGE_KEY_BYTES, Deployment
from flash.errors import Unavailable
from flash.stores.postgres import Postgres, Session

_SECRETS = {
    "code_key": KEY_BYTES,
    "user_key": KEY_BYTES,
    "deployment_id": ID_BYTES,
    "message_key": MESSAGE_KEY_BYTES,
}
"""Names and sizes in bytes of what stands in the table `secrets`."""

FIND_SECRETS = "SELECT name, value FROM secrets"
MAKE_SECRET = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING"


@dataclass(frozen=True, slots=True)
class Secrets:
    """`code_key` makes the tags of codes, and `user_key` the digests of users in them."""

    deployment: Deployment
    code_key: bytes = field(repr=False)
    user_key: bytes = field(repr=False)


async def make_secrets(session: Session) -> None:
    """Make those that are not there yet."""
    for name, size in _SECRETS.items():
        await session.execute(MAKE_SECRET, name, secrets.token_bytes(size))


async def has_secrets(session: Session) -> bool:
    """Whether all of them are there."""
    return {row["name"] for row in await session.fetch(FIND_SECRETS)} >= _SECRETS.keys()


async def read_secrets(database: Postgres) -> Secrets:
    """Raises `Unavailable` as long as nobody has made them."""
    found: dict[str, bytes] = {row["name"]: row["value"] for row in await database.fetch(FIND_SECRETS)}
    if missing := _SECRETS.keys() - found.keys():
        raise Unavailable(f"the database has no {', '.join(sorted(missing))} yet: run `flash migrate`")
    deployment = Deployment(found["deployment_id"].hex(), found["message_key"])
    return Secrets(deployment, found["code_key"], found["user_key"])
