"""One method of one path, as plain data, and the small pieces that operations are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """`id` is how generated clients name it. `answers` are those that are no problems, by status.

    `problems`: the codes of its refusals, beside those that any request may get (see `problems.COMMON`).
    """

    id: str
    tag: str
    summary: str
    answers: Mapping[int, Json]
    description: str = ""
    parameters: tuple[Json, ...] = ()
    body: Json | None = None
    problems: tuple[str, ...] = ()
    is_operators: bool = False


def ref(section: str, name: str) -> Json:
    return {"$ref": f"#/components/{section}/{name}"}


def schema(name: str) -> Json:
    return ref("schemas", name)


def query(name: str, description: str, schema: Json, example: object) -> Json:
    """A parameter in the query, which may be left out, or be empty."""
    return {**query_or_body(name, description, schema), "allowEmptyValue": True, "example": example}


def query_or_body(name: str, description: str, schema: Json) -> Json:
    """A parameter that may stand in the body as well. It has no example: viewers fill examples in, and send both."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def path(name: str, description: str, schema: Json, example: object) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


def answer(description: str, content: Json, *headers: str, links: Json | None = None) -> Json:
    """`headers` are names of components; each is there whenever that answer is given, unless it says otherwise."""
    found: Json = {"description": description}
    if headers:
        found["headers"] = {name: ref("headers", name) for name in headers}
    if content:
        found["content"] = content
    if links:
        found["links"] = links
    return found


def json_content(schema: Json, example: object) -> Json:
    return {"application/json": {"schema": schema, "example": example}}


def unchanged(*headers: str) -> Json:
    return answer("Nothing has changed since the answer whose `ETag` was sent in `If-None-Match`.", {}, *headers)
