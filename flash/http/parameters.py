"""Query parameters, path segments and the Idempotency-Key: read strictly and checked once, at the edge.

`urllib.parse` guesses: it repairs bad escapes and bad UTF-8, drops empty values and keeps duplicates. Here any doubt
is an `InvalidParameter` whose text names the parameter and the rule. No I/O, no clock.
"""

from __future__ import annotations

import re

USER_ID_MAX = 64
ID_MAX = 2**63 - 1
LIMIT_MAX = 1_000
IDEMPOTENCY_KEY_MAX = 128

# Cc is the one Unicode category that never changes, so every version of Python refuses the same ids. Everything else is
# accepted, also format characters (joiners in names and emoji), U+2028/2029 and code points not assigned yet: an id is
# opaque. It is compared, never shown unescaped, and not normalised.
_UNFIT_FOR_USER_ID = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CANONICAL_NUMBER = re.compile("0|[1-9][0-9]{0,18}")
_IDEMPOTENCY_KEY = re.compile(rb"[\x21-\x7e]{1,%d}" % IDEMPOTENCY_KEY_MAX)

_HEX = "0123456789abcdefABCDEF"
_OCTETS = {high + low: bytes([int(high + low, 16)]) for high in _HEX for low in _HEX}


class InvalidParameter(Exception):
    """A parameter breaks the HTTP contract. `detail` names the parameter and the rule, and never echoes the value."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def read_params(query: bytes, names: tuple[str, ...]) -> tuple[str, ...]:
    """The values of `names`, each of which must be given exactly once and not be empty. Other names are ignored.

    Raises `InvalidParameter`. About 1 µs for two plain values.
    """
    found = _find(query, names)
    for name in names:
        if not found.get(name):
            raise InvalidParameter(f"{name} is {'empty' if name in found else 'missing'}")
    return tuple([found[name] for name in names])


def read_optional(query: bytes, names: tuple[str, ...]) -> tuple[str | None, ...]:
    """Like `read_params`, for parameters that may be absent. An empty one counts as absent."""
    found = _find(query, names)
    return tuple([found.get(name) or None for name in names])


def user_id(text: str) -> str:
    """A buyer's id: 1 to 64 characters (code points) without control characters, taken as given."""
    if not 1 <= len(text) <= USER_ID_MAX or _UNFIT_FOR_USER_ID.search(text):
        raise InvalidParameter(f"user_id must be 1 to {USER_ID_MAX} characters without control characters")
    return text


def item_id(text: str, name: str = "id") -> int:
    """The number of an item or a sale: decimal, 1 to 2^63-1, canonical (no sign, no leading zeros)."""
    return _number(text, name, 1, ID_MAX)


def limit(text: str) -> int:
    """How many rows a page may have, 1 to 1,000."""
    return _number(text, "limit", 1, LIMIT_MAX)


def after(text: str) -> int:
    """The number after which a page begins, 0 to 2^63-1."""
    return _number(text, "after", 0, ID_MAX)


def flag(text: str, name: str) -> bool:
    """`true` or `false`, spelled exactly so."""
    if text not in ("true", "false"):
        raise InvalidParameter(f"{name} must be true or false")
    return text == "true"


def idempotency_key(raw: bytes) -> str:
    """The header's value: 1 to 128 visible ASCII characters. It is opaque and compared byte for byte."""
    if not _IDEMPOTENCY_KEY.fullmatch(raw):
        raise InvalidParameter(f"Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters")
    return raw.decode("ascii")


def percent_decoded(text: str, name: str) -> str:
    """`text`, which is ASCII, with its percent-escapes undone. They must be complete and spell UTF-8 (RFC 3629).

    Python's decoder refuses overlong forms, surrogates and anything above U+10FFFF.
    """
    if "%" not in text:
        return text
    plain, *escaped = text.split("%")
    octets = [plain.encode()]
    for piece in escaped:
        octet = _OCTETS.get(piece[:2])
        if octet is None:
            raise InvalidParameter(f"{name} has a malformed percent-escape")
        octets += (octet, piece[2:].encode())
    try:
        return b"".join(octets).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidParameter(f"{name} is not valid UTF-8") from None


def ascii_text(raw: bytes, name: str) -> str:
    """`raw` as text. A URL holds only ASCII; anything else must be percent-encoded."""
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidParameter(f"{name} must be percent-encoded") from None


def _find(query: bytes, names: tuple[str, ...]) -> dict[str, str]:
    text = ascii_text(query, "the query")
    is_plain = "%" not in text and "+" not in text
    found: dict[str, str] = {}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if not is_plain:
            # Decode names too, or user%5Fid= beside user_id= would slip through as a second value.
            name = _form_decoded(name, "a parameter name")
        if name not in names:
            continue
        if name in found:
            raise InvalidParameter(f"{name} must be given only once")
        found[name] = value if is_plain else _form_decoded(value, name)
    return found


def _form_decoded(text: str, name: str) -> str:
    return percent_decoded(text.replace("+", " "), name)


def _number(text: str, name: str, low: int, high: int) -> int:
    if _CANONICAL_NUMBER.fullmatch(text) and low <= (value := int(text)) <= high:
        return value
    raise InvalidParameter(f"{name} must be a decimal number from {low} to {high}, without sign or leading zeros")
