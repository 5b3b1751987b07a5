"""Which handler answers a request: by method and path, where a path may have one variable segment.

The router calls the handler and returns its awaitable, so routing adds no task switch and no coroutine of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from flash.http.message import Answer, Request, Response
from flash.http.parameters import ascii_text, percent_decoded
from flash.http.problems import NOT_FOUND, method_not_allowed

Handler = Callable[[Request], Awaitable[Answer]]
SegmentHandler = Callable[[Request, str], Awaitable[Answer]]

Routes = Mapping[tuple[str, str], Handler]
Patterns = Mapping[tuple[str, str], SegmentHandler]

_Shape = tuple[str | None, ...]


class Router:
    """`routes` maps (method, path). `patterns` maps (method, path with one `{…}` segment).

    A handler of a pattern gets that segment with its percent-escapes undone. A path in `routes` wins over a
    pattern, and GET answers HEAD as well. `otherwise` answers for every path that is in neither.
    """

    def __init__(self, routes: Routes, patterns: Patterns, otherwise: Handler | None = None) -> None:
        self._otherwise = otherwise or _not_found
        self._exact: dict[str, dict[str, Handler]] = {}
        self._patterns: dict[_Shape, dict[str, SegmentHandler]] = {}
        self._listed: dict[_Shape, str] = {}
        for (method, path), handler in routes.items():
            self._exact.setdefault(path, {})[method] = handler
        for (method, path), segment_handler in patterns.items():
            self._patterns.setdefault(_shape(path), {})[method] = segment_handler
            self._listed.setdefault(_shape(path), path)
        self._variable_places = {shape.index(None) for shape in self._patterns}

    def route(self, request: Request) -> Awaitable[Answer]:
        """Set `request.path` and `route`, and call the handler.

        Raises `InvalidParameter` if the path cannot be decoded.
        """
        request.path = path = ascii_text(_origin_form(request.raw_path), "the path")
        segments: tuple[str, ...] = ()
        if "%" in path:
            # Decoded segment by segment: an encoded slash is part of its segment and matches no route.
            segments = tuple(percent_decoded(segment, "the path") for segment in path.split("/"))
            request.path = path = "/".join(segments)
        exact = self._exact.get(path)
        if exact is not None:
            handler = exact.get(request.method) or exact.get(_same_as(request.method))
            if handler is None:
                return _constant(method_not_allowed(exact))
            request.route = path
            return handler(request)
        return self._route_pattern(request, segments or tuple(path.split("/")))

    def _route_pattern(self, request: Request, segments: tuple[str, ...]) -> Awaitable[Answer]:
        for place in self._variable_places:
            if place < len(segments) and segments[place] and "/" not in segments[place]:
                shape = (*segments[:place], None, *segments[place + 1 :])
                methods = self._patterns.get(shape)
                if methods is not None:
                    handler = methods.get(_same_as(request.method))
                    if handler is None:
                        return _constant(method_not_allowed(methods))
                    request.route = self._listed[shape]
                    return handler(request, segments[place])
        return self._otherwise(request)


def _shape(path: str) -> _Shape:
    """The segments of a pattern; None stands for the variable one."""
    shape = tuple(None if part.startswith("{") else part for part in path.split("/"))
    assert shape.count(None) == 1, f"{path} must have exactly one variable segment"
    return shape


def _origin_form(raw_path: bytes) -> bytes:
    """The path of a target. Servers must also accept a whole URL there (RFC 9112, 3.2.2)."""
    if raw_path.startswith(b"/"):
        return raw_path
    _, mark, rest = raw_path.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if mark else raw_path


def _same_as(method: str) -> str:
    return "GET" if method == "HEAD" else method


async def _not_found(request: Request) -> Response:
    return NOT_FOUND


async def _constant(response: Response) -> Response:
    return response
