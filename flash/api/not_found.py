"""What is answered where there is nothing: a page to a person who has mistyped an address, a problem to a program."""

from __future__ import annotations

from dataclasses import replace

from flash.http.accept import prefers_html
from flash.http.message import Header, Request, Response
from flash.http.problems import NOT_FOUND
from flash.http.static_files import CONTENT_SECURITY_POLICY

_BY_ACCEPT: Header = (b"vary", b"accept")

_PAGE = b"""\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>Nothing here \xc2\xb7 flash</title>
    <link rel="icon" href="/pages/storefront/icon.svg" type="image/svg+xml" />
    <link rel="stylesheet" href="/pages/docs/problem.css" />
  </head>
  <body>
    <main>
      <p class="code"><code>404</code></p>
      <h1>There is nothing at this address.</h1>
      <p>The address may be mistyped, or the page may have moved.</p>
      <p class="more"><a href="/">Go to the shop</a></p>
    </main>
  </body>
</html>
"""

_PROBLEM = replace(NOT_FOUND, headers=(*NOT_FOUND.headers, _BY_ACCEPT))
_FOR_PEOPLE = Response(
    404,
    _PAGE,
    b"text/html; charset=utf-8",
    (
        (b"cache-control", b"no-cache"),
        (b"content-security-policy", CONTENT_SECURITY_POLICY),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        _BY_ACCEPT,
    ),
    NOT_FOUND.code,
)


async def not_found(request: Request) -> Response:
    """404, as a page where a browser looks for one. Other methods are a program's."""
    if request.method not in ("GET", "HEAD"):
        return NOT_FOUND
    return _FOR_PEOPLE if prefers_html(request) else _PROBLEM
