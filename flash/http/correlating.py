"""The X-Request-ID and the `traceparent` of a request: as its client sent them, or made.

A random number for each request would cost a system call, so a process draws one and counts.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Mapping

from flash.correlation import (
    Correlation,
    correlation,
    made,
    read_traceparent,
    read_x_request_id,
    traceparent_of,
    x_request_id_of,
)
from flash.http.message import Request


def traceparent_given(request: Request) -> list[bytes]:
    """The `traceparent` that the client sent, if it is well formed."""
    given = read_traceparent(request.header(b"traceparent") or b"")
    return [] if given is None else [given]


class Correlations:
    """64 random bits that this process alone has, and a counter. A forked child draws its own."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def of(self, fields: Mapping[bytes, bytes]) -> Correlation:
        """That of a request with these headers; what its client did not send, or not well, is made."""
        if b"x-request-id" in fields or b"traceparent" in fields:
            ours = self.make()
            return correlation(
                read_x_request_id(fields.get(b"x-request-id", b"")) or x_request_id_of(ours),
                read_traceparent(fields.get(b"traceparent", b"")) or traceparent_of(ours),
            )
        return made(self._prefix, next(self._numbers))

    def make(self) -> Correlation:
        return made(self._prefix, next(self._numbers))

    def _renew(self) -> None:
        self._prefix = secrets.token_hex(8).encode()
        self._numbers = itertools.count(1)


_correlations = Correlations()
correlate = _correlations.of
make_correlation = _correlations.make
