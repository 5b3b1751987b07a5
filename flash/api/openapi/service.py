"""What tells of the service itself: events, health, metrics, this description, and the pages for people."""

from __future__ import annotations

from flash.api.openapi.headers import IF_NONE_MATCH
from flash.api.openapi.operation import Json, Operation, answer, json_content, path, query, schema, unchanged
from flash.api.openapi.schemas import ID
from flash.http.problem_types import PROBLEM_TYPES

EVENTS, HEALTH, REFERENCE, PAGES = "Events", "Health", "Reference", "Pages"
_TEXT: Json = {"schema": {"type": "string"}}
_FILE = ("ETag", "Cache-Control", "Content-Security-Policy")
_STATUS_OK = json_content(schema("Status"), {"status": "ok"})
_PROBLEM_EXAMPLE = PROBLEM_TYPES["item_sold"]
_EVENTS_TEXT = """\
Without `sale`: of the current sale, and of the next one when that opens. Each event is one line of JSON:

| `event` | `data` | when |
|---|---|---|
| `state` | `now`, `sales` (as in `GET /sales`), `sale_id`, `first_id`, `sold` | at first, and when all is replaced |
| `item_sold` | `sale_id`, `items` (numbers), `remaining` | items were sold; at most four times a second |
| `sold_out` | `sale_id` | the last item was sold |
| `sale_announced`, `sale_opened` | a sale | the next sale is known; a sale has opened |

`sold` is a bitmap in base64: bit *k* of byte *j* is item `first_id` + 8 *j* + *k*. It is left out for sales of more
than 100,000 items. A comment is sent when nothing else was for 15 seconds. `Last-Event-ID` resumes."""


def _page(summary: str, id: str) -> Operation:
    html = {"text/html": {**_TEXT, "example": "<!doctype html>…"}}
    return Operation(
        id=id,
        tag=PAGES,
        summary=summary,
        parameters=(IF_NONE_MATCH,),
        answers={200: answer("The page.", html, *_FILE), 304: unchanged("ETag", "Cache-Control")},
    )


SERVICE: dict[tuple[str, str], Operation] = {
    ("GET", "/events"): Operation(
        id="events",
        tag=EVENTS,
        summary="What becomes of a sale, told as it happens (server-sent events)",
        description=_EVENTS_TEXT,
        parameters=(
            query("sale", "The sale to tell of.", ID, 1),
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The `id` of the last event that arrived: what was missed since then is sent.",
                "schema": {"type": "string"},
            },
        ),
        answers={
            200: answer(
                "The stream, of which the schema describes one event. It ends when the process stops; connect again.",
                {
                    "text/event-stream": {
                        "schema": schema("Event"),
                        "example": {"event": "sold_out", "id": "1-1-3", "data": '{"sale_id":1}'},
                    }
                },
                "Cache-Control",
            )
        },
        problems=("sale_not_found", "unavailable"),
    ),
    ("GET", "/health"): Operation(
        id="health",
        tag=HEALTH,
        summary="Whether a buyer could buy now",
        answers={
            200: answer("Yes.", json_content(schema("Health"), {"status": "ok", "database": "ok", "redis": "ok"})),
            503: answer(
                "No: what fails says so.",
                json_content(schema("Health"), {"status": "error", "database": "ok", "redis": "error"}),
            ),
        },
    ),
    ("GET", "/livez"): Operation(
        id="livez", tag=HEALTH, summary="Whether this process answers", answers={200: answer("It does.", _STATUS_OK)}
    ),
    ("GET", "/readyz"): Operation(
        id="readyz",
        tag=HEALTH,
        summary="Whether to send requests to this process",
        answers={
            200: answer("Yes.", _STATUS_OK),
            503: answer(
                "No: it is stopping, PostgreSQL is away, or the current sale does not exist yet.",
                json_content(schema("Status"), {"status": "error"}),
                "Retry-After",
            ),
        },
    ),
    ("GET", "/metrics"): Operation(
        id="metrics",
        tag=HEALTH,
        summary="Counters and gauges for Prometheus",
        description="For operators only where there is a token for them.",
        answers={
            200: answer(
                "Prometheus' text format, or OpenMetrics if `Accept` prefers it.",
                {"text/plain": _TEXT, "application/openmetrics-text": _TEXT},
                "Cache-Control",
            )
        },
        problems=("unauthorized", "rate_limited"),
        is_operators=True,
    ),
    ("GET", "/openapi.json"): Operation(
        id="openapi",
        tag=REFERENCE,
        summary="This description",
        parameters=(IF_NONE_MATCH,),
        answers={
            200: answer("OpenAPI 3.1.", {"application/json": {"schema": {"type": "object"}}}, "ETag", "Cache-Control"),
            304: unchanged("ETag", "Cache-Control"),
        },
    ),
    ("GET", "/problems/{code}"): Operation(
        id="problem_type",
        tag=REFERENCE,
        summary="What a problem means, and what to do",
        description="It is what the `type` of a problem names: a page for browsers, JSON for everybody else.",
        parameters=(
            path("code", "The `code` of the problem.", {"type": "string", "enum": list(PROBLEM_TYPES)}, "item_sold"),
            IF_NONE_MATCH,
        ),
        answers={
            200: answer(
                "What it means. `Accept` chooses the form.",
                {
                    **json_content(schema("ProblemType"), _PROBLEM_EXAMPLE.as_json()),
                    "text/html": {**_TEXT, "example": "<!doctype html>…"},
                },
                *_FILE,
            ),
            304: unchanged("ETag", "Cache-Control"),
        },
        problems=("not_found",),
    ),
    ("GET", "/docs"): _page("This description, to be read and tried", "docs"),
    ("GET", "/"): _page("The storefront", "storefront"),
    ("GET", "/pages/{folder}/{file}"): Operation(
        id="page_file",
        tag=PAGES,
        summary="What the pages load: scripts, styles, pictures",
        parameters=(
            path("folder", "The page.", {"type": "string"}, "storefront"),
            path("file", "The file.", {"type": "string"}, "icon.svg"),
            IF_NONE_MATCH,
        ),
        answers={
            200: answer("The file.", {"*/*": {}}, "ETag", "Cache-Control"),
            304: unchanged("ETag", "Cache-Control"),
        },
        problems=("not_found",),
    ),
}
