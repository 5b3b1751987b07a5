"""Targets that hold bytes beyond ASCII, which clients send although RFC 3986 wants them percent-encoded.

Each such byte is read as if it were percent-encoded, so whoever decodes the target later need not know of it.
"""

from __future__ import annotations

import re

_RUN = re.compile(rb"[\x00-\x7f]+|[\x80-\xff]+")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_ESCAPES = {bytes([octet]): b"%%%02X" % octet for octet in range(0x80, 0x100)}


def runs(data: bytes) -> list[bytes]:
    """`data` in pieces that are either ASCII or beyond it, in turn."""
    return _RUN.findall(data)


def escaped(target: bytes) -> bytes:
    """`target` with every byte beyond ASCII percent-encoded."""
    return _BEYOND_ASCII.sub(lambda match: _ESCAPES[match.group()], target)
