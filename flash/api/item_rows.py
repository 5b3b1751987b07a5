"""Items as JSON. Most of an item's never changes, so it is made once, with its neighbours', and kept: 5 MB at most."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from trio.lowlevel import checkpoint

from flash import catalog
from flash.domain import ItemId

_CHUNK_BITS = 7
_CHUNK_ITEMS = 1 << _CHUNK_BITS
"""Items that are named before others have their turn: a quarter of a millisecond."""
_CHUNKS_MAX = 256
_AVAILABLE, _SOLD = b"true", b"false"


class ItemRows:
    def __init__(self) -> None:
        self._chunks: OrderedDict[int, list[bytes]] = OrderedDict()

    def row(self, item_id: ItemId, *, is_available: bool) -> bytes:
        """The item's JSON, without its last brace."""
        chunk = self._chunks.get(item_id >> _CHUNK_BITS)
        start = _start(item_id) if chunk is None else chunk[item_id & _CHUNK_ITEMS - 1]
        return start + (_AVAILABLE if is_available else _SOLD)

    async def rows(self, items: Sequence[tuple[ItemId, bool]]) -> list[bytes]:
        """The same of many. New neighbours are made one chunk at a time, with a turn for everybody between."""
        rows: list[bytes] = []
        number, chunk = -1, list[bytes]()
        for item_id, is_available in items:
            if item_id >> _CHUNK_BITS != number:
                number = item_id >> _CHUNK_BITS
                chunk = self._chunks.get(number) or await self._make(number)
            rows.append(chunk[item_id & _CHUNK_ITEMS - 1] + (_AVAILABLE if is_available else _SOLD))
        return rows

    async def _make(self, number: int) -> list[bytes]:
        first = number << _CHUNK_BITS
        chunk = self._chunks[number] = [_start(ItemId(n)) for n in range(first, first + _CHUNK_ITEMS)]
        if len(self._chunks) > _CHUNKS_MAX:
            self._chunks.popitem(last=False)
        await checkpoint()
        return chunk


def _start(item_id: ItemId) -> bytes:
    # neither holds what JSON would escape
    name, image = catalog.name(item_id), catalog.image_path(item_id)
    return f'{{"id":{item_id},"name":"{name}","image":"{image}","available":'.encode()
