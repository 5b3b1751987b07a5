"""Checkout codes: what a buyer holds between checkout and purchase. Pure: the keys come from outside.

A code of version 2 is 54 bytes in URL-safe base64 (72 characters):

    version 1 | key id 1 | sale 4 | checkout 6 | item 6 | issued at 4 | user digest 16 | tag 16

It says all that a decision needs, so nothing is looked up before one. The tag, keyed BLAKE2b over the rest, stops a
forged code before any store is asked. Its key can be rotated: the key id says which one it was. The digest's key is
another one and is never changed, since one buyer would be counted as two. Codes of version 1 (release 0.1) are opened
until they have expired.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from struct import Struct

from flash.domain import CheckoutId, Code, ItemId, LegacyCode, SaleId, UserId

KEY_BYTES = 32
DIGEST_BYTES = 16
TAG_BYTES = 16
KEY_ID_MAX = 255
_VERSION = 2
# six-byte numbers as two and four
_FIELDS = Struct(f">IHIHII{DIGEST_BYTES}s")
_HEAD_BYTES = 2
_SIGNED_BYTES = _HEAD_BYTES + _FIELDS.size
CODE_CHARACTERS = (_SIGNED_BYTES + TAG_BYTES) * 4 // 3
_is_spelled = re.compile(rf"[A-Za-z0-9_-]{{{CODE_CHARACTERS}}}").fullmatch

PACKED_BYTES = _FIELDS.size + 1
"""Size of `pack(code)`."""

LEGACY_SECRET_BYTES = 16
_LEGACY_PAYLOAD_BYTES = 27
_LEGACY_TAG_BYTES = 9
LEGACY_CODE_CHARACTERS = 48
_is_legacy_spelled = re.compile(rf"[A-Za-z0-9_-]{{{LEGACY_CODE_CHARACTERS}}}").fullmatch


def digest_user(key: bytes, user_id: UserId) -> bytes:
    """What stands for the user in a code: `DIGEST_BYTES` bytes."""
    return blake2b(user_id.encode(), key=key, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class CodeKeys:
    """The keys of the tags by their ids, from 1 to `KEY_ID_MAX`, and the one that new codes get.

    `legacy`: the key of version 1, if there ever was one.
    """

    keys: Mapping[int, bytes] = field(repr=False)
    signing_id: int
    legacy: bytes | None = field(default=None, repr=False)


class Codes:
    """Makes and checks codes with the keys that the whole cluster shares."""

    def __init__(self, keys: CodeKeys) -> None:
        self.set_keys(keys)

    def set_keys(self, keys: CodeKeys) -> None:
        """Use `keys` from now on."""
        assert keys.signing_id in keys.keys
        self._keys = keys
        self._signing_key = keys.keys[keys.signing_id]
        self._head = bytes((_VERSION, keys.signing_id))

    def seal(self, code: Code) -> str:
        """The text that the buyer gets."""
        signed = self._head + _pack_fields(code)
        return urlsafe_b64encode(signed + _tag(self._signing_key, signed)).decode("ascii")

    def open(self, text: str) -> Code | LegacyCode | None:
        """The code that `text` spells, or None if it was not sealed with one of the keys."""
        if not _is_spelled(text):
            return self._open_legacy(text) if _is_legacy_spelled(text) else None
        # No padding and no spare bits at this length: every spelling that gets here is the canonical one.
        raw = urlsafe_b64decode(text)
        key = self._keys.keys.get(raw[1])
        if raw[0] != _VERSION or key is None:
            return None
        signed = raw[:_SIGNED_BYTES]
        if not hmac.compare_digest(raw[_SIGNED_BYTES:], _tag(key, signed)):
            return None
        return _unpack_fields(signed[_HEAD_BYTES:])

    def has_unknown_key(self, text: str) -> bool:
        """Whether `text` looks like a code that was sealed with a key that is not among ours (yet)."""
        if not _is_spelled(text):
            return False
        raw = urlsafe_b64decode(text)
        return raw[0] == _VERSION and raw[1] > 0 and raw[1] not in self._keys.keys

    def _open_legacy(self, text: str) -> LegacyCode | None:
        if self._keys.legacy is None:
            return None
        raw = urlsafe_b64decode(text)
        payload, tag = raw[:_LEGACY_PAYLOAD_BYTES], raw[_LEGACY_PAYLOAD_BYTES:]
        expected = blake2b(payload, key=self._keys.legacy, digest_size=_LEGACY_TAG_BYTES).digest()
        if not hmac.compare_digest(tag, expected):
            return None
        return LegacyCode(
            SaleId(int.from_bytes(payload[:5], "big")), CheckoutId(int.from_bytes(payload[5:11], "big")), payload[11:]
        )


def pack(code: Code) -> bytes:
    """`code` as `PACKED_BYTES` bytes without a tag, for messages between our own processes: never for a buyer."""
    return _pack_fields(code) + (b"\1" if code.is_legacy else b"\0")


def unpack(packed: bytes) -> Code:
    """The inverse of `pack`. Raises `ValueError` if `packed` is not what it makes."""
    if len(packed) != PACKED_BYTES or packed[-1] > 1:
        raise ValueError(f"a packed code is {PACKED_BYTES} bytes and ends in 0 or 1")
    return _unpack_fields(packed[:-1], is_legacy=packed[-1] == 1)


def _tag(key: bytes, signed: bytes) -> bytes:
    return blake2b(signed, key=key, digest_size=TAG_BYTES).digest()


def _pack_fields(code: Code) -> bytes:
    checkout, item = code.checkout_id, code.item_id
    return _FIELDS.pack(
        code.sale_id,
        checkout >> 32,
        checkout & 0xFFFFFFFF,
        item >> 32,
        item & 0xFFFFFFFF,
        code.issued_at,
        code.user_digest,
    )


def _unpack_fields(fields: bytes, *, is_legacy: bool = False) -> Code:
    sale, checkout_high, checkout, item_high, item, issued_at, digest = _FIELDS.unpack(fields)
    return Code(
        SaleId(sale),
        CheckoutId(checkout_high << 32 | checkout),
        ItemId(item_high << 32 | item),
        issued_at,
        digest,
        is_legacy,
    )
