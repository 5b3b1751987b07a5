"""GET /catalog.json and /catalog/{block}: the words of names, and which of them each item bears.

With both a page knows the names of 10,000 items from 40 KB that every cache may keep for ever, and can search them by
kind and colour without asking.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache

from flash.catalog.names import words
from flash.catalog.paints import plain
from flash.catalog.vocabulary import COLOUR_GROUPS, COLOURS, KINDS, MATERIAL_WORDS, Group
from flash.http import parameters
from flash.http.content_coding import GZIP, VARY, compressed, takes_gzip
from flash.http.message import JSON, Header, Request, Response, encode_json, json_response
from flash.http.parameters import InvalidParameter
from flash.http.problems import NOT_FOUND

BLOCK_ITEMS = 1_024
"""As many as are looked up within a millisecond or two: everybody else waits so long."""
_BLOCKS_MAX = 1_024
"""About 5 MB."""
_BLOCK_MAX = parameters.ID_MAX // BLOCK_ITEMS
_FOR_EVER: Header = (b"cache-control", b"public, max-age=31536000, immutable")
_AN_HOUR: Header = (b"cache-control", b"public, max-age=3600")


class CatalogHandlers:
    """`code_seconds` is how long a checkout code is valid: what a visitor is told on the ticket."""

    def __init__(self, code_seconds: float) -> None:
        body = encode_json(_catalog(code_seconds))
        self._plain = Response(200, body, JSON, (_AN_HOUR, VARY))
        self._gzip = Response(200, compressed(body), JSON, (_AN_HOUR, VARY, GZIP))
        self._block = lru_cache(_BLOCKS_MAX)(_block)

    async def catalog(self, request: Request) -> Response:
        return self._gzip if takes_gzip(request) else self._plain

    async def block(self, request: Request, number_text: str) -> Response:
        """The words of the items from `number` times `BLOCK_ITEMS` on."""
        try:
            number = parameters.after(number_text)
        except InvalidParameter:
            return NOT_FOUND
        return self._block(number) if number <= _BLOCK_MAX else NOT_FOUND


def _catalog(code_seconds: float) -> dict[str, object]:
    colours, start = [], 0
    for group in COLOUR_GROUPS:
        # The greys differ in lightness, and one from the middle stands for them all.
        middle = COLOURS[start + len(group.words) // 2]
        colours.append({**_group(group), "swatch": plain(middle)})
        start += len(group.words)
    return {
        "colours": colours,
        "materials": MATERIAL_WORDS,
        "kinds": [_group(group) for group in KINDS],
        "block_items": BLOCK_ITEMS,
        "code_seconds": code_seconds,
    }


def _group(group: Group) -> dict[str, object]:
    return {"name": group.name, "words": group.words}


def _block(number: int) -> Response:
    first = number * BLOCK_ITEMS
    positions = b"".join([bytes(words(item_id)) for item_id in range(first, first + BLOCK_ITEMS)])
    return json_response(200, {"first_item_id": first, "words": b64encode(positions).decode()}, (_FOR_EVER,))
