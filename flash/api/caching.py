"""Answers to visitors: encoded once, told apart by an ETag, and honest about their age (RFC 9111, RFC 9110)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from hashlib import blake2b
from typing import NamedTuple

from flash.http.message import JSON, Header, Request, Response

_CACHE_CONTROL: Header = (b"cache-control", b"public, max-age=1")
_BYTES_MAX = 16_000_000
_ENTRY_BYTES = 512
"""What a page costs beside its body. Whoever asks for ever other empty pages must not fill the memory with them."""


class Encoded(NamedTuple):
    """A body, and what tells it from another one. The tag is weak: a body may also say what time it is."""

    body: bytes
    etag: bytes


def encoded(body: bytes, *, of: bytes | None = None) -> Encoded:
    """`of`: what the tag is made of, if not of the whole body."""
    digest = blake2b(body if of is None else of, digest_size=9)
    return Encoded(body, b'W/"%b"' % digest.hexdigest().encode())


def visible(request: Request, answer: Encoded, age_seconds: float) -> Response:
    """`answer`, or 304 if the client has it already."""
    headers = (_CACHE_CONTROL, (b"age", b"%d" % age_seconds), (b"etag", answer.etag))
    if _is_known(request, answer.etag):
        return Response(304, b"", JSON, headers)
    return Response(200, answer.body, JSON, headers)


def _is_known(request: Request, etag: bytes) -> bool:
    """Whether If-None-Match names `etag`, weak or not: here the two compare alike (RFC 9110, 13.1.2)."""
    named = [tag.strip() for line in request.header_values(b"if-none-match") for tag in line.split(b",")]
    return bool(named) and (named == [b"*"] or etag.removeprefix(b"W/") in [tag.removeprefix(b"W/") for tag in named])


class PageCache:
    """Encoded pages by what was asked and the state that they show, the latest used last; 16 MB at most."""

    def __init__(self, bytes_max: int = _BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._pages: OrderedDict[Hashable, tuple[Hashable, Encoded]] = OrderedDict()

    def get(self, asked: Hashable, state: Hashable) -> Encoded | None:
        """The page, if it shows `state`."""
        found = self._pages.get(asked)
        if found is None or found[0] != state:
            return None
        self._pages.move_to_end(asked)
        return found[1]

    def put(self, asked: Hashable, state: Hashable, page: Encoded) -> Encoded:
        """Keep `page` and return it."""
        self._forget(asked)
        self._pages[asked] = state, page
        self._bytes += len(page.body) + _ENTRY_BYTES
        while self._bytes > self._bytes_max:
            self._forget(next(iter(self._pages)))
        return page

    def _forget(self, asked: Hashable) -> None:
        found = self._pages.pop(asked, None)
        if found is not None:
            self._bytes -= len(found[1].body) + _ENTRY_BYTES
