"""Query parameters, path segments and the Idempotency-Key: read strictly and checked once, at the edge.

`urllib.parse` guesses: it repairs bad escapes and bad UTF-8, drops empty values and keeps duplicates. Here any doubt
is an `InvalidParameter` whose text names the parameter and the rule. No I/O, no clock.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

USER_ID_MAX = 64
ID_MAX = 2**63 - 1
LIMIT_MAX = 1_000
IDEMPOTENCY_KEY_MAX = 128

# Listed by number and not by category: every version of Python refuses the same ids.
_CONTROL = "\x00-\x1f\x7f-\x9f"
_CONTROLS = re.compile(f"[{_CONTROL}\ud800-\udfff]")
# With these, two ids look alike and are two buyers: soft hyphen, joiners and spaces of no width, marks that turn the
# direction of text, invisible operators, interlinear marks, tags. Code points that are not assigned yet are accepted.
_UNSEEN = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_INVISIBLE = re.compile(f"[{_UNSEEN}\U000e0000-\U000e007f]")
_NFC_SHRINKS_MAX = 4
"""Code points that one character of NFC may come from, at most: Unicode's own bound is 4."""
_CANONICAL_NUMBER = re.compile("0|[1-9][0-9]{0,18}")
_IDEMPOTENCY_KEY = re.compile(rb"[\x21-\x7e]{1,%d}" % IDEMPOTENCY_KEY_MAX)


def _class(characters: str) -> str:
    return "".join([char if char == "-" else f"\\u{ord(char):04x}" for char in characters])


USER_ID_PATTERN = f"^[^{_class(_CONTROL + _UNSEEN)}]+$"
"""The same as a pattern that every regular expression engine understands. So it lacks the tags, beyond U+FFFF, and
surrogates, which no UTF-8 has: without JavaScript's `u` flag they would stand for every emoji."""

_HEX = "0123456789abcdefABCDEF"
_OCTETS = {high + low: bytes([int(high + low, 16)]) for high in _HEX for low in _HEX}


class InvalidParameter(Exception):
    """A parameter breaks the HTTP contract. `detail` names the parameter and the rule, and never echoes the value."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MissingParameter(InvalidParameter):
    """A parameter that must be there is not, or is empty."""


class AmbiguousRequest(InvalidParameter):
    """A parameter is given twice, or stands in a body that cannot be read: nobody can say what it is."""


def read_params(query: bytes, names: tuple[str, ...]) -> tuple[str, ...]:
    """The values of `names`, each of which must be given exactly once and not be empty. Other names are ignored.

    Raises `InvalidParameter`. About 1 µs for two plain values.
    """
    return required(find_params(query, names), names)


def read_optional(query: bytes, names: tuple[str, ...]) -> tuple[str | None, ...]:
    """Like `read_params`, for parameters that may be absent. An empty one counts as absent."""
    found = find_params(query, names)
    return tuple([found.get(name) or None for name in names])


def required(found: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, ...]:
    """The values of `names`, none of which may be missing or empty. Raises `MissingParameter`."""
    for name in names:
        if not found.get(name):
            raise MissingParameter(f"{name} is {'empty' if name in found else 'missing'}")
    return tuple([found[name] for name in names])


def find_params(query: bytes, names: tuple[str, ...], where: str = "the query") -> dict[str, str]:
    """Those of `names` that are given, decoded. Raises `InvalidParameter`. `where` names what is read."""
    text = ascii_text(query, where)
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
            raise AmbiguousRequest(f"{name} must be given only once")
        found[name] = value if is_plain else _form_decoded(value, name)
    return found


def user_id(text: str) -> str:
    """A buyer's id: 1 to 64 characters (code points) that can be seen, in NFC, however the client spelled them.

    So é is one letter, whether it came as one code point or as two. Nothing else is folded: Ann is not ann.
    """
    if not text.isascii():
        text = _composed(text)
    if not 1 <= len(text) <= USER_ID_MAX or _CONTROLS.search(text):
        raise InvalidParameter(f"user_id must be 1 to {USER_ID_MAX} characters without control characters")
    return text


def _composed(text: str) -> str:
    if _INVISIBLE.search(text):
        raise InvalidParameter("user_id must have no invisible characters (of zero width, or controls of direction)")
    # What is too long stays too long, and is not worth composing.
    return unicodedata.normalize("NFC", text) if len(text) <= USER_ID_MAX * _NFC_SHRINKS_MAX else text


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


def _form_decoded(text: str, name: str) -> str:
    return percent_decoded(text.replace("+", " "), name)


def _number(text: str, name: str, low: int, high: int) -> int:
    if _CANONICAL_NUMBER.fullmatch(text) and low <= (value := int(text)) <= high:
        return value
    raise InvalidParameter(f"{name} must be a decimal number from {low} to {high}, without sign or leading zeros")
