"""The headers that requests may have and answers bring."""

from __future__ import annotations

from flash.api.openapi.operation import Json
from flash.api.openapi.schemas import KEY

_TEXT: Json = {"type": "string"}
_SECONDS: Json = {"type": "integer", "minimum": 1}
_REQUEST_ID = "c2a1f7c36b90d3e40000000000000a1f"
_TRACEPARENT = f"00-{_REQUEST_ID}-0000000000000a1f-00"


def _header(description: str, schema: Json, example: object) -> Json:
    return {"description": description, "schema": schema, "example": example}


HEADERS: Json = {
    "Retry-After": {
        **_header("After how many seconds to try again. It is jittered: take it as it is.", _SECONDS, 2),
        "required": True,
    },
    "Age": {
        **_header("How many seconds ago what is shown was known to be true.", {"type": "integer", "minimum": 0}, 0),
        "required": True,
    },
    "ETag": {
        **_header("Names this version: send it back in `If-None-Match`.", _TEXT, 'W/"5c4d3e0a1b2c3d4e5f"'),
        "required": True,
    },
    "Cache-Control": {**_header("How long a cache may keep it.", _TEXT, "public, max-age=1"), "required": True},
    "Link": _header(
        'The next page (`rel="next"`), if there is one.', _TEXT, '</sales/1/items?after=100&limit=100>; rel="next"'
    ),
    "Allow": {**_header("The methods that the path answers.", _TEXT, "GET, HEAD"), "required": True},
    "RateLimit": _header(
        "What is left of each limit, and in how many seconds it is whole again. Only where rates are limited.",
        _TEXT,
        '"address";r=9;t=1',
    ),
    "RateLimit-Policy": _header(
        "The limits: requests in how many seconds. Only where rates are limited.", _TEXT, '"address";q=10;w=2'
    ),
    "Accept-Post": {
        **_header("What a body may be.", _TEXT, "application/x-www-form-urlencoded, application/json"),
        "required": True,
    },
    "WWW-Authenticate": {**_header("How to say who asks.", _TEXT, 'Bearer realm="flash control"'), "required": True},
    "Set-Cookie": {
        **_header(
            "The operator's session: HttpOnly, SameSite=Strict.",
            _TEXT,
            "flash_control=1764028800.1f2e; Path=/control; Max-Age=43200; HttpOnly; SameSite=Strict",
        ),
        "required": True,
    },
    "Content-Security-Policy": {
        **_header("What the page may load.", _TEXT, "default-src 'none'; script-src 'self'"),
        "required": True,
    },
    "X-Request-ID": {**_header("Names the request, here and in the logs.", _TEXT, _REQUEST_ID), "required": True},
    "traceparent": {**_header("The place of the request in its trace.", _TEXT, _TRACEPARENT), "required": True},
}
ON_EVERY_ANSWER = ("X-Request-ID", "traceparent")

PARAMETERS: Json = {
    "X-Request-ID": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "A name for the request, which is echoed and logged. One is made for whoever sends none.",
        "schema": _TEXT,
    },
    "traceparent": {
        "name": "traceparent",
        "in": "header",
        "description": "The trace that the request belongs to (W3C Trace Context).",
        "schema": _TEXT,
    },
}
"""What every operation takes. No examples: viewers would fill them in."""

IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Names the purchase, so that it can be repeated: with the same code and key, the answer is the same "
    "200 again. A new one for each purchase; a UUID does.",
    "schema": KEY,  # and no example: viewers fill examples in, and the second purchase with it would be refused
}
USER_TOKEN: Json = {
    "name": "User-Token",
    "in": "header",
    "description": "Proves who the buyer is, where the shop signs its buyers (`FLASH_USER_KEY`): a JWT of its login.",
    "schema": _TEXT,
}
IF_NONE_MATCH: Json = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of the answer that the client has: if it is still true, the answer is 304.",
    "schema": _TEXT,
}
