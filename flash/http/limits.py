"""The bounds of the HTTP server: constants, and those that an operator may set in the configuration."""

from __future__ import annotations

from typing import Protocol

URL_MAX_BYTES = 8_192
HEAD_MAX_BYTES = 16_384
HEADERS_MAX = 100
BODY_MAX_BYTES = 8_192
"""As much as a URL: the parameters that a body carries would also fit into a query."""

DRAIN_GRACE_SECONDS = 0.1
"""How long a quiet connection is kept after the stop, because its next request may already be on its way."""
LINGER_SECONDS = 0.5
"""How long unread input is discarded after a rejection. Closing at once would destroy the answer (RFC 9112, 9.6)."""


class Limits(Protocol):
    """The bounds that an operator may set, named like the fields of `flash.config.Config`, which satisfies this."""

    @property
    def connections_max(self) -> int: ...
    @property
    def idle_seconds(self) -> float: ...
    @property
    def head_seconds(self) -> float: ...
    @property
    def body_seconds(self) -> float: ...
    @property
    def send_seconds(self) -> float: ...
    @property
    def drain_seconds(self) -> float: ...
