"""Buyers who must be signed, by whoever runs the shop's logins: a `user_id` counts only with a token that names it.

The token is a JWT (RFC 7519) with HS256 under FLASH_USER_KEY, in the header User-Token: not in the query, which is
stored when it is malformed. `sub` is the buyer and `exp` must be there. The signature is compared in constant time, and
nothing in a token is read before it is right.
"""

from __future__ import annotations

import hmac
import json
import math
import time
import unicodedata
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any

from flash.http.message import Request, Response
from flash.http.problems import problem

HEADER = b"user-token"
AUDIENCE = "flash"
"""A token whose `aud` names others only is not for us."""


class SignedBuyers:
    """`wall_clock` gives Unix time in seconds: `exp` and `nbf` are counted by this machine's clock."""

    def __init__(self, key: str, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._key = key.encode()
        self._wall_clock = wall_clock

    def refusal(self, request: Request, user_id: str) -> Response | None:
        """The answer for whoever may not buy as `user_id`; None if the token says that they may."""
        tokens = request.header_values(HEADER)
        if len(tokens) != 1:
            return _refused("The header User-Token must be given, once")
        claims = self._claims(tokens[0])
        if claims is None:
            return _refused("The User-Token is not one that this shop has signed")
        if not self._is_in_force(claims):
            return _refused("The User-Token has expired, or does not say when it will")
        if not _is_about(claims, user_id):
            return _refused("The User-Token is for another user_id")
        return None

    def _claims(self, token: bytes) -> Mapping[str, Any] | None:
        """What the token says; None unless it was signed with our key."""
        signed, _, signature = token.rpartition(b".")
        try:
            given = _decoded(signature)
            expected = hmac.digest(self._key, signed, "sha256")
            if not hmac.compare_digest(given, expected):
                return None
            header, claims = (json.loads(_decoded(part)) for part in signed.split(b"."))
        except (ValueError, RecursionError):
            return None
        is_ours = isinstance(header, dict) and header.get("alg") == "HS256" and "crit" not in header
        return claims if is_ours and isinstance(claims, dict) and _is_for_us(claims.get("aud")) else None

    def _is_in_force(self, claims: Mapping[str, Any]) -> bool:
        return _seconds(claims.get("nbf", 0)) <= self._wall_clock() < _seconds(claims.get("exp"))


def _is_about(claims: Mapping[str, Any], user_id: str) -> bool:
    """User ids are in NFC by now, so the one in the token is compared in NFC too."""
    subject = claims.get("sub")
    return isinstance(subject, str) and unicodedata.normalize("NFC", subject) == user_id


def _is_for_us(audience: object) -> bool:
    return audience is None or audience == AUDIENCE or (isinstance(audience, list) and AUDIENCE in audience)


def _seconds(value: object) -> float:
    """Not a number, of which no comparison is true, unless it is one."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _decoded(part: bytes) -> bytes:
    """base64url without padding (RFC 7515, 2). Raises `ValueError`."""
    if part.rstrip(b"=") != part:
        raise ValueError("padded")
    return urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _refused(detail: str) -> Response:
    return problem(401, "invalid_user_token", detail, headers=((b"www-authenticate", b'User-Token realm="buyers"'),))
