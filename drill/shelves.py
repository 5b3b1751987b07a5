"""Which items buyers want next: every item of every open sale, some of them twice, the oldest sale first.

No clock and no connection: it is told of sales, and hands out item ids.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random

_WANTED_TWICE = 0.1
_WANTED_IN_VAIN = 20
"""So many items are asked for once more when a sale should be sold out, so that somebody hears it."""


@dataclass(slots=True)
class Shelves:
    """`sale_id` is the sale that is being bought."""

    random: Random
    sale_id: int = 0
    _wanted: dict[int, deque[int]] = field(default_factory=dict)

    def offer(self, sale_id: int, first_item_id: int, stock: int) -> None:
        """Want what this sale has, unless it is known."""
        if sale_id in self._wanted:
            return
        items = range(first_item_id, first_item_id + stock)
        wanted = [*items, *self.random.sample(items, int(stock * _WANTED_TWICE))]
        self.random.shuffle(wanted)
        wanted += self.random.choices(items, k=_WANTED_IN_VAIN)
        self._wanted[sale_id] = deque(wanted)
        self._wanted = dict(sorted(self._wanted.items()))

    def take(self) -> tuple[int, int] | None:
        """A sale and an item of it; None if nothing is left that anybody wants."""
        for sale_id, wanted in self._wanted.items():
            if wanted:
                self.sale_id = sale_id
                return sale_id, wanted.popleft()
        return None

    def put_back(self, sale_id: int, item: int) -> None:
        """Somebody else must want this: whoever took it has not bought it, or does not know."""
        self._wanted[sale_id].append(item)
