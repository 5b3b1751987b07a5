"""From when to when something was so."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

import trio

Key = TypeVar("Key", bound=Hashable)


class Spells(Generic[Key]):
    """For each key, the times between which it was so. Virtual seconds."""

    def __init__(self) -> None:
        self._spells: defaultdict[Key, list[tuple[float, float]]] = defaultdict(list)

    def begin(self, key: Key) -> None:
        if not self.is_so(key):
            self._spells[key].append((trio.current_time(), math.inf))

    def end(self, key: Key) -> None:
        if self.is_so(key):
            begun_at, _ = self._spells[key].pop()
            self._spells[key].append((begun_at, trio.current_time()))

    def become(self, keys: Collection[Key]) -> None:
        """It is so for these, and for no other."""
        for key in [key for key in self._spells if key not in keys]:
            self.end(key)
        for key in keys:
            self.begin(key)

    def is_so(self, key: Key) -> bool:
        spells = self._spells.get(key, [])
        return spells[-1:] != [] and spells[-1][1] == math.inf

    def was_once(self, key: Key, begins: float, ends: float) -> bool:
        """At some moment between `begins` and `ends`."""
        return any(begun_at <= ends and begins <= ended_at for begun_at, ended_at in self._spells.get(key, ()))

    def was_throughout(self, key: Key, begins: float, ends: float) -> bool:
        """At every moment between `begins` and `ends`."""
        return any(begun_at <= begins and ends < ended_at for begun_at, ended_at in self._spells.get(key, ()))
