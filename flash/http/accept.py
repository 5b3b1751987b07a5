"""Which of two forms of an answer a client prefers (RFC 9110, 12.5.1)."""

from __future__ import annotations

from flash.http.message import Request

_HTML, _JSON = (b"text", b"html"), (b"application", b"json")
_Ranges = dict[tuple[bytes, bytes], float]


def prefers_html(request: Request) -> bool:
    """Whether Accept puts HTML above JSON, as browsers do. Whoever does not say so gets JSON."""
    ranges: _Ranges = {}
    for line in request.header_values(b"accept"):
        for part in line.lower().split(b","):
            media_type, *options = [piece.strip() for piece in part.split(b";")]
            name, _, subtype = media_type.partition(b"/")
            ranges[name.strip(), subtype.strip()] = _weight(options)
    return _weight_of(_HTML, ranges) > _weight_of(_JSON, ranges)


def _weight_of(media_type: tuple[bytes, bytes], ranges: _Ranges) -> float:
    """That of the most specific range which covers the type."""
    for covering in (media_type, (media_type[0], b"*"), (b"*", b"*")):
        if covering in ranges:
            return ranges[covering]
    return 0.0


def _weight(options: list[bytes]) -> float:
    """The number in `q=…`, 1 without one, and 0 for what is none."""
    for option in options:
        name, _, number = option.partition(b"=")
        if name.strip() == b"q":
            try:
                return float(number)
            except ValueError:
                return 0.0
    return 1.0
