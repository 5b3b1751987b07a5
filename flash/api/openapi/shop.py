"""What a buyer calls: checkout, purchase, receipt."""

from __future__ import annotations

from flash.api.openapi.headers import IDEMPOTENCY_KEY, USER_TOKEN
from flash.api.openapi.operation import Json, Operation, answer, json_content, path, query_or_body, schema
from flash.api.openapi.schemas import CODE, CODE_EXAMPLE, ID, RECEIPT_EXAMPLE, USER_ID
from flash.api.purchase import SUCCESS
from flash.http.body_parameters import FORM, JSON

TAG = "Buying"
_LIMITS = ("RateLimit", "RateLimit-Policy")
_ONE_PLACE = (
    "Each parameter is given once: in the query, or in the body as a form or as JSON. One in two places, "
    "or twice in one, is refused, and so is one that is missing."
)


def _body(name: str, example: Json) -> Json:
    content = {"schema": schema(name), "example": example}
    return {"description": "Instead of the query.", "required": False, "content": {FORM: content, JSON: content}}


SHOP: dict[tuple[str, str], Operation] = {
    ("POST", "/checkout"): Operation(
        id="checkout",
        tag=TAG,
        summary="Check an item out: get a code with which it can be bought",
        description="A checkout holds nothing: several buyers may have a code for one item, and the first purchase "
        "wins. Every attempt is recorded before it is answered. Repeating it is safe. " + _ONE_PLACE,
        parameters=(
            query_or_body("user_id", "Who wants to buy.", USER_ID),
            query_or_body("id", "The number of the item.", ID),
            USER_TOKEN,
        ),
        body=_body("CheckoutParameters", {"user_id": "ada", "id": 1}),
        answers={
            200: answer(
                "The code, which is valid for an hour unless the operator has set another time.",
                json_content(schema("CheckoutCode"), {"code": CODE_EXAMPLE}),
                *_LIMITS,
                links={
                    "purchase": {"operationId": "purchase", "parameters": {"query.code": "$response.body#/code"}},
                    "receipt": {"operationId": "receipt", "parameters": {"path.code": "$response.body#/code"}},
                },
            )
        },
        problems=(
            *("invalid_user_token", "unsupported_media_type"),
            *("item_not_found", "sale_not_open", "item_sold", "sold_out"),
            *("rate_limited", "unavailable", "outcome_unknown"),
        ),
    ),
    ("POST", "/purchase"): Operation(
        id="purchase",
        tag=TAG,
        summary="Buy the item of a code",
        description="Nobody hears of a success before it is durable. After a 503, repeat it with the same "
        "`Idempotency-Key`: what has been bought is answered with the same 200 again. " + _ONE_PLACE,
        parameters=(query_or_body("code", "The code of the checkout.", CODE), IDEMPOTENCY_KEY),
        body=_body("PurchaseParameters", {"code": CODE_EXAMPLE}),
        answers={
            200: answer(
                "It is bought, or was bought before with this code and `Idempotency-Key`.",
                json_content(schema("Purchase"), {"message": SUCCESS, **RECEIPT_EXAMPLE}),
                *_LIMITS,
            )
        },
        problems=(
            *("invalid_code", "unsupported_media_type", "code_already_used", "item_sold", "sold_out"),
            *("idempotency_key_reused", "user_limit_reached", "rate_limited"),
            *("unavailable", "outcome_unknown", "paused"),
        ),
    ),
    ("GET", "/purchases/{code}"): Operation(
        id="receipt",
        tag=TAG,
        summary="The receipt of what a code has bought",
        description="After `outcome_unknown`, and once its `Retry-After` is over, this answer is final.",
        parameters=(path("code", "The code of the checkout.", CODE, CODE_EXAMPLE),),
        answers={200: answer("The receipt.", json_content(schema("Receipt"), RECEIPT_EXAMPLE), "Cache-Control")},
        problems=("invalid_code", "not_purchased", "unavailable", "outcome_unknown"),
    ),
}
