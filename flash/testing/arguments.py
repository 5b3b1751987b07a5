"""How the commands beside the service read numbers from their command lines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def number(kind: type[Number], low: float, high: float) -> Callable[[str], Number]:
    """A `type` for argparse: one from `low` to `high`."""

    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = kind(-1)
        if low <= value <= high:
            return value
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between {low:,g} and {high:,g}")

    return parse
