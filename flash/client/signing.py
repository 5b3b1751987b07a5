"""Tokens for services that want their buyers signed (FLASH_USER_KEY): what a shop's own login gives to a buyer.

It is a JWT with HS256, so any JWT library makes the same. It goes into the header `User-Token` of a checkout.
"""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode

LIFE_SECONDS = 300.0


def sign_user(user_key: str, user_id: str, *, life_seconds: float = LIFE_SECONDS) -> str:
    """A token with which its holder may check out as `user_id`, and as nobody else, for `life_seconds`."""
    claims = {"sub": user_id, "exp": int(time.time() + life_seconds)}
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    return f"{signed}.{_base64(hmac.digest(user_key.encode(), signed.encode(), 'sha256'))}"


def _part(members: dict[str, object]) -> str:
    return _base64(json.dumps(members, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
