"""Files for browsers, from memory: read, compressed and tagged once, when the process starts.

Every file is an exact route of its own. So nothing in a request ever becomes a path on the disk, and the router's way
for everything else is as short as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources.abc import Traversable

from flash.http.content_coding import GZIP, VARY, compressed, takes_gzip
from flash.http.message import Header, Request, Response
from flash.http.router import Handler, Routes

CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SECURITY: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)

_SUBRESOURCES = (".css", ".js")
"""Their page's policy governs them. A page of many files would weigh a tenth more if each named its own."""

_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "svg": b"image/svg+xml",
    "png": b"image/png",
    "woff2": b"font/woff2",
    "ts": b"text/plain; charset=utf-8",
    "md": b"text/plain; charset=utf-8",
    "txt": b"text/plain; charset=utf-8",
}
_HASHED = re.compile(r"[.-][0-9a-f]{8,}\.")
"""A name such as `viewer.3f9c01d2.js`: other content gets another name, so nobody need ask again."""
_GZIP_GAIN_MIN = 0.9
"""Above this share of the plain size, compressing gains less than undoing it costs: pictures and fonts."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, ready to be sent: as it is and compressed, with a tag for each."""

    plain: Response
    gzip: Response
    plain_unchanged: Response
    gzip_unchanged: Response

    async def answer(self, request: Request) -> Response:
        is_gzip = takes_gzip(request)
        known = b",".join(request.header_values(b"if-none-match"))
        # A quoted tag cannot be part of another one, so it need not be parsed out of the list.
        if known and (known.strip() == b"*" or _tag(self.gzip if is_gzip else self.plain) in known):
            return self.gzip_unchanged if is_gzip else self.plain_unchanged
        return self.gzip if is_gzip else self.plain


class StaticFiles:
    """All files under `root`, by their path below it. Python modules are left out.

    Raises `KeyError` for a file whose type is not listed above: a browser would not know what to do with it.
    """

    def __init__(self, root: Traversable) -> None:
        self._files = {name: static_file(name, file.read_bytes()) for name, file in _walk(root, "")}

    def handler(self, name: str) -> Handler:
        """Answers with one file, such as a page that has an address of its own. Raises `KeyError`."""
        return self._files[name].answer

    def routes(self, prefix: str) -> Routes:
        """A route for each file, its path behind `prefix`."""
        return {("GET", f"{prefix}/{name}"): file.answer for name, file in self._files.items()}


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _walk(entry, f"{prefix}{entry.name}/")
        elif not entry.name.endswith(".py"):
            yield f"{prefix}{entry.name}", entry


def static_file(
    name: str, body: bytes, *, policy: bytes = CONTENT_SECURITY_POLICY, more: tuple[Header, ...] = ()
) -> StaticFile:
    """A file of that name, which says what type it has. `policy` is its Content-Security-Policy; `more` are headers."""
    content_type = _TYPES[name.rpartition(".")[2]]
    tag = blake2b(body, digest_size=9).hexdigest()
    lifetime = b"public, max-age=31536000, immutable" if _HASHED.search(name) else b"no-cache"
    policies = () if name.endswith(_SUBRESOURCES) else ((b"content-security-policy", policy),)
    shared = ((b"cache-control", lifetime), VARY, *policies, *_SECURITY, *more)
    plain = Response(200, body, content_type, ((b"etag", b'"%b"' % tag.encode()), *shared))
    small = compressed(body)
    if len(small) > len(body) * _GZIP_GAIN_MIN:
        return StaticFile(plain, plain, _unchanged(plain), _unchanged(plain))
    # A strong tag names the bytes that are sent, and these are others (RFC 9110, 8.8.1).
    zipped = Response(200, small, content_type, ((b"etag", b'"%b-gzip"' % tag.encode()), *shared, GZIP))
    return StaticFile(plain, zipped, _unchanged(plain), _unchanged(zipped))


def _unchanged(response: Response) -> Response:
    return Response(304, b"", response.content_type, tuple(h for h in response.headers if h != GZIP))


def _tag(response: Response) -> bytes:
    name, value = response.headers[0]
    assert name == b"etag"
    return value
