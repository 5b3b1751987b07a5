"""GET /control/state: how the whole service is, for the operator's control room and for scripts."""

from __future__ import annotations

from typing import Any, Protocol

from flash.http.message import Request, Response, json_response

_NO_STORE = ((b"cache-control", b"no-store"),)


class ControlState(Protocol):
    async def state(self) -> dict[str, Any]:
        """The answer, which must come in every fault."""
        ...


class ControlStateHandlers:
    def __init__(self, control_state: ControlState) -> None:
        self._control_state = control_state

    async def state(self, request: Request) -> Response:
        return json_response(200, await self._control_state.state(), _NO_STORE)
