"""Keeps the streams of living processes alive, and lets those of dead ones vanish, without a PEXPIRE for each entry.

It knows what was prolonged a moment ago, not what Redis holds: a Redis that has lost its data gets the next PEXPIRE
with the first entry after that moment.
"""

from __future__ import annotations

import math

import trio

from flash.stores.redis_link import RedisCommand

_PROLONG_SECONDS = 0.5


class Expiry:
    """Each key used lives for `life_ms` more, less `_PROLONG_SECONDS`."""

    def __init__(self, life_ms: int) -> None:
        self._life_ms = life_ms
        self._prolonged: set[str] = set()
        self._since = -math.inf

    def prolong(self, key: str) -> list[RedisCommand]:
        """What to send after an entry was added to `key`: a PEXPIRE, or nothing if one was sent a moment ago."""
        now = trio.current_time()
        if now - self._since >= _PROLONG_SECONDS:
            self.forget()
            self._since = now
        if key in self._prolonged:
            return []
        self._prolonged.add(key)
        return [("PEXPIRE", key, self._life_ms)]

    def forget(self) -> None:
        """What was sent may be lost: send it again."""
        self._prolonged.clear()
