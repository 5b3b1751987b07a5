"""What explains the API: GET /openapi.json, and GET /problems/{code} as a page or as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from html import escape

from flash.api.openapi.document import document
from flash.http.accept import prefers_html
from flash.http.message import Header, Request, Response, encode_json
from flash.http.problem_types import PROBLEM_TYPES, ProblemType
from flash.http.problems import NOT_FOUND
from flash.http.static_files import StaticFile, static_file

_BY_ACCEPT: tuple[Header, ...] = ((b"vary", b"accept"),)

_PAGE = """\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>{title} · flash</title>
    <link rel="icon" href="/pages/storefront/icon.svg" type="image/svg+xml" />
    <link rel="stylesheet" href="/pages/docs/problem.css" />
  </head>
  <body>
    <main>
      <p class="code"><code>{code}</code> <span>usually {status}</span></p>
      <h1>{title}</h1>
      <h2>What it means</h2>
      <p>{meaning}</p>
      <h2>What to do</h2>
      <p>{action}</p>
      <p class="more"><a href="/docs">The whole API</a></p>
    </main>
  </body>
</html>
"""


def openapi_file(routes: Iterable[tuple[str, str]]) -> StaticFile:
    """The description of `routes`, each a method and a path."""
    return _openapi_file(tuple(routes))


@cache
def _openapi_file(routes: tuple[tuple[str, str], ...]) -> StaticFile:
    return static_file("openapi.json", encode_json(document(routes)))


async def problem_type(request: Request, code: str) -> Response:
    """What a problem means and what to do."""
    kind = PROBLEM_TYPES.get(code)
    if kind is None:
        return NOT_FOUND
    return await _explained(kind, prefers_html(request)).answer(request)


@cache
def _explained(kind: ProblemType, is_page: bool) -> StaticFile:
    if is_page:
        return static_file(f"{kind.code}.html", _page(kind).encode(), more=_BY_ACCEPT)
    return static_file(f"{kind.code}.json", encode_json(kind.as_json()), more=_BY_ACCEPT)


def _page(kind: ProblemType) -> str:
    texts = {"title": kind.title, "meaning": kind.meaning, "action": kind.action}
    return _PAGE.format(code=kind.code, status=kind.status, **{name: _html(text) for name, text in texts.items()})


def _html(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
