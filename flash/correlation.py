"""Which request something belongs to, wherever it is told of: its X-Request-ID, and its place in a trace. Pure.

A place in a trace is a `traceparent` of W3C Trace Context. Both travel with a purchase to its leader. They are for
people who look into logs and traces: nothing is decided by them.

They are one text, since one is made for every request: `<X-Request-ID> <traceparent>`, and ` 1` behind them if the
request is among those whose access is logged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NewType

Correlation = NewType("Correlation", bytes)

UNCORRELATED = Correlation(b"")
"""That of what belongs to no request."""

_X_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")
"""What others usually send: UUIDs, ULIDs, names that load balancers make. Nothing that could end a line or a header."""
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACEPARENT_BYTES = 55
_LOGGED = b" 1"


def correlation(x_request_id: bytes, traceparent: bytes) -> Correlation:
    return Correlation(b"%b %b" % (x_request_id, traceparent))


def made(prefix: bytes, number: int) -> Correlation:
    """One that nobody sent: a trace of its own, not sampled, whose id of 16 and 16 digits is the X-Request-ID too."""
    digits = b"%016x" % number  # once: that is a third of it all
    return Correlation(b"%b%b 00-%b%b-%b-00" % (prefix, digits, prefix, digits, digits))


def read_x_request_id(value: bytes) -> bytes | None:
    """None for what is too long, or has characters that need not be safe everywhere."""
    return value if _X_REQUEST_ID.fullmatch(value) else None


def read_traceparent(value: bytes) -> bytes | None:
    """What is understood of it: a later version may have more fields. None for what breaks the standard."""
    known, rest = value[:_TRACEPARENT_BYTES], value[_TRACEPARENT_BYTES:]
    if not _TRACEPARENT.fullmatch(known) or (rest and (known.startswith(b"00") or not rest.startswith(b"-"))):
        return None
    return known


def with_traceparent(found: Correlation, traceparent: bytes) -> Correlation:
    """`found` at another place of its trace."""
    name, _, rest = found.partition(b" ")
    return Correlation(b"%b %b%b" % (name, traceparent, rest[_TRACEPARENT_BYTES:]))


def x_request_id_of(found: Correlation) -> bytes:
    return found.partition(b" ")[0]


def traceparent_of(found: Correlation) -> bytes:
    return found.partition(b" ")[2][:_TRACEPARENT_BYTES]


def headers_of(found: Correlation) -> tuple[tuple[bytes, bytes], ...]:
    """How an answer tells its client."""
    return ((b"x-request-id", x_request_id_of(found)), (b"traceparent", traceparent_of(found))) if found else ()


def lines_of(found: Correlation) -> bytes:
    """`headers_of` as HTTP/1.1 writes them."""
    if not found:
        return b""
    return b"x-request-id: %b\r\n" % found.removesuffix(_LOGGED).replace(b" ", b"\r\ntraceparent: ")


def fields_of(found: Correlation) -> Mapping[str, str]:
    """What a line of a log says of it."""
    if not found:
        return {}
    name, trace = x_request_id_of(found), traceparent_of(found)[3:35]
    return {"x_request_id": name.decode("ascii", "replace"), "trace_id": trace.decode("ascii", "replace")}


def logged(found: Correlation) -> Correlation:
    """`found`, marked: its access is logged, so its leader says what it decided."""
    return Correlation(found + _LOGGED)


def is_logged(found: Correlation) -> bool:
    return found.endswith(_LOGGED)


def join(correlations: Sequence[Correlation]) -> bytes:
    """All of a batch; nothing if none of it belongs to a request."""
    return b"\n".join(correlations) if any(correlations) else b""


def split(text: bytes, count: int) -> Sequence[Correlation]:
    """The inverse of `join` for a batch of `count`. A text of another length is none that this release can read."""
    found = [Correlation(line) for line in text.split(b"\n")] if text else []
    return found if len(found) == count else [UNCORRELATED] * count
