"""Rows of text as aligned lines, for every command that prints a table. It knows nothing of what is in them."""

from __future__ import annotations

from collections.abc import Sequence


def lines(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """One line for each row, columns two blanks apart, aligned to the right if they are `numbers`.

    All rows have the same number of columns.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = str.rjust if numbers else str.ljust
    return ["  ".join(map(align, row, widths)).rstrip() for row in rows]
