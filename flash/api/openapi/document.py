"""The whole description, for the routes that a process has."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flash import __version__
from flash.api.openapi.headers import HEADERS, ON_EVERY_ANSWER, PARAMETERS
from flash.api.openapi.operation import Json, Operation, ref
from flash.api.openapi.operators import OPERATORS, SECURITY_SCHEMES
from flash.api.openapi.problems import COMMON, http_answers, http_references, problem_answers
from flash.api.openapi.reading import READING
from flash.api.openapi.schemas import SCHEMAS
from flash.api.openapi.service import SERVICE
from flash.api.openapi.shop import SHOP

OPERATIONS: dict[tuple[str, str], Operation] = {**SHOP, **READING, **SERVICE, **OPERATORS}

_LOGIN = ("POST", "/control/login")
_PAGE_FILE = re.compile(r"/pages/[^/{]+/[^/{]+")
_DESCRIPTION = """\
Every hour a new sale of exactly 10,000 items opens. Buyers check an item out, get a code, and buy with it. Nobody hears
"yes" before it is durable.

- `POST` takes its parameters in the query, as a form or as JSON; anything else is 415. `HEAD` is answered wherever
  `GET` is.
- Errors are problems (RFC 9457). Switch on `code`; `type` leads to what it means. Other members may be added.
- A **503** and a `rate_limited` **429** come with `Retry-After`, and repeating the request then is safe, for a purchase
  with the same `Idempotency-Key`.
- Reads are at most a second old: `Age` says how old, `ETag` saves the body, lists are compressed for clients that
  take gzip.
- Every answer carries an `X-Request-ID` and a `traceparent` (W3C Trace Context): those that the request came with, or
  made for it. Quote the first when you ask for help.
"""


def document(routes: Iterable[tuple[str, str]]) -> Json:
    """OpenAPI 3.1 for `routes`: method and path, where `{…}` stands for a segment."""
    described = {route: OPERATIONS[route] for route in dict.fromkeys(map(described_as, routes)) if route in OPERATIONS}
    paths: dict[str, Json] = {}
    for (method, path), operation in described.items():
        shared = {"parameters": [ref("parameters", name) for name in PARAMETERS]}
        paths.setdefault(path, shared)[method.lower()] = _operation(operation, is_locked=_LOGIN in described)
    components: Json = {
        "schemas": SCHEMAS,
        "headers": HEADERS,
        "parameters": PARAMETERS,
        "responses": {name: _named(answer) for name, answer in http_answers().items()},
    }
    if _LOGIN in described:
        components["securitySchemes"] = SECURITY_SCHEMES
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flash",
            "version": __version__,
            "summary": "A flash sale: each item sold exactly once.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in described.values())],
        "paths": paths,
        "components": components,
    }


def described_as(route: tuple[str, str]) -> tuple[str, str]:
    """The route under which one is described: all files of pages under one."""
    method, path = route
    return (method, "/pages/{folder}/{file}") if _PAGE_FILE.fullmatch(path) else route


def _operation(operation: Operation, *, is_locked: bool) -> Json:
    """`is_locked`: there is a token for operators."""
    found: Json = {"operationId": operation.id, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        found["description"] = operation.description
    if operation.parameters:
        found["parameters"] = list(operation.parameters)
    if operation.body:
        found["requestBody"] = operation.body
    if operation.is_operators and is_locked:
        found["security"] = [{name: []} for name in SECURITY_SCHEMES]
    found["responses"] = _responses(operation)
    return found


def _responses(operation: Operation) -> Json:
    responses = {**problem_answers({*COMMON, *operation.problems}), **http_references()}
    for status, answer in operation.answers.items():
        problem = responses.get(str(status))
        responses[str(status)] = answer if problem is None else _both(answer, problem)
    named = {status: one if "$ref" in one else _named(one) for status, one in responses.items()}
    return dict(sorted(named.items()))


def _named(answer: Json) -> Json:
    """With the headers that every answer has."""
    shared = {name: ref("headers", name) for name in ON_EVERY_ANSWER}
    return {**answer, "headers": {**answer.get("headers", {}), **shared}}


def _both(answer: Json, problem: Json) -> Json:
    """A status that is sometimes a problem and sometimes not: 503 is also how health says no."""
    return {
        **answer,
        "description": f"{answer['description']}  \n{problem['description']}",
        "content": {**answer["content"], **problem["content"]},
    }
