"""Holds every answer against the description of its operation: status, code, headers, media type and body.

Members that the description does not name are refused here, though a client must bear them: so nothing is added to an
answer without being described.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import unquote

import orjson
from jsonschema import Draft202012Validator

from flash.api.openapi.document import OPERATIONS, document
from flash.api.openapi.headers import ON_EVERY_ANSWER
from flash.api.openapi.operation import Json
from flash.http.message import Response

DOCUMENT = document(OPERATIONS)
ANYWHERE = {"date", "connection", "content-length", "content-type", "content-encoding", "vary"}
"""Headers that need no description."""
BY_THE_CONNECTION = {name.lower() for name in ON_EVERY_ANSWER}
"""Added where answers are sent, which is not here."""
SECURITY = {"x-content-type-options", "referrer-policy", "content-security-policy"}


def check(method: str, target: str, answer: Response) -> None:
    """Raises `AssertionError`, with what the description does not allow."""
    operation = find(method, target)
    if method == "OPTIONS" or _code(answer) in ("not_found", "method_not_allowed"):
        return
    assert operation is not None, f"{method} {target} answers {answer.status} and is not described"
    described = operation["responses"].get(str(answer.status))
    assert described, f"{operation['operationId']} does not describe {answer.status}"
    described = resolved(described)
    _check_headers(described, answer)
    content = described.get("content", {})
    if answer.status in (204, 304):
        assert not answer.body
        return
    media_type = answer.content_type.decode().partition(";")[0]
    assert media_type in content or "*/*" in content, f"{operation['operationId']} {answer.status}: {media_type}"
    if media_type.endswith("json") and dict(answer.headers).get(b"content-encoding") is None and method != "HEAD":
        errors = _validator(operation["operationId"], answer.status, media_type).iter_errors(orjson.loads(answer.body))
        assert not [error.message for error in errors], answer.body


def find(method: str, target: str) -> Json | None:
    """The operation that answers the target, or None."""
    path = unquote(target.partition("?")[0])
    found = DOCUMENT["paths"].get(path)
    if found is None:
        found = next((item for shape, item in DOCUMENT["paths"].items() if _shape(shape).fullmatch(path)), {})
    return found.get("get" if method == "HEAD" else method.lower()) if isinstance(found, dict) else None


def operations(item: Json) -> list[Json]:
    """Those of a path, beside which stand the parameters of them all."""
    return [one for name, one in item.items() if name != "parameters"]


def resolved(thing: Json) -> Json:
    """What `thing` refers to, or itself."""
    while "$ref" in thing:
        _, *names = thing["$ref"].split("/")
        thing = DOCUMENT
        for name in names:
            thing = thing[name]
    return thing


def closed(schema: Any) -> Any:
    """The schema, with members that it does not name refused."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("$ref"), str) or "properties" in schema:
        found["unevaluatedProperties"] = False
    return found


@cache
def _shape(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))


@cache
def _validator(operation_id: str, status: int, media_type: str) -> Draft202012Validator:
    operation = next(
        one for item in DOCUMENT["paths"].values() for one in operations(item) if one["operationId"] == operation_id
    )
    schema = resolved(operation["responses"][str(status)])["content"][media_type]["schema"]
    return validator(schema)


def validator(schema: Json) -> Draft202012Validator:
    # Referred to, a definition is open; closing happens where it is used, where what stands beside it is known too.
    components = {"schemas": {name: _open(one) for name, one in DOCUMENT["components"]["schemas"].items()}}
    return Draft202012Validator({**closed(schema), "components": components})


def _open(definition: Json) -> Any:
    found = closed(definition)
    return {name: value for name, value in found.items() if name != "unevaluatedProperties"}


def _code(answer: Response) -> object:
    """That of a problem; a page about one says it to nobody, but the answer knows."""
    if answer.content_type == b"application/problem+json":
        return orjson.loads(answer.body)["code"]
    return answer.code or None


def _check_headers(described: Json, answer: Response) -> None:
    headers = {name.lower(): resolved(header) for name, header in described.get("headers", {}).items()}
    given = {name.decode().lower() for name, _ in answer.headers}
    missing = {name for name, header in headers.items() if header.get("required")} - given - BY_THE_CONNECTION
    assert not missing, f"{answer.status} lacks {missing}"
    unknown = {name for name in given - headers.keys() - ANYWHERE - SECURITY if not name.startswith("access-control-")}
    assert not unknown, f"{answer.status} has {unknown}, which nobody describes"
