"""What a fault is: a name, what it breaks, and the function that breaks and heals it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from drill.site import Site

Inject: TypeAlias = Callable[[Site, Random, int], Awaitable[str]]
"""Breaks something of the site while the given sale is being bought, heals it, and says what it did in a few words."""
NOBODY_LED = "nobody led the sale"


@dataclass(frozen=True, slots=True)
class Kind:
    """`target` is what it breaks: two faults of one target never happen at once.

    `network`: the only one that can do it, as `--network` calls it; empty if every one can.
    """

    name: str
    target: str
    meaning: str
    inject: Inject
    network: str = ""
