"""POST /purchase and GET /purchases/{code}: read the code, ask for the purchase, and word the answer.

Every answer that a purchase can get is worded here, and nowhere else.
"""

from __future__ import annotations

from typing import Any, Protocol

from flash.api.items import item_json
from flash.api.problems import ITEM_SOLD, SOLD_OUT
from flash.api.request_names import RequestNames
from flash.codes import Codes
from flash.domain import (
    Code,
    Command,
    LegacyCode,
    Outcome,
    Purchase,
    Redemption,
    Refusal,
    Refused,
    Repeated,
    RequestId,
    SaleId,
    Sold,
)
from flash.http import parameters
from flash.http.body_parameters import read_request
from flash.http.message import Request, Response, json_response
from flash.http.parameters import AmbiguousRequest, InvalidParameter, MissingParameter, read_params
from flash.http.problems import NO_ROOM, TryLater, problem

# A receipt is its buyer's, and a 404 that a cache kept would outlive the purchase (RFC 9110, 15.5.5).
_NO_STORE = ((b"cache-control", b"no-store"),)
# One answer for a code that is malformed, forged, unknown or expired: a forger learns nothing from it.
_INVALID_CODE = problem(400, "invalid_code", "Invalid or expired code")
_NOT_PURCHASED = problem(404, "not_purchased", "Nothing has been bought with this code yet", headers=_NO_STORE)
_KEY_REUSED = problem(422, "idempotency_key_reused", "The Idempotency-Key has been used with another code")
_PAUSED = TryLater("paused", "The operator has paused this sale; nothing was bought, and your code stays valid")
_PAUSED_SECONDS = 5
"""Nobody can say how long an operator needs. A buyer who asks so often is served soon after the sale is resumed."""

SUCCESS = "Purchase successful"

_NAMES = ("code",)

_request_names = RequestNames()


class CodeOpener(Protocol):
    @property
    def codes(self) -> Codes:
        """With the keys that this process knows now."""

    async def open(self, text: str) -> Code | LegacyCode | None:
        """The code that `text` spells, also if its key is new to this process."""


class Purchases(Protocol):
    async def ask(self, command: Command) -> Outcome:
        """Sell what the code is for, or say why not."""

    async def find(self, code: Code) -> Redemption:
        """What the database knows of the code."""

    async def find_legacy(self, legacy: LegacyCode) -> Code | None:
        """What a code of release 0.1 would say if it were one of ours; None if the database does not know it."""


class PurchaseHandlers:
    def __init__(self, codes: CodeOpener, purchases: Purchases) -> None:
        self._codes = codes
        self._purchases = purchases

    async def purchase(self, request: Request) -> Response:
        try:
            (text,) = read_request(request, _NAMES) if request.body else read_params(request.query, _NAMES)
        except AmbiguousRequest:
            raise
        except MissingParameter as error:
            return problem(400, "invalid_code", error.detail)
        except InvalidParameter:
            return _INVALID_CODE
        code = await self._open(text)
        if code is None:
            return _INVALID_CODE
        request_id = _request_id(request.header_values(b"idempotency-key"))
        match await self._purchases.ask(Command(code, request_id, request.correlation)):
            case Sold(purchase) | Repeated(purchase):
                return json_response(200, {"message": SUCCESS, **_receipt_json(code.sale_id, purchase)})
            case Refused() as refused:
                return _refused(code.sale_id, refused)

    async def receipt(self, request: Request, code_text: str) -> Response:
        code = await self._open(code_text)
        if code is None:
            return _INVALID_CODE
        redemption = await self._purchases.find(code)
        if redemption.purchase is not None:
            return json_response(200, _receipt_json(code.sale_id, redemption.purchase), _NO_STORE)
        return _NOT_PURCHASED if redemption.is_valid else _INVALID_CODE

    async def _open(self, text: str) -> Code | None:
        code = self._codes.codes.open(text) or await self._codes.open(text)
        if isinstance(code, LegacyCode):
            return await self._purchases.find_legacy(code)
        return code


def _refused(sale_id: SaleId, refused: Refused) -> Response:
    match refused.refusal:
        case Refusal.INVALID_CODE:
            return _INVALID_CODE
        case Refusal.CODE_ALREADY_USED:
            assert refused.purchase is not None
            receipt = {"purchase": _receipt_json(sale_id, refused.purchase)}
            return problem(409, "code_already_used", "Code has already been used", extra=receipt)
        case Refusal.ITEM_SOLD:
            return ITEM_SOLD
        case Refusal.SOLD_OUT:
            return SOLD_OUT
        case Refusal.USER_LIMIT_REACHED:
            detail = f"User has reached the maximum of {refused.user_limit} items per sale"
            return problem(429, "user_limit_reached", detail)
        case Refusal.IDEMPOTENCY_KEY_REUSED:
            return _KEY_REUSED
        case Refusal.NO_ROOM:
            return NO_ROOM.after(None)
        case Refusal.PAUSED:
            return _PAUSED.after(_PAUSED_SECONDS)


def _receipt_json(sale_id: SaleId, purchase: Purchase) -> dict[str, Any]:
    return {
        "item": item_json(purchase.item_id),
        "sale_id": sale_id,
        "user_id": purchase.user_id,
        "purchased_at": purchase.purchased_at,
    }


def _request_id(keys: list[bytes]) -> RequestId:
    """The client's Idempotency-Key, or a name that no other request has. Raises `InvalidParameter`."""
    if not keys:
        return RequestId(f"auto:{_request_names.next()}")
    if len(keys) > 1:
        raise InvalidParameter("Idempotency-Key must be given only once")
    return RequestId(f"key:{parameters.idempotency_key(keys[0])}")
