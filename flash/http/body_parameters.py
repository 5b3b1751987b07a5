"""Parameters from a request's query and body together: as a form, or as the members of a JSON object.

As strict as the query is (see `parameters`): a parameter stands in one place, once. Nothing is repaired or guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from flash.http.message import Request
from flash.http.parameters import AmbiguousRequest, InvalidParameter, find_params, required

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

Pairs = list[tuple[str, Any]]


class UnsupportedMediaType(Exception):
    """The body is neither a form nor JSON. `detail` says what it should be."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def read_request(request: Request, names: tuple[str, ...]) -> tuple[str, ...]:
    """Like `read_params`, for a request that has a body. Raises `InvalidParameter` or `UnsupportedMediaType`."""
    in_body = _reader(request)(request.body, names)
    in_query = find_params(request.query, names)
    for name in names:
        if name in in_body and name in in_query:
            raise AmbiguousRequest(f"{name} must be given only once, in the query or in the body")
    return required({**in_query, **in_body}, names)


def _reader(request: Request) -> Callable[[bytes, tuple[str, ...]], Mapping[str, str]]:
    types = request.header_values(b"content-type")
    if request.header_values(b"content-encoding"):
        raise UnsupportedMediaType("The body must not be compressed")
    if len(types) != 1:
        raise UnsupportedMediaType(f"The body needs one Content-Type, {FORM} or {JSON}")
    media_type, *options = [part.strip() for part in types[0].decode("latin-1").lower().split(";")]
    if any(_is_other_charset(option) for option in options):
        raise UnsupportedMediaType("The body must be in UTF-8")
    if media_type not in _READERS:
        raise UnsupportedMediaType(f"The body must be {FORM} or {JSON}")
    return _READERS[media_type]


def _is_other_charset(option: str) -> bool:
    name, _, value = option.partition("=")
    return name.strip() == "charset" and value.strip(' "') not in ("utf-8", "us-ascii")


def _read_form(body: bytes, names: tuple[str, ...]) -> Mapping[str, str]:
    return find_params(body, names, "the body")


def _read_json(body: bytes, names: tuple[str, ...]) -> Mapping[str, str]:
    try:
        # Not orjson: it would take the last of two equal names, and a proxy before us perhaps the first.
        pairs = json.loads(body.decode("utf-8"), object_pairs_hook=_Object, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise AmbiguousRequest("the body is not well-formed JSON in UTF-8") from None
    if not isinstance(pairs, _Object):
        raise AmbiguousRequest("the body must be a JSON object")
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise AmbiguousRequest(f"{name} must be given only once")
        if name in names:
            found[name] = _text(name, value)
    return found


class _Object(Pairs):
    """The members of a JSON object in the order given, also those with the same name."""


def _refuse(constant: str) -> Any:
    raise ValueError(constant)  # NaN and Infinity, which JSON does not have


def _text(name: str, value: object) -> str:
    """A number as it would stand in a query; only an id may be one, since a name such as 007 is not the name 7."""
    if isinstance(value, str):
        return value
    if name == "id" and type(value) is int:
        return str(value)
    raise InvalidParameter(f"{name} must be a string" + (" or a whole number" if name == "id" else ""))


_READERS = {FORM: _read_form, JSON: _read_json}
