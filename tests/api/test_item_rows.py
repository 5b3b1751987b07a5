"""Rows of items, put together from what is kept, are what JSON would have made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash.api.item_rows import ItemRows
from flash.api.items import item_json
from flash.catalog.vocabulary import COLOUR_WORDS, MATERIAL_WORDS, OBJECT_WORDS
from flash.domain import ItemId
from flash.http.message import encode_json

ids = st.integers(1, 2**63 - 1) | st.integers(1, 1_000)


def expected(item_id: int, is_available: bool) -> bytes:
    return encode_json({**item_json(ItemId(item_id)), "available": is_available})[:-1]


@given(st.lists(st.tuples(ids, st.booleans())), st.booleans())
async def test_rows_are_what_json_would_make_of_them(items: list[tuple[int, bool]], is_repeated: bool) -> None:
    rows = ItemRows()
    asked = [(ItemId(item_id), is_available) for item_id, is_available in items]
    for _ in range(1 + is_repeated):
        assert await rows.rows(asked) == [expected(*item) for item in items]
    for item_id, is_available in asked:
        assert rows.row(item_id, is_available=is_available) == expected(item_id, is_available)


@pytest.mark.parametrize("words", [COLOUR_WORDS, MATERIAL_WORDS, OBJECT_WORDS])
def test_no_word_of_a_name_has_to_be_escaped(words: tuple[str, ...]) -> None:
    assert all(encode_json(word) == f'"{word}"'.encode() for word in words)


async def test_no_more_than_so_many_rows_are_kept() -> None:
    rows = ItemRows()
    await rows.rows([(ItemId(n), True) for n in range(1, 128 * 300, 64)])
    assert sum(map(len, rows._chunks.values())) == 256 * 128
