"""What one deployment calls its keys in Redis, and how its processes know each other's messages. Pure.

Redis is not believed. Several deployments may share one server, and whoever can write to it must not be able to make a
buyer hear something that no leader decided. The id and the key come from PostgreSQL, so every process of a deployment
has them and nobody else does.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import blake2b

ID_BYTES = 8
MESSAGE_KEY_BYTES = 32
SEAL_BYTES = 16


@dataclass(frozen=True, slots=True)
class Deployment:
    """`id` prefixes every key in Redis; `message_key` has `MESSAGE_KEY_BYTES` bytes and seals what is written there."""

    id: str
    message_key: bytes = field(repr=False)

    def key(self, name: str) -> str:
        """The name in Redis of what this deployment calls `name`."""
        return f"flash:{self.id}:{name}"

    def seal(self, *parts: bytes) -> bytes:
        """A keyed tag over `parts`, of `SEAL_BYTES` bytes. Where one part ends and the next begins counts too."""
        mac = blake2b(key=self.message_key, digest_size=SEAL_BYTES)
        for part in parts:
            mac.update(len(part).to_bytes(8, "big"))
            mac.update(part)
        return mac.digest()

    def is_sealed(self, seal: bytes, *parts: bytes) -> bool:
        """Whether a process of this deployment made `seal` for these `parts`."""
        return hmac.compare_digest(seal, self.seal(*parts))
