"""The control room: its page, its state, pausing and resuming a sale, and the record of that.

All but the page, which shows nothing by itself, is for whoever `control_access` lets in.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from flash.api.control_access import ControlAccess
from flash.api.control_state import ControlState, ControlStateHandlers
from flash.api.pages import page_files
from flash.api.problems import SALE_NOT_FOUND
from flash.domain import Pause, RecordedPause, SaleId
from flash.http import parameters
from flash.http.body_parameters import read_request
from flash.http.message import Header, Request, Response, json_response
from flash.http.parameters import InvalidParameter
from flash.http.router import Patterns, Routes

log = logging.getLogger(__name__)

BY_MAX, REASON_MAX = 64, 500
RECORDS_MAX = 50
"""The latest pauses and ends of pauses are shown; all of them are in the database."""

_NAMES = ("by", "reason")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_STORE: Header = (b"cache-control", b"no-store")


class PauseStore(Protocol):
    async def pause(self, sale_id: SaleId, by: str, reason: str) -> Pause | None:
        """Sell nothing of the sale from now on. The pause that is in force; None if there is no such sale."""

    async def resume(self, sale_id: SaleId, by: str, reason: str) -> bool:
        """Sell again. Returns whether there is such a sale."""


class RecordedPauses(PauseStore, Protocol):
    async def recorded(self, limit: int) -> Sequence[RecordedPause]:
        """The latest pauses and their ends, newest first."""


@dataclass(frozen=True, slots=True)
class ControlRoom:
    """What an operator may see and do, and who is one."""

    access: ControlAccess
    pauses: RecordedPauses
    state: ControlState

    def routes(self) -> Routes:
        access, handlers = self.access, PauseHandlers(self.pauses)
        return {
            ("GET", "/control"): page_files().handler("control/index.html"),
            ("GET", "/control/pauses"): access.reading(handlers.recorded),
            ("POST", "/control/login"): access.log_in,
            ("POST", "/control/logout"): access.log_out,
            ("GET", "/control/state"): access.reading(ControlStateHandlers(self.state).state),
        }

    def patterns(self) -> Patterns:
        access, handlers = self.access, PauseHandlers(self.pauses)
        return {
            ("POST", "/control/sales/{id}/pause"): access.changing(handlers.pause),
            ("POST", "/control/sales/{id}/resume"): access.changing(handlers.resume),
        }


class PauseHandlers:
    def __init__(self, pauses: RecordedPauses) -> None:
        self._pauses = pauses

    async def pause(self, request: Request, id_text: str) -> Response:
        """Once this is answered, no purchase of the sale commits until it is resumed."""
        by, reason = _who_and_why(request)
        sale_id = _sale_id(id_text)
        pause = None if sale_id is None else await self._pauses.pause(sale_id, by, reason)
        if sale_id is None or pause is None:
            return SALE_NOT_FOUND
        log.warning("sale %d was paused by %r: %s", sale_id, pause.by, reason)
        return _answer(sale_id, pause)

    async def resume(self, request: Request, id_text: str) -> Response:
        by, reason = _who_and_why(request)
        sale_id = _sale_id(id_text)
        if sale_id is None or not await self._pauses.resume(sale_id, by, reason):
            return SALE_NOT_FOUND
        log.warning("sale %d was resumed by %r: %s", sale_id, by, reason)
        return _answer(sale_id, None)

    async def recorded(self, request: Request) -> Response:
        """Who paused and resumed which sale, when and why."""
        records = await self._pauses.recorded(RECORDS_MAX)
        return json_response(200, {"pauses": [_record_json(record) for record in records]}, (_NO_STORE,))


def _record_json(record: RecordedPause) -> dict[str, object]:
    return {
        "sale_id": record.sale_id,
        "action": record.action,
        "at": record.at,
        "by": record.by,
        "reason": record.reason,
        "sold": record.sold,
    }


def _answer(sale_id: SaleId, pause: Pause | None) -> Response:
    paused = None if pause is None else {"by": pause.by, "at": pause.at}
    return json_response(200, {"sale_id": sale_id, "paused": paused}, (_NO_STORE,))


def _sale_id(text: str) -> SaleId | None:
    try:
        return SaleId(parameters.item_id(text))
    except InvalidParameter:
        return None  # a number that is malformed names no sale


def _who_and_why(request: Request) -> tuple[str, str]:
    by, reason = read_request(request, _NAMES) if request.body else parameters.read_params(request.query, _NAMES)
    for name, text, characters_max in (("by", by, BY_MAX), ("reason", reason, REASON_MAX)):
        if len(text) > characters_max or _CONTROLS.search(text):
            raise InvalidParameter(f"{name} must be 1 to {characters_max} characters without control characters")
    return by, reason
