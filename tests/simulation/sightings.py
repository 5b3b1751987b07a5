"""What happened in Redis, counted: that an entry was finished by a successor, or that a lease changed hands.

It only looks on. Whoever believes that a run has met something can read here whether it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from flash.stores.redis_link import RedisCommand
from flash.testing.twins.redis import as_bytes

_INBOX = b":inbox"


class Sightings:
    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._readers: dict[tuple[bytes, bytes], list[str]] = {}
        """By inbox and entry: who has read it, in that order."""
        self._leases: dict[str, tuple[str, bool]] = {}
        """By key: who had it last, and whether it was given back."""

    def performed(self, host: str, command: RedisCommand, answer: Any) -> None:
        if command[0] == "XREAD":
            self._read(host, answer or ())
        elif command[0] == "XDEL" and (key := as_bytes(command[1])).endswith(_INBOX):
            for entry_id in command[2:]:
                self._deleted(host, key, as_bytes(entry_id))

    def _read(self, host: str, streams: Sequence[Any]) -> None:
        for key, entries in streams:
            for entry_id, _ in entries if key.endswith(_INBOX) else ():
                readers = self._readers.setdefault((key, entry_id), [])
                if host not in readers:
                    readers.append(host)
                    self.counts["entry read by another leader as well"] += len(readers) == 2

    def _deleted(self, host: str, key: bytes, entry_id: bytes) -> None:
        readers = self._readers.pop((key, entry_id), [])
        if host in readers:
            self.counts["entry finished by a successor"] += host != readers[0]
        elif not readers:
            self.counts["entry withdrawn that no leader had read"] += 1

    def acquired(self, host: str, keys: Sequence[str]) -> None:
        for key in keys:
            owner, is_released = self._leases.get(key, (host, False))
            if owner != host:
                self.counts["lease handed over" if is_released else "lease taken that was not given back"] += 1
            self._leases[key] = host, False

    def released(self, host: str, keys: Sequence[str]) -> None:
        for key in keys:
            if self._leases.get(key, ("", False))[0] == host:
                self._leases[key] = host, True
