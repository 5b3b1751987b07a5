"""Checkout codes: what a buyer holds between checkout and purchase. Pure: the key and the secret come from outside.

A code is 36 bytes in URL-safe base64 (48 characters): sale id (5 bytes), checkout id (6), a random secret (16) and a
keyed BLAKE2b tag over these (9). The sale id routes a code to its inventory without a look-up. The tag stops a forged
code before any store is asked.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

from flash.domain import CheckoutId, Code, SaleId

SECRET_BYTES = 16
KEY_BYTES = 32
_SALE_BYTES = 5
_CHECKOUT_BYTES = 6
_TAG_BYTES = 9
_PAYLOAD_BYTES = _SALE_BYTES + _CHECKOUT_BYTES + SECRET_BYTES
CODE_CHARACTERS = (_PAYLOAD_BYTES + _TAG_BYTES) * 4 // 3


class Codes:
    """Makes and checks codes with one key of `KEY_BYTES` bytes, which the whole cluster shares."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        self._key = key

    def seal(self, code: Code) -> str:
        """The text that the buyer gets."""
        payload = pack(code)
        return urlsafe_b64encode(payload + self._tag(payload)).decode("ascii")

    def open(self, text: str) -> Code | None:
        """The code that `text` spells, or None if this cluster did not make it: malformed, truncated or forged."""
        if len(text) != CODE_CHARACTERS or not text.isascii():
            return None
        try:
            raw = urlsafe_b64decode(text)
        except ValueError:
            return None
        # base64 decoding skips unknown characters, but only the one canonical spelling counts
        if len(raw) != _PAYLOAD_BYTES + _TAG_BYTES:
            return None
        payload, tag = raw[:_PAYLOAD_BYTES], raw[_PAYLOAD_BYTES:]
        if not hmac.compare_digest(tag, self._tag(payload)):
            return None
        if urlsafe_b64encode(raw).decode("ascii") != text:
            return None
        return unpack(payload)

    def _tag(self, payload: bytes) -> bytes:
        return blake2b(payload, key=self._key, digest_size=_TAG_BYTES).digest()


def pack(code: Code) -> bytes:
    """`code` as bytes without a tag, for messages between our own processes. Never give it to a buyer."""
    assert len(code.secret) == SECRET_BYTES
    return code.sale_id.to_bytes(_SALE_BYTES, "big") + code.checkout_id.to_bytes(_CHECKOUT_BYTES, "big") + code.secret


def unpack(payload: bytes) -> Code:
    """The inverse of `pack`. Raises `ValueError` if `payload` has the wrong length."""
    if len(payload) != _PAYLOAD_BYTES:
        raise ValueError(f"a code is {_PAYLOAD_BYTES} bytes, not {len(payload)}")
    return Code(
        SaleId(int.from_bytes(payload[:_SALE_BYTES], "big")),
        CheckoutId(int.from_bytes(payload[_SALE_BYTES : _SALE_BYTES + _CHECKOUT_BYTES], "big")),
        payload[_SALE_BYTES + _CHECKOUT_BYTES :],
    )
