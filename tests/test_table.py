"""What the commands print as a table."""

from __future__ import annotations

import pytest

from flash.audit import table


def test_texts_are_aligned_to_the_left_and_no_line_ends_in_blanks() -> None:
    assert table.lines([("PORT", "8080", "port"), ("FLASH_HOST", "::1", "")]) == [
        "PORT        8080  port",
        "FLASH_HOST  ::1",
    ]


def test_numbers_are_aligned_to_the_right() -> None:
    assert table.lines([("sale", "sold"), ("1", "10,000")], numbers=True) == ["sale    sold", "   1  10,000"]


def test_no_rows_are_no_lines() -> None:
    assert table.lines([]) == []


def test_rows_of_different_lengths_are_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        table.lines([("one",), ("one", "two")])
