"""Numbers that look random but follow from an id alone, the same on every machine and in every version."""

from __future__ import annotations

_MASK = 2**64 - 1


def mix(number: int) -> int:
    """64 bits that look unrelated to those of `number` (the finalizer of splitmix64)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _MASK
    return number ^ number >> 31


class Dice:
    """A sequence of throws that the id alone decides."""

    def __init__(self, item_id: int) -> None:
        self._state = mix(item_id)

    def roll(self, sides: int) -> int:
        """0 … `sides - 1`."""
        self._state = mix(self._state)
        return self._state % sides

    def between(self, low: int, high: int) -> int:
        """`low` … `high`, both included."""
        return low + self.roll(high - low + 1)
