"""The deployments of tests: two that exist nowhere else, and the one that a database has."""

from __future__ import annotations

from flash.deployment import MESSAGE_KEY_BYTES, Deployment
from tests.cluster.history import rows

DEPLOYMENT = Deployment("0011223344556677", bytes(MESSAGE_KEY_BYTES))
OTHER_DEPLOYMENT = Deployment("8899aabbccddeeff", b"\1" * MESSAGE_KEY_BYTES)


async def deployment_of(database_url: str) -> Deployment:
    """Of a cluster that has started on this database."""
    found = dict(await rows(database_url, "SELECT name, value FROM secrets"))
    return Deployment(found["deployment_id"].hex(), found["message_key"])
