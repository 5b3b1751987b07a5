"""Pausing and resuming a sale over HTTP: who did it and why is asked for, and what is so now is answered."""

from __future__ import annotations

import logging

import orjson
import pytest

from flash.api.control import ControlRoom
from flash.api.control_access import ControlAccess
from flash.domain import Refusal, Refused
from flash.errors import OutcomeUnknown, Unavailable
from flash.http.client_address import TrustedProxies, key_of
from flash.http.message import Header, Request, Response
from tests.api.fakes import CODE, CODES, FakeControlState, FakePauses, FakeShop

TOKEN = "a-token-of-32-characters-or-so-x"
BEARER: Header = (b"authorization", b"Bearer " + TOKEN.encode())
ANN = "by=ann&reason=a+wrong+picture"


class Room(FakeShop):
    def __init__(self) -> None:
        self.pauses = FakePauses()
        access = ControlAccess(TOKEN, key_of(TrustedProxies("")), is_tls=False)
        super().__init__(control=ControlRoom(access, self.pauses, FakeControlState()))

    async def post(self, path: str, query: str = ANN, *headers: Header) -> tuple[int, dict[str, object]]:
        answer: Response = await self.request("POST", f"/control/sales/{path}?{query}", *(headers or (BEARER,)))
        return answer.status, orjson.loads(answer.body)


async def test_a_sale_is_paused_and_resumed_and_the_log_says_by_whom(caplog: pytest.LogCaptureFixture) -> None:
    room, caplog_level = Room(), logging.WARNING
    paused = {"sale_id": 1, "paused": {"by": "ann", "at": "2026-01-01T12:00:00Z"}}
    assert await room.post("1/pause") == (200, paused)
    assert await room.post("1/pause", "by=bob&reason=me+too") == (200, paused), "the first one is in force"
    assert await room.post("1/resume", "by=bob&reason=mended") == (200, {"sale_id": 1, "paused": None})
    assert room.pauses.asked == [
        ("pause", 1, "ann", "a wrong picture"),
        ("pause", 1, "bob", "me too"),
        ("resume", 1, "bob", "mended"),
    ]
    lines = [record.getMessage() for record in caplog.records if record.levelno == caplog_level]
    assert lines[0] == "sale 1 was paused by 'ann': a wrong picture"
    assert lines[-1] == "sale 1 was resumed by 'bob': mended"


async def test_the_state_is_for_operators_only_and_never_kept() -> None:
    room = Room()
    assert (await room.request("GET", "/control/state")).status == 401
    answer = await room.request("GET", "/control/state", BEARER)
    assert (answer.status, answer.body) == (200, b'{"state":{"level":"ok"}}')
    assert (b"cache-control", b"no-store") in answer.headers


async def test_who_and_why_may_come_as_json() -> None:
    room = Room()
    headers: list[Header] = [BEARER, (b"content-type", b"application/json")]
    body = orjson.dumps({"by": "ann", "reason": "a wrong picture"})
    answer = await room.app.respond(Request("POST", "", b"/control/sales/1/pause", b"", headers, body=body))
    assert isinstance(answer, Response)
    assert (answer.status, room.pauses.asked) == (200, [("pause", 1, "ann", "a wrong picture")])


@pytest.mark.parametrize("action", ["pause", "resume"])
@pytest.mark.parametrize("sale", ["2", "0", "01", "one", "9" * 19])
async def test_what_is_no_sale_is_neither_paused_nor_resumed(action: str, sale: str) -> None:
    status, body = await Room().post(f"{sale}/{action}")
    assert (status, body["code"]) == (404, "sale_not_found")


@pytest.mark.parametrize(
    "query",
    ["", "by=ann", "reason=x", "by=&reason=x", "by=ann&by=bob&reason=x", f"by={'a' * 65}&reason=x", "by=a%0Ab&reason=x",
     f"by=ann&reason={'x' * 501}", "by=ann&reason=%00"],
)  # fmt: skip
async def test_who_and_why_are_asked_for(query: str) -> None:
    room = Room()
    for action in ("pause", "resume"):
        status, body = await room.post(f"1/{action}", query)
        assert (status, body["code"]) == (400, "invalid_request")
    assert room.pauses.asked == []


async def test_nobody_else_pauses_anything() -> None:
    room = Room()
    wrong: Header = (b"authorization", b"Bearer another-token-altogether")
    for action in ("pause", "resume"):
        status, body = await room.post(f"1/{action}", ANN, (b"x-nothing", b""))
        assert (status, body["code"]) == (401, "unauthorized")
    assert (await room.post("1/pause", ANN, wrong))[0] == 401
    assert room.pauses.asked == []


@pytest.mark.parametrize(
    ("error", "code"), [(Unavailable("away"), "unavailable"), (OutcomeUnknown("lost"), "outcome_unknown")]
)
async def test_a_pause_that_may_not_have_happened_is_no_success(error: Unavailable | OutcomeUnknown, code: str) -> None:
    room = Room()
    room.pauses.error = error
    status, body = await room.post("1/pause")
    assert (status, body["code"]) == (503, code)


async def test_a_buyer_of_a_paused_sale_is_told_so_and_when_to_come_back() -> None:
    shop = FakeShop()
    shop.purchases.outcome = Refused(Refusal.PAUSED)
    waits = set()
    for _ in range(50):
        answer = await shop.request("POST", f"/purchase?code={CODES.seal(CODE)}")
        assert (answer.status, orjson.loads(answer.body)["code"]) == (503, "paused")
        waits.add(int(dict(answer.headers)[b"retry-after"]))
    assert 5 <= min(waits) < max(waits) <= 9, "jittered, or all would come back together"


# --- the page and the record ---


async def test_the_page_needs_no_token_and_shows_nothing_by_itself() -> None:
    answer = await Room().request("GET", "/control")
    assert (answer.status, answer.content_type) == (200, b"text/html; charset=utf-8")
    assert b"default-src 'none'" in dict(answer.headers)[b"content-security-policy"]


@pytest.mark.parametrize("path", ["/control", "/control/pauses", "/control/sales/1/pause"])
async def test_without_a_token_in_the_settings_there_is_no_control_room(path: str) -> None:
    for method in ("GET", "POST"):
        assert (await FakeShop().request(method, path, BEARER)).status == 404


async def test_what_operators_did_can_be_read_newest_first() -> None:
    room = Room()
    await room.post("1/pause")
    await room.post("1/resume", "by=bob&reason=mended")
    answer = await room.request("GET", "/control/pauses", BEARER)
    resumed, paused = orjson.loads(answer.body)["pauses"]
    common = {"sale_id": 1, "at": "2026-01-01T12:00:00Z", "sold": 7}
    assert paused == {**common, "action": "pause", "by": "ann", "reason": "a wrong picture"}
    assert resumed == {**common, "action": "resume", "by": "bob", "reason": "mended"}
    assert dict(answer.headers)[b"cache-control"] == b"no-store"
    assert (await room.request("GET", "/control/pauses")).status == 401
