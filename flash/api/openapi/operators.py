"""What an operator calls, with the token: the control room. Without `FLASH_CONTROL_TOKEN` none of it exists."""

from __future__ import annotations

from flash.api.openapi.headers import IF_NONE_MATCH
from flash.api.openapi.operation import Json, Operation, answer, json_content, path, query_or_body, schema, unchanged
from flash.api.openapi.schemas import ID, NOON
from flash.http.body_parameters import FORM, JSON

TAG = "Operators"
SECURITY_SCHEMES: Json = {
    "token": {"type": "http", "scheme": "bearer", "description": "`FLASH_CONTROL_TOKEN`."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "flash_control",
        "description": "What `POST /control/login` gives to a browser. Changes also need to come from our own pages.",
    },
}
_LOCKED = ("unauthorized", "rate_limited")
_WHO_AND_WHY = {"by": "ada", "reason": "wrong pictures"}
_SALE_ID = path("id", "The number of the sale.", ID, 1)


def _change(id: str, summary: str, description: str, paused: Json | None) -> Operation:
    content = {"schema": schema("PauseParameters"), "example": _WHO_AND_WHY}
    return Operation(
        id=id,
        tag=TAG,
        summary=summary,
        description=description,
        parameters=(
            _SALE_ID,
            query_or_body("by", "Who does it.", {"type": "string"}),
            query_or_body("reason", "Why.", {"type": "string"}),
        ),
        body={"description": "Instead of the query.", "required": False, "content": {FORM: content, JSON: content}},
        answers={
            200: answer("Done.", json_content(schema("PauseState"), {"sale_id": 1, "paused": paused}), "Cache-Control")
        },
        problems=(
            *_LOCKED,
            *("cross_origin", "unsupported_media_type", "sale_not_found", "unavailable", "outcome_unknown"),
        ),
        is_operators=True,
    )


OPERATORS: dict[tuple[str, str], Operation] = {
    ("GET", "/control"): Operation(
        id="control_room",
        tag=TAG,
        summary="The control room, or the page that asks for the token",
        parameters=(IF_NONE_MATCH,),
        answers={
            200: answer(
                "The page.",
                {"text/html": {"schema": {"type": "string"}, "example": "<!doctype html>…"}},
                *("ETag", "Cache-Control", "Content-Security-Policy"),
            ),
            304: unchanged("ETag", "Cache-Control"),
        },
    ),
    ("POST", "/control/login"): Operation(
        id="log_in",
        tag=TAG,
        summary="Exchange the token for a cookie",
        answers={204: answer("The cookie, good for a shift.", {}, "Set-Cookie", "Cache-Control")},
        problems=_LOCKED,
        is_operators=True,
    ),
    ("POST", "/control/logout"): Operation(
        id="log_out",
        tag=TAG,
        summary="Have the browser forget its cookie",
        answers={204: answer("Forgotten.", {}, "Set-Cookie", "Cache-Control")},
        problems=("cross_origin",),
    ),
    ("GET", "/control/state"): Operation(
        id="control_state",
        tag=TAG,
        summary="How the whole service is: processes, sales, the last minutes, stores",
        answers={200: answer("The state.", {"application/json": {"schema": {"type": "object"}}}, "Cache-Control")},
        problems=_LOCKED,
        is_operators=True,
    ),
    ("GET", "/control/pauses"): Operation(
        id="pauses",
        tag=TAG,
        summary="Who paused and resumed which sale, when and why; newest first",
        answers={
            200: answer(
                "The latest records.",
                json_content(
                    schema("Pauses"),
                    {"pauses": [{"sale_id": 1, "action": "pause", "at": NOON, **_WHO_AND_WHY, "sold": 2_786}]},
                ),
                "Cache-Control",
            )
        },
        problems=(*_LOCKED, "unavailable"),
        is_operators=True,
    ),
    ("POST", "/control/sales/{id}/pause"): _change(
        "pause",
        "Sell nothing of a sale until it is resumed",
        "Once this is answered, no purchase of the sale succeeds. Codes stay valid.",
        {"by": "ada", "at": NOON},
    ),
    ("POST", "/control/sales/{id}/resume"): _change(
        "resume", "Sell again", "Resuming what is not paused is fine.", None
    ),
}
