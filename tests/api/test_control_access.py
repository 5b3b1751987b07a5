"""The way into the control room: the token or its cookie, nobody else, and never on behalf of another site."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from trio.testing import MockClock

from flash.api.control import ControlRoom
from flash.api.control_access import SESSION_SECONDS, ControlAccess
from flash.http.asgi import App
from flash.http.client_address import TrustedProxies, key_of
from flash.http.message import Header, Request, Response, json_response
from tests.api.fakes import FakeControlState, FakePauses, FakeShop

TOKEN = "a-token-of-32-characters-or-so-x"
BEARER: Header = (b"authorization", b"Bearer " + TOKEN.encode())
SAME_ORIGIN: Header = (b"sec-fetch-site", b"same-origin")


class Wall:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Room:
    """One page to look at and one thing to change, behind the access of a web process."""

    def __init__(self, token: str = TOKEN, *, is_tls: bool = False) -> None:
        self.wall = Wall()
        self.changes: list[str] = []
        access = ControlAccess(token, key_of(TrustedProxies("")), is_tls=is_tls, wall_clock=self.wall)
        self.app = App(
            {
                ("GET", "/control/state"): access.reading(self._look),
                ("POST", "/control/login"): access.log_in,
                ("POST", "/control/logout"): access.log_out,
            },
            {("POST", "/control/sales/{id}/pause"): access.changing(self._change)},
            body_seconds=1,
        )

    async def _look(self, request: Request) -> Response:
        return json_response(200, "state")

    async def _change(self, request: Request, id_text: str) -> Response:
        self.changes.append(id_text)
        return json_response(200, "changed")

    async def ask(self, method: str, path: str, *headers: Header, peer: str = "192.0.2.1") -> Response:
        answer = await self.app.respond(Request(method, "", path.encode(), b"", list(headers), peer))
        assert isinstance(answer, Response)
        return answer

    async def look(self, *headers: Header, peer: str = "192.0.2.1") -> int:
        return (await self.ask("GET", "/control/state", *headers, peer=peer)).status

    async def change(self, *headers: Header) -> int:
        return (await self.ask("POST", "/control/sales/7/pause", *headers)).status

    async def log_in(self, *headers: Header) -> Header:
        """The cookie, as a browser would send it."""
        answer = await self.ask("POST", "/control/login", BEARER, *headers)
        assert answer.status == 204
        return b"cookie", b"theme=dark; " + set_cookie(answer).partition(b";")[0]


def set_cookie(answer: Response) -> bytes:
    return dict(answer.headers)[b"set-cookie"]


def bearer(token: str) -> Header:
    return b"authorization", b"Bearer " + token.encode()


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"authorization", b"Basic " + TOKEN.encode()),),
        ((b"authorization", TOKEN.encode()),),
        ((b"authorization", b"Bearer"),),
        (BEARER, BEARER),
        (bearer(TOKEN[:-1]),),
        (bearer(TOKEN.upper()),),
        ((b"authorization", b"Bearer \xff" + TOKEN.encode()),),
        ((b"cookie", b"flash_control=" + TOKEN.encode()),),
        ((b"cookie", b"flash_control="),),
        ((b"cookie", b"flash_control=9999999999." + b"0" * 64),),
    ],
)
async def test_whoever_has_no_token_is_told_how_to_show_one(headers: tuple[Header, ...]) -> None:
    room = Room()
    answer = await room.ask("GET", "/control/state", *headers)
    assert answer.status == 401
    assert b'"code":"unauthorized"' in answer.body
    assert (b"www-authenticate", b'Bearer realm="flash control"') in answer.headers
    assert await Room().change(*headers) == 401
    assert not room.changes


async def test_the_token_opens_everything_whatever_the_case_of_its_scheme() -> None:
    room = Room()
    assert await room.look((b"authorization", b"bearer  " + TOKEN.encode())) == 200
    assert await room.change(BEARER, (b"origin", b"https://elsewhere.example")) == 200, "no browser adds the token"
    assert room.changes == ["7"]


async def test_the_cookie_opens_it_hides_the_token_and_ends() -> None:
    room = Room()
    answer = await room.ask("POST", "/control/login", BEARER)
    assert TOKEN.encode() not in set_cookie(answer)
    (morsel,) = SimpleCookie(set_cookie(answer).decode()).values()
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["secure"]) == (
        True,
        "Strict",
        "/control",
        "",
    )
    assert int(morsel["max-age"]) == SESSION_SECONDS
    cookie = await room.log_in()
    room.wall.now += SESSION_SECONDS - 1
    assert await room.look(cookie) == 200
    assert await room.look(cookie, bearer("a-wrong-token-of-16")) == 401, "what is wrong is not made good"
    room.wall.now += 1
    assert await room.look(cookie) == 401


async def test_the_cookie_of_one_web_process_holds_in_another_and_ends_with_its_token() -> None:
    cookie = await Room().log_in()
    assert await Room().look(cookie) == 200
    assert await Room("another-token-of-the-operator").look(cookie) == 401


async def test_a_cookie_cannot_be_prolonged() -> None:
    room = Room()
    name, value = await room.log_in()
    expiry, _, mac = value.rpartition(b"=")[2].partition(b".")
    forged = b"flash_control=%d.%b" % (int(expiry) + 1, mac)
    assert await room.look((name, forged)) == 401
    assert await room.look((name, b"flash_control=x; " + value)) == 200, "one of another path may stand before it"


@pytest.mark.parametrize(
    ("headers", "is_secure"), [((), False), (((b"origin", b"https://shop.example"),), True)], ids=["plain", "proxy"]
)
async def test_a_cookie_that_came_over_tls_is_never_sent_without(headers: tuple[Header, ...], is_secure: bool) -> None:
    assert (b"; Secure" in set_cookie(await Room().ask("POST", "/control/login", BEARER, *headers))) is is_secure
    assert b"; Secure" in set_cookie(await Room(is_tls=True).ask("POST", "/control/login", BEARER, *headers))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((SAME_ORIGIN,), 200),
        (((b"host", b"Shop.example:8080"), (b"origin", b"http://shop.example:8080")), 200),
        (((b"sec-fetch-site", b"same-site"),), 403),
        (((b"sec-fetch-site", b"cross-site"), (b"host", b"shop"), (b"origin", b"http://shop")), 403),
        (((b"sec-fetch-site", b"none"),), 403),
        (((b"host", b"shop.example"), (b"origin", b"http://shop.example.evil")), 403),
        (((b"host", b"shop.example"), (b"origin", b"null")), 403),
        (((b"host", b"shop.example"),), 403),
        ((), 403),
    ],
)
async def test_with_a_cookie_only_our_own_pages_change_anything(headers: tuple[Header, ...], status: int) -> None:
    room = Room()
    cookie = await room.log_in()
    assert await room.change(cookie, *headers) == status
    assert room.changes == ["7"] * (status == 200)
    assert (await room.ask("POST", "/control/logout", cookie, *headers)).status == (204 if status == 200 else 403)
    assert await room.look(cookie, *headers) == 200, "who only looks may come from anywhere"


async def test_logging_out_takes_the_cookie_away() -> None:
    answer = await Room().ask("POST", "/control/logout", SAME_ORIGIN)
    assert set_cookie(answer).startswith(b"flash_control=; Path=/control; Max-Age=0")


async def test_the_token_cannot_be_guessed_quickly(mock_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    room = Room()
    cookie = await room.log_in()
    wrong = bearer("a-wrong-token-of-16")
    assert [await room.look(wrong) for _ in range(3)] == [401, 429, 429]
    answer = await room.ask("POST", "/control/login", BEARER)
    assert answer.status == 429, "the right one is not looked at either, or guessing would go on"
    assert (b"retry-after", b"2") in answer.headers
    assert await room.look(BEARER, peer="192.0.2.2") == 200, "nobody else is kept out"
    assert await room.look(cookie) == 200, "whoever is logged in stays so"
    mock_clock.jump(2)
    assert [await room.look(BEARER) for _ in range(5)] == [200] * 5, "the right one costs nothing"
    assert TOKEN not in caplog.text
    assert "a-wrong-token" not in caplog.text


async def test_without_a_token_there_is_no_control_room() -> None:
    shop = FakeShop()
    for method, path in (("GET", ""), ("GET", "/state"), ("POST", "/login"), ("POST", "/sales/1/pause")):
        answer = await shop.request(method, f"/control{path}", BEARER)
        assert (answer.status, b'"code":"not_found"' in answer.body) == (404, True)
    assert not shop.app.reads_peers


async def test_with_a_token_there_is_one() -> None:
    access = ControlAccess(TOKEN, key_of(TrustedProxies("")), is_tls=False)
    shop = FakeShop(control=ControlRoom(access, FakePauses(), FakeControlState()))
    assert (await shop.request("POST", "/control/login", BEARER)).status == 204
    assert shop.app.reads_peers
