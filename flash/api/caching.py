"""Answers to visitors: encoded once, told apart by an ETag, and honest about their age (RFC 9111, RFC 9110)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from hashlib import blake2b

from flash.http.content_coding import GZIP, VARY, quickly_compressed, takes_gzip
from flash.http.message import JSON, Header, Request, Response

_CACHE_CONTROL: Header = (b"cache-control", b"public, max-age=1")
_GZIP_BYTES_MIN = 1_000
"""Less fits into one packet as it is."""
_BYTES_MAX = 16_000_000
_ENTRY_BYTES = 512
"""What a page costs beside its body. Whoever asks for ever other empty pages must not fill the memory with them."""


@dataclass(slots=True)
class Encoded:
    """A body, and what tells it from another one. The tag is weak: a body may also say what time it is.

    `headers` are its own, such as the link to the next page.
    """

    body: bytes
    etag: bytes
    headers: tuple[Header, ...] = ()
    _gzip: bytes = b""

    def gzip(self) -> bytes:
        """The body compressed, once, when the first client takes it so."""
        self._gzip = self._gzip or quickly_compressed(self.body)
        return self._gzip


def encoded(body: bytes, *, of: bytes | None = None, headers: tuple[Header, ...] = ()) -> Encoded:
    """`of`: what the tag is made of, if not of the whole body."""
    digest = blake2b(body if of is None else of, digest_size=9)
    return Encoded(body, b'W/"%b"' % digest.hexdigest().encode(), headers)


def next_page(path: str, **params: object) -> tuple[Header, ...]:
    """The link to the page that follows (RFC 8288). Parameters that are None are left out."""
    query = "&".join([f"{name}={value}" for name, value in params.items() if value is not None])
    return ((b"link", f'<{path}?{query}>; rel="next"'.encode()),)


def visible(request: Request, answer: Encoded, age_seconds: float) -> Response:
    """`answer`, or 304 if the client has it already."""
    headers = (_CACHE_CONTROL, (b"age", b"%d" % age_seconds), (b"etag", answer.etag), *answer.headers)
    if _is_known(request, answer.etag):
        return Response(304, b"", JSON, headers)
    return Response(200, answer.body, JSON, headers)


def visible_list(request: Request, answer: Encoded, age_seconds: float) -> Response:
    """Like `visible`, for what may be large: compressed for a client that takes gzip."""
    response = visible(request, answer, age_seconds)
    headers = (*response.headers, VARY)
    if response.status == 200 and len(answer.body) >= _GZIP_BYTES_MIN and takes_gzip(request):
        return Response(200, answer.gzip(), JSON, (*headers, GZIP))
    return Response(response.status, response.body, JSON, headers)


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
        self._bytes += _size(page)
        while self._bytes > self._bytes_max:
            self._forget(next(iter(self._pages)))
        return page

    def _forget(self, asked: Hashable) -> None:
        found = self._pages.pop(asked, None)
        if found is not None:
            self._bytes -= _size(found[1])


def _size(page: Encoded) -> int:
    """With the compressed body, which is about a fifth, also if nobody has asked for it yet."""
    return len(page.body) * 5 // 4 + _ENTRY_BYTES
